"""Asking the API from inside: its own handlers, behind their own permissions and on
record, without HTTP.

So the portal has no business logic of its own: what a form may hold, who may send it and what it
does is said once, in `gateway.api`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from gateway.api.auth import refuse_without
from gateway.api.changing import carry_out
from gateway.api.route import FIELDS, Call, Route
from gateway.api.router import ROUTES
from gateway.idempotency import HEADER
from gateway.security import Principal
from gateway.services import SERVICES
from schemas import codec
from schemas.errors import NotFoundError

# What describes the portal's own request, not the one it makes.
_OWN = (HEADER, hdrs.CONTENT_LENGTH, hdrs.CONTENT_TYPE, hdrs.COOKIE, hdrs.TRANSFER_ENCODING)


@dataclass(frozen=True, slots=True)
class Inside(Call):
    """A call whose body is at hand."""

    given: Any = None

    async def json(self) -> Any:
        """The body; {} when there is none."""
        return {} if self.given is None else self.given


async def ask(
    request: web.Request,
    principal: Principal,
    method: str,
    path: str,
    *,
    body: Any = None,
    query: Mapping[str, str] | None = None,
    language: str = "en",
) -> Any:
    """What the API answers to `principal`, its JSON read exactly; None when it has no content.

    Raises what its handler raises, ForbiddenError without the permission, and NotFoundError for a
    path there is not. `path` is encoded.
    """
    headers = CIMultiDict(request.headers)
    for name in _OWN:
        headers.popall(name, None)
    headers[hdrs.ACCEPT_LANGUAGE] = language
    url = URL(path, encoded=True).with_query({k: v for k, v in (query or {}).items() if v})
    inner = request.clone(method=method, rel_url=url, headers=headers)
    match = await request.app.router.resolve(inner)
    route = _route(method, match)
    inner._match_info = match  # noqa: SLF001 - only aiohttp's own server can say so otherwise
    refuse_without(principal, route.permission, route.instead)
    call = Inside(inner, request.app[SERVICES], principal, body)
    inner[FIELDS] = tuple(body) if isinstance(body, dict) else ()
    answer = await carry_out(route, call)
    told = answer.body if isinstance(answer, web.Response) else None
    return codec.loads(told) if isinstance(told, bytes) and told else None


def _route(method: str, match: web.UrlMappingMatchInfo) -> Route:
    resource = match.route.resource
    canonical = resource.canonical if resource is not None else None
    for route in ROUTES:
        if route.method == method and canonical in {route.path, route.path + "/"}:
            return route
    raise NotFoundError("this gateway has no such page")
