"""What every route that changes something has in common: at most once per Idempotency-Key, and on
record.
"""

from __future__ import annotations

import re
from typing import Any

import orjson
from aiohttp import web

from gateway import log
from gateway.api.route import FIELDS, PUBLIC, Call, Route
from gateway.idempotency import HEADER
from schemas.errors import StoreUnavailableError

READS = frozenset({"GET", "HEAD", "OPTIONS"})
# Providers' own words come in by these: events, not changes.
TAKES_EVENTS = "EVENTS_WRITE"
# Others do the same however often they are sent.
ONCE = frozenset({"POST", "PATCH"})
MOST_FIELDS = 40
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")


def changes(route: Route) -> bool:
    """Whether what the route does belongs into the audit log."""
    return route.method not in READS and route.permission not in {PUBLIC, TAKES_EVENTS}


def takes_key(route: Route) -> bool:
    """Whether an Idempotency-Key is honoured."""
    return changes(route) and route.method in ONCE


async def carry_out(route: Route, call: Call) -> web.StreamResponse:
    """Run the handler of a route for a call that is authorised."""
    if not changes(route):
        return await route.handler(call)
    ran = True
    if takes_key(route) and HEADER in call.request.headers:
        answer, ran = await call.services.callers.idempotency.once(
            call.request, call.principal, lambda: route.handler(call)
        )
    else:
        answer = await route.handler(call)
    if ran and answer.status < 400:
        await _record(route, call, answer)
    return answer


async def _record(route: Route, call: Call, answer: web.StreamResponse) -> None:
    """Put it on record. What was done stays done when the store fails only now."""
    request, callers = call.request, call.services.callers
    doc: dict[str, Any] = {"fields": _fields(request)} | _made(answer)
    try:
        await callers.audit.record(
            call.principal,
            action=f"{route.method} {route.path}",
            path=request.path,
            instance=request.match_info.get("instance") or doc.pop("instance", None),
            status=answer.status,
            source=callers.sources.of(request),
            doc=doc,
        )
    except StoreUnavailableError as error:
        log.get().error(
            "audit.lost",
            method=route.method,
            path=route.path,
            key_id=call.principal.key_id,
            error=error.message,
        )


def _fields(request: web.Request) -> list[str]:
    """Names at the top of the body that was read; what looks like no name is left out."""
    names = [name for name in request.get(FIELDS, ()) if _FIELD.fullmatch(name)]
    return sorted(log.scrub(name) for name in names)[:MOST_FIELDS]


def _made(answer: web.StreamResponse) -> dict[str, str]:
    """What an answer tells of what was made or changed: its id and instance."""
    body = answer.body if isinstance(answer, web.Response) else None
    if not isinstance(body, bytes) or answer.content_type != "application/json":
        return {}
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:  # a lone surrogate: no id of ours
        return {}
    data = told.get("data", told) if isinstance(told, dict) else {}
    found = data if isinstance(data, dict) else {}
    return {k: v for k in ("id", "instance") if isinstance(v := found.get(k), str)}
