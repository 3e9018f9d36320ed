"""The answer to an error of ours, for ingress and the API alike."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from schemas import codec
from schemas.errors import RequestError


def error_response(error: RequestError, *, evolution: bool = False, **more: Any) -> web.Response:
    """The answer to an error of ours; with `evolution` also what Evolution API's clients read.

    `more`: further fields.
    """
    details = [{"path": d.path, "message": d.message} for d in error.details]
    body: dict[str, Any] = {
        "error": error.error,
        "code": error.code,
        "message": error.message,
        "details": details,
        **more,
    }
    if evolution:
        said: list[Any] = [d.message for d in error.details] or [error.message]
        nested = bool(error.details) or error.status == 400
        body |= {"status": error.status, "response": {"message": [said] if nested else said}}
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(
        body=codec.dumps(body),
        status=error.status,
        headers=headers,
        content_type="application/json",
        charset="utf-8",
    )
