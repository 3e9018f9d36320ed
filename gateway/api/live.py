"""What `/ws` and Socket.IO have in common: who may listen, to what, from where on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from gateway.api.auth import principal_of
from gateway.api.route import Call
from gateway.api.sink_rules import named_by
from gateway.push import Hub
from gateway.push_client import REMOVED, REVOKED, Ending, Place
from gateway.services import Services
from gateway.settings import Settings
from schemas.errors import BadRequestError, Detail, ForbiddenError, NotFoundError, UnauthorizedError

PERMISSION = "EVENTS_READ"


@dataclass(slots=True, frozen=True)
class Visitor:
    """Who listens; asked again for as long as the connection lasts."""

    services: Services
    place: Place
    key: str | None

    def check(self) -> Ending | None:
        """Why the connection must end, None while it may last."""
        tenant, instance = self.place
        try:
            principal = principal_of(self.services, self.key)
        except UnauthorizedError:
            return REVOKED
        may = principal.tenant == tenant and principal.may(PERMISSION) and principal.sees(instance)
        if not may:
            return REVOKED
        return REMOVED if self.services.directory.instance(tenant, instance) is None else None


def instance_place(call: Call) -> Place:
    """The instance of the path. Raises NotFoundError when the tenant has none of this name."""
    tenant, name = call.principal.tenant, call.instance()
    if call.services.directory.instance(tenant, name) is None:
        raise NotFoundError(f"there is no instance {name}")
    return tenant, name


def origins(settings: Settings) -> tuple[str, ...]:
    """The origins whose pages may open sockets: the server's own, and those configured."""
    parts = urlsplit(settings.base_url)
    return (f"{parts.scheme}://{parts.netloc}", *settings.cors_origins)


def check_origin(settings: Settings, request: web.Request) -> None:
    """Refuse pages of other origins: a browser sends their sockets without asking us first. What
    is no browser has no origin.
    """
    origin, allowed = request.headers.get("Origin"), origins(settings)
    if origin is not None and origin not in allowed and "*" not in allowed:
        raise ForbiddenError(
            "this origin is not among COMPORTA_CORS_ORIGINS", code="origin_not_allowed"
        )


def read_events(lists: Iterable[str]) -> frozenset[str] | None:
    """The keys that comma lists of event names select, None for all.

    Raises BadRequestError with a detail per unknown name.
    """
    names = [name.strip() for text in lists for name in text.split(",") if name.strip()]
    unknown = [name[:64] for name in names if not named_by(name)]
    if unknown:
        raise BadRequestError(
            f"events: there is no event {unknown[0]}",
            code="unknown_event",
            details=tuple(Detail("events", f"there is no event {name}") for name in unknown),
        )
    return frozenset(key for name in names for key in named_by(name)) or None


async def start_of(hub: Hub, place: Place, since: str | None) -> tuple[int, int]:
    """Where the stream is now, and where the client's reading begins.

    Raises BadRequestError when `since` is no event of this instance: whoever resumes there would
    not know what it missed.
    """
    position = await hub.position()
    if since is None:
        return position, position
    seq = await hub.seq_of(place, since)
    if seq is None:
        raise BadRequestError(
            "since: this instance has no such event (any more); connect without it, and read"
            " /processing/events for what you missed",
            code="unknown_since",
        )
    return position, seq
