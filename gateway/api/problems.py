"""The errors a route can answer, as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from gateway.answers import InternalError
from gateway.api.changing import takes_key
from gateway.api.doc import JSON, Schema
from gateway.api.route import ANY_KEY, PUBLIC, Route
from gateway.hops import LoopError
from gateway.reading import RequestTimeoutError
from schemas import errors

CLASSES: tuple[type[errors.RequestError], ...] = (
    errors.BadRequestError,
    errors.UnauthorizedError,
    errors.ForbiddenError,
    errors.NotFoundError,
    RequestTimeoutError,
    errors.ConflictError,
    errors.GoneError,
    errors.TooLargeError,
    errors.UnsupportedMediaTypeError,
    errors.InvalidError,
    errors.TooManyRequestsError,
    InternalError,
    errors.UnavailableError,
    LoopError,
)
# What `code` may be beside the usual one of a status.
CODES: dict[int, dict[str, str]] = {
    400: {
        "invalid_json": "the body is not JSON",
        "invalid_body": "the body breaks HTTP",
        "invalid_encoding": "the body is not what its Content-Encoding says",
        "client_gone": "the client went away",
        "invalid_instance": "the path's instance name cannot be one",
        "ssrf_blocked": "the address is one that this gateway must not be sent to",
        "unknown_event": "there is no event of this name",
        "unknown_since": "the instance has no such event (any more)",
        "upgrade_required": "a websocket was expected",
        "invalid_state": "the state of an authorization is not ours",
        "state_expired": "the authorization took too long",
        "state_used": "the authorization was completed already",
        "unparsable_body": "a provider's delivery is not what its content type says",
        "invalid_idempotency_key": "the Idempotency-Key is none",
        "repeated_header": "what proves or names a delivery came twice",
    },
    401: {"verification_failed": "a provider's delivery is not proven to be genuine"},
    403: {
        "origin_not_allowed": "the page's origin is not among COMPORTA_CORS_ORIGINS",
        "invalid_callback": "the provider's signature on a callback does not hold",
        "invalid_claim": "the signature of the URL does not hold",
    },
    409: {
        "SINK_NOT_CONFIGURED": "there is nothing to connect the sink to",
        "custom_oauth_frozen": "custom OAuth cannot change once an installation exists",
        "still_running": "the first request with this Idempotency-Key has no answer yet",
        "driver_disabled": "the tenant switched the driver off",
        "driver_not_configured": "the driver needs its settings first",
    },
    422: {
        "credentials_refused": "the provider refuses these credentials",
        "idempotency_key_reused": "the Idempotency-Key came with another request before",
    },
    429: {"too_many_failures": "too many API keys that are not valid came from this address"},
    410: {"claim_expired": "the signed URL has ended", "event_gone": "the event is not kept"},
}
BY_STATUS = {kind.status: kind for kind in CLASSES}
RETRY_AFTER: Schema = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
}
CHALLENGE: Schema = {"WWW-Authenticate": {"schema": {"const": "Bearer"}}}


class Fault(BaseModel):
    """One fault inside a request: where (`events.0`) and what."""

    path: str
    message: str


class Problem(BaseModel):
    """Every error. `error` says what kind, `code` which one, for programs; `message` is for people;
    `details` has one entry per fault of the request.
    """

    error: str
    code: str
    message: str
    details: list[Fault]


class EvolutionSaid(BaseModel):
    """What Evolution API's clients show: `[["…"]]` when the request was at fault, else `["…"]`."""

    message: list[str] | list[list[str]]


class EvolutionProblem(Problem):
    """The same, with what clients of Evolution API read."""

    status: int
    response: EvolutionSaid


class InternalProblem(Problem):
    """`id`: look it up in the log."""

    id: str
    error: Literal["Internal error"]
    code: Literal["internal_error"]


def statuses_of(route: Route, *, has_body: bool) -> dict[int, str]:
    """Status -> when, of every error the route can answer."""
    found: dict[int, str] = {500: "", 503: ""}
    if route.permission != PUBLIC:
        found |= {401: "", 429: ""}
    if route.permission not in {PUBLIC, ANY_KEY}:
        found |= {403: ""}
    if "{" in route.path:
        found |= {404: ""}
    if takes_key(route):
        found |= {400: "", 408: "", 409: "", 413: "", 415: "", 422: ""}
    if has_body:
        found |= {400: "", 408: "", 413: "", 415: ""}
    if "{instance}" in route.path or (route.evolution and has_body):
        found |= {400: ""}
    if not route.evolution and (has_body or (route.query and route.permission != PUBLIC)):
        found |= {422: ""}
    return found | {status: when for status, when in route.answers.items() if status >= 400}


def response(status: int, when: str, *, evolution: bool) -> Schema:
    """The response object of one error."""
    kind = BY_STATUS.get(status)
    if kind is None:
        return {"description": when}
    name = "EvolutionProblem" if evolution else "Problem"
    if status == 500 and not evolution:
        name = "InternalProblem"
    codes = {kind.code: (kind.__doc__ or "").strip()} | CODES.get(status, {})
    told = "".join(f"\n- `{code}`: {meaning}" for code, meaning in codes.items())
    made: Schema = {
        "description": f"{kind.error}: {when or _said(kind)}\n\n`code` may be{told}",
        "content": {
            JSON: {
                "schema": {"$ref": f"#/components/schemas/{name}"},
                "example": _example(kind, evolution=evolution),
            }
        },
    }
    if status in {429, 503}:
        made["headers"] = RETRY_AFTER
    if status == 401:
        made["headers"] = CHALLENGE
    return made


def _said(kind: type[errors.RequestError]) -> str:
    text = (kind.__doc__ or "").strip()
    return text[:1].lower() + text[1:].rstrip(".")


def _example(kind: type[errors.RequestError], *, evolution: bool) -> Schema:
    message = (kind.__doc__ or "").strip()
    shown: Schema = {"error": kind.error, "code": kind.code, "message": message, "details": []}
    if kind.status == 500:
        shown["id"] = "01jd2m3x4y5z6a7b8c9d0e1f2g"
    if kind.status == 422:
        shown["details"] = [{"path": "name", "message": "Field required"}]
    if evolution:
        said = [[message]] if kind.status == 400 else [message]
        shown |= {"status": kind.status, "response": {"message": said}}
    return shown
