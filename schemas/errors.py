"""The error tree. It sits at the bottom so that every layer can raise from it without a loop.

ComportaError
├── VerificationError   a delivery is not proven to come from its provider   -> 401
├── UnparsableError     it is not what its content type says                 -> 400 or quarantine
├── MalformedError      verified, but a driver cannot make sense of it       -> quarantine
└── RequestError        an answer to an API client, with its status
    ├── BadRequest 400 · Unauthorized 401 · Forbidden 403 · NotFound 404 · Conflict 409 · Gone 410
    ├── TooLarge 413 · UnsupportedMediaType 415 · Invalid 422 · TooManyRequests 429
    └── Unavailable 503
StoreUnavailableError   the store cannot commit now                          -> 503

A class docstring is its default message.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Detail:
    """One fault inside a request: where (`events.0`) and what."""

    path: str
    message: str


class ComportaError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        super().__init__(self.message)


class VerificationError(ComportaError):
    """The delivery could not be verified."""


class UnparsableError(ComportaError):
    """The body is not what its content type says."""


class MalformedError(ComportaError):
    """The delivery does not have the shape this provider documents."""


class StoreUnavailableError(ComportaError):
    """The store cannot commit right now."""


class InDoubtError(StoreUnavailableError):
    """Nobody knows whether the store committed: the answer was lost."""


class RequestError(ComportaError):
    """The request cannot be served."""

    status = 400
    error = "Bad request"
    code = "bad_request"

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        details: tuple[Detail, ...] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or type(self).code
        self.details = details
        self.retry_after = retry_after


class BadRequestError(RequestError):
    """The request is malformed."""


class UnauthorizedError(RequestError):
    """A valid API key is required."""

    status, error, code = 401, "Unauthorized", "unauthorized"


class ForbiddenError(RequestError):
    """This API key lacks the permission."""

    status, error, code = 403, "Forbidden", "forbidden"


class NotFoundError(RequestError):
    """There is nothing under this name."""

    status, error, code = 404, "Not found", "not_found"


class ConflictError(RequestError):
    """The request conflicts with what is stored."""

    status, error, code = 409, "Conflict", "conflict"


class GoneError(RequestError):
    """What was here is here no longer."""

    status, error, code = 410, "Gone", "gone"


class TooLargeError(RequestError):
    """The body is larger than this server accepts."""

    status, error, code = 413, "Payload too large", "payload_too_large"


class UnsupportedMediaTypeError(RequestError):
    """This content type or encoding is not accepted here."""

    status, error, code = 415, "Unsupported media type", "unsupported_media_type"


class InvalidError(RequestError):
    """Some fields are not valid."""

    status, error, code = 422, "Validation failed", "validation_failed"


class TooManyRequestsError(RequestError):
    """Too many requests."""

    status, error, code = 429, "Too many requests", "too_many_requests"


class UnavailableError(RequestError):
    """The service cannot take this right now; try again shortly."""

    status, error, code = 503, "Unavailable", "unavailable"
