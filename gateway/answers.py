"""Answers before they are on a connection, and the answer to an error of ours, for ingress and the
API alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import hdrs, web

from schemas import codec
from schemas.errors import RequestError

JSON = "application/json"
JSON_UTF_8 = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered, whoever writes it. `media`: its Content-Type. `headers`: those besides."""

    body: bytes
    status: int = 200
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        """The same for aiohttp."""
        headers = {hdrs.CONTENT_TYPE: self.media, **self.headers}
        return web.Response(body=self.body, status=self.status, headers=headers)


class InternalError(RequestError):
    """Something went wrong here."""

    status, error, code = 500, "Internal error", "internal_error"


def error_answer(error: RequestError, *, evolution: bool = False, **more: Any) -> Answer:
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
    return Answer(codec.dumps(body), error.status, JSON_UTF_8, headers)


def error_response(error: RequestError, *, evolution: bool = False, **more: Any) -> web.Response:
    """The same for aiohttp."""
    return error_answer(error, evolution=evolution, **more).response()


def unforeseen(ident: str) -> InternalError:
    """What is told of a bug of ours. `ident`: what the log has it under."""
    return InternalError(f"something went wrong here; the log has it under {ident}")
