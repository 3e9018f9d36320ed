"""What a route is: all that authorises, documents and tests it, said once where it is made."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from gateway.api.doc import Doc
from gateway.reading import KEPT_BODY, read_body
from gateway.security import Principal
from gateway.services import SERVICES, Services
from schemas import codec
from schemas.errors import (
    BadRequestError,
    Detail,
    InvalidError,
    NotFoundError,
    UnparsableError,
    UnsupportedMediaTypeError,
)

# Set on requests whose errors Evolution API's clients read.
EVOLUTION: web.RequestKey[bool] = web.RequestKey("evolution", bool)
# The names at the top of a body, for the audit log.
FIELDS: web.RequestKey[tuple[str, ...]] = web.RequestKey("fields", tuple)
PUBLIC = "public"
ANY_KEY = "any key"
MAX_API_BODY = 1_048_576
# The last two are what clients send that name no type at all.
JSON_TYPES = frozenset({"application/json", "application/octet-stream", "text/plain"})
M = TypeVar("M", bound=BaseModel)
INSTANCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Call:
    """One request that is authorised: who, what, and the parts to serve it with."""

    request: web.Request
    services: Services
    principal: Principal

    def path(self, name: str) -> str:
        """A path parameter, decoded."""
        return self.request.match_info[name]

    def instance(self) -> str:
        """The instance named in the path. Raises BadRequestError, and NotFoundError beyond the
        key's limit.
        """
        return self.check_instance(self.path("instance"))

    def check_instance(self, name: str) -> str:
        """A well-formed instance name within the key's limit."""
        if not INSTANCE_NAME.fullmatch(name):
            raise BadRequestError(
                "an instance name is a letter or digit, then up to 63 of A-Z a-z 0-9 . - _",
                code="invalid_instance",
            )
        if not self.principal.sees(name):
            raise NotFoundError(f"there is no instance {name}")
        return name

    def check_name(self, name: str, what: str) -> str:
        """A well-formed name. Raises BadRequestError."""
        if not INSTANCE_NAME.fullmatch(name):
            raise BadRequestError(
                f"{what} is a letter or digit, then up to 63 of A-Z a-z 0-9 . - _"
            )
        return name

    def query(self, name: str) -> str | None:
        """A query parameter, None when absent or empty."""
        return self.request.query.get(name) or None

    async def json(self) -> Any:
        """The JSON body as values, {} when there is none.

        Raises BadRequestError, UnsupportedMediaTypeError, and what `read_body` raises.
        """
        kind = self.request.content_type
        has_body = self.request.can_read_body or bool(self.request.get(KEPT_BODY))
        if has_body and kind not in JSON_TYPES:
            raise UnsupportedMediaTypeError(f"send application/json, not {kind}")
        body = await read_body(self.request, MAX_API_BODY)
        try:
            value = codec.loads(body) if body.strip() else {}
        except UnparsableError as error:
            raise BadRequestError(error.message, code="invalid_json") from None
        self.request[FIELDS] = tuple(value) if isinstance(value, dict) else ()
        return value

    async def model(self, model: type[M]) -> M:
        """The body as a model. Raises InvalidError with a detail per fault."""
        return validate(model, await self.json())


def validate(model: type[M], value: Any) -> M:
    """`value` as a model. Raises InvalidError with a detail per fault."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidError(details=details_of(error)) from None


def details_of(error: ValidationError) -> tuple[Detail, ...]:
    """The faults pydantic found, by their path."""
    return tuple(
        Detail(".".join(map(str, e["loc"])) or "body", str(e["msg"]).removeprefix("Value error, "))
        for e in error.errors(include_url=False, include_context=False, include_input=False)
    )


Handler = Callable[[Call], Awaitable[web.StreamResponse]]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route. `permission`: one of security.PERMISSIONS, ANY_KEY or PUBLIC; `instead`: others
    that serve as well. `key_in_query`: the API key may be the parameter `apikey`. `evolution`:
    answers errors in the shape Evolution API's clients read. `body`, `answer`: models, for the
    OpenAPI document; `answers`: status -> what it means. `query`: names of its query parameters;
    `doc`: what else the document says.
    """

    method: Method
    path: str
    handler: Handler
    permission: str
    summary: str
    tag: str
    body: type[BaseModel] | None = None
    answer: Any = None
    status: int = 200
    query: tuple[str, ...] = ()
    evolution: bool = False
    instead: tuple[str, ...] = ()
    key_in_query: bool = False
    answers: dict[int, str] = field(default_factory=dict)
    doc: Doc = field(default_factory=Doc)


def respond(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(
        body=codec.dumps(value),
        status=status,
        headers=headers,
        content_type="application/json",
        charset="utf-8",
    )


def data(value: Any, status: int = 200) -> web.Response:
    """A single answer, `{"data": …}`."""
    shown = value.model_dump() if isinstance(value, BaseModel) else value
    return respond({"data": shown}, status)


def call_of(request: web.Request, principal: Principal) -> Call:
    """The call behind an authorised request."""
    return Call(request, request.app[SERVICES], principal)
