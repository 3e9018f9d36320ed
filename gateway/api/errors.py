"""Errors as answers: the one place that turns our exceptions, and aiohttp's, into JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway import log
from gateway.answers import error_response, unforeseen
from gateway.api.route import EVOLUTION
from gateway.services import SERVICES
from schemas import codec
from schemas.errors import RequestError, StoreUnavailableError, UnavailableError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# What aiohttp itself raises, by status.
_HTTP = {
    400: ("Bad request", "bad_request"),
    404: ("Not found", "not_found"),
    405: ("Method not allowed", "method_not_allowed"),
    413: ("Payload too large", "payload_too_large"),
    415: ("Unsupported media type", "unsupported_media_type"),
    417: ("Expectation failed", "expectation_failed"),
}


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure as `{"error", "code", "message", "details"}` with its status; the unforeseen as
    500 with an id.
    """
    try:
        return await handler(request)
    except RequestError as error:
        return error_response(error, evolution=request.get(EVOLUTION, False))
    except StoreUnavailableError as error:
        unavailable = UnavailableError(error.message, retry_after=5)
        return error_response(unavailable, evolution=request.get(EVOLUTION, False))
    except web.HTTPException as error:
        return _aiohttp_error(error)
    except ConnectionResetError:
        raise
    except Exception:  # noqa: BLE001 - whatever it is, the caller gets an answer and we a trace
        return _unforeseen(request)


def _aiohttp_error(error: web.HTTPException) -> web.StreamResponse:
    if error.status < 400:
        raise error
    name, code = _HTTP.get(error.status, (error.reason or "Error", "error"))
    body = {"error": name, "code": code, "message": error.reason or name, "details": []}
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return web.Response(
        body=codec.dumps(body),
        status=error.status,
        headers=headers,
        content_type="application/json",
        charset="utf-8",
    )


def _unforeseen(request: web.Request) -> web.Response:
    ident = request.app[SERVICES].ids()
    route = request.match_info.route.resource
    log.get().exception(
        "request.failed",
        error_id=ident,
        method=request.method,
        path=route.canonical if route else "?",
    )
    return error_response(unforeseen(ident), evolution=request.get(EVOLUTION, False), id=ident)
