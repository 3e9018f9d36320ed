"""Who is asking: an API key from the headers (or the query, for sockets), and what it may do.

Checked before anything is looked up, and the same way whether the key is unknown or wrong.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.api.changing import carry_out
from gateway.api.route import ANY_KEY, EVOLUTION, PUBLIC, Route, call_of
from gateway.security import Principal, digest, is_mistyped
from gateway.services import SERVICES, Services
from schemas.errors import ForbiddenError, UnauthorizedError


def presented_key(request: web.Request, *, in_query: bool = False) -> str | None:
    """The key in `Authorization: Bearer` or `apikey`; for sockets also the parameter `apikey`,
    because a browser gives them no headers.
    """
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer" and value.strip():
        return value.strip()
    key = request.headers.get("apikey")
    return key or (request.query.get("apikey") if in_query else None) or None


def principal_of(services: Services, key: str | None) -> Principal:
    """Who a key is. Raises UnauthorizedError for a missing, unknown or expired one."""
    if key is None:
        if services.settings.auth:
            raise UnauthorizedError("send an API key as `Authorization: Bearer …` or `apikey: …`")
        return services.admin
    found = principal_with(services, digest(key))
    if found is None:
        hint = ": it was cut off or mistyped" if is_mistyped(key) else ""
        raise UnauthorizedError(f"this API key is not valid{hint}")
    return found


def principal_with(services: Services, presented: str) -> Principal | None:
    """Who the key of this digest is, None when it does not work (any more)."""
    if hmac.compare_digest(presented, services.admin_digest):
        return services.admin
    found = services.directory.key(presented)
    if found is None or not found.works(presented, services.now()):
        return None
    services.key_used(found)
    return Principal(
        found.tenant, found.id, found.name, frozenset(found.permissions), found.instance
    )


def identified(services: Services, key: str | None, source: str) -> Principal:
    """See `principal_of`; who shows too many keys that do not fit is held off for a while.

    Raises UnauthorizedError or TooManyRequestsError.
    """
    if key is None:
        return principal_of(services, None)
    attempts, presented = services.callers.attempts, digest(key)
    attempts.check(source, presented)
    try:
        principal = principal_of(services, key)
    except UnauthorizedError:
        attempts.failed(source)
        raise
    attempts.fitted(source, presented)
    return principal


def authorise(
    services: Services,
    request: web.Request,
    permission: str,
    *,
    instead: tuple[str, ...] = (),
    in_query: bool = False,
) -> Principal:
    """The principal of a request that needs `permission`, or one of those that serve `instead`.

    Raises UnauthorizedError, ForbiddenError or TooManyRequestsError.
    """
    key = presented_key(request, in_query=in_query)
    principal = identified(services, key, services.callers.sources.of(request))
    refuse_without(principal, permission, instead)
    return principal


def refuse_without(principal: Principal, permission: str, instead: tuple[str, ...] = ()) -> None:
    """Raises ForbiddenError unless the principal may do what needs `permission`."""
    open_to_all = permission in {ANY_KEY, PUBLIC}
    if not open_to_all and not any(map(principal.may, (permission, *instead))):
        raise ForbiddenError(f"this API key lacks the permission {permission}")


_NOBODY = Principal("", "", "", frozenset())


def register(app: web.Application, routes: tuple[Route, ...]) -> None:
    """Add routes, with and without a slash at the end, each behind its permission."""
    for route in routes:
        handler = _guarded(route)
        for path in (route.path, route.path + "/") if route.path != "/" else ("/",):
            app.router.add_route(route.method, path, handler)


def _guarded(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        if route.evolution:
            request[EVOLUTION] = True
        if route.permission == PUBLIC:
            return await route.handler(call_of(request, _NOBODY))
        principal = authorise(
            request.app[SERVICES],
            request,
            route.permission,
            instead=route.instead,
            in_query=route.key_in_query,
        )
        return await carry_out(route, call_of(request, principal))

    return handle
