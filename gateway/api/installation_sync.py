"""What this gateway asks an installation's provider for by itself: lists, and comparisons with what
webhooks told.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from gateway.api.doc import Doc
from gateway.api.installation_answer import found_installation, shown
from gateway.api.installation_shape import InstallationData
from gateway.api.paging import Data, refuse
from gateway.api.route import Call, Route
from gateway.api.text import Body
from gateway.driver_setup import driver_of
from gateway.models import Installation
from gateway.reconcile import comparable
from schemas.errors import ConflictError

HOUR = 3_600_000_000  # microseconds


class Reconciliation(Body):
    """`hours`: how far to look back, at most as long as facts are known (COMPORTA_DEDUPE_DAYS)."""

    hours: Annotated[int, Field(strict=True, ge=1, le=24 * 90)] = 24


async def show_installation(call: Call) -> web.Response:
    """One installation, with where its lists stand and what the last comparison found."""
    return await shown(call, found_installation(call))


async def poll(call: Call) -> web.Response:
    """Ask the provider, now, for what it did not send."""
    one = found_installation(call)
    driver = driver_of(one.driver)
    if driver is None or not driver.polls or driver.api is None:
        name = driver.name if driver else one.driver
        raise ConflictError(f"{name} has nothing to poll: it sends webhooks")
    _refuse_unaskable(one, "polling")
    await call.services.polls.hurry(one)
    call.services.jobs.wake()
    return await shown(call, one, 202)


async def reconcile(call: Call) -> web.Response:
    """Compare what the provider lists with what its webhooks told, and emit what never came."""
    one, wish = found_installation(call), await call.model(Reconciliation)
    driver = driver_of(one.driver)
    if not comparable(one):
        name = driver.name if driver else one.driver
        raise ConflictError(f"{name} has no list that its webhooks could be compared with")
    _refuse_unaskable(one, "reconciling")
    known = call.services.settings.dedupe_days * 24
    if wish.hours > known:
        raise refuse(
            "hours", f"what is older than {known:g} hours may have been told and forgotten"
        )
    await call.services.reconciler.start(one, call.services.now() - wish.hours * HOUR)
    call.services.jobs.wake()
    return await shown(call, one, 202)


def _refuse_unaskable(one: Installation, what: str) -> None:
    driver = driver_of(one.driver)
    if one.status != "active":
        raise ConflictError(f"this installation is not active but {one.status}")
    wanted = driver.api.credentials if driver and driver.api else ()
    missing = [name for name in wanted if not one.known_credentials.get(name)]
    if driver and missing:
        raise ConflictError(f"{what} {driver.name} needs the credentials {', '.join(missing)}")


def _route(
    method: Literal["GET", "POST"], path: str, handler: Any, summary: str, **more: Any
) -> Route:
    return Route(
        method=method,
        path=f"/installations/{{id}}{path}",
        handler=handler,
        permission="INSTALLATIONS_MANAGE",
        summary=summary,
        tag="installations",
        answer=Data[InstallationData],
        **more,
    )


ROUTES: tuple[Route, ...] = (
    _route("GET", "", show_installation, "One installation"),
    _route(
        "POST", "/poll", poll, "Ask the provider now", status=202, answers={409: "nothing to poll"}
    ),
    _route(
        "POST",
        "/reconcile",
        reconcile,
        "Find webhooks that never came",
        body=Reconciliation,
        status=202,
        answers={409: "the driver has no list to compare with, or it cannot be asked"},
        doc=Doc(optional=True, examples={"The last two days": {"hours": 48}}),
    ),
)
