"""What every endpoint that concerns one installation answers."""

from __future__ import annotations

from aiohttp import web

from gateway.api.installation_shape import (
    InstallationData,
    PollData,
    ReconciliationData,
    installation_data,
)
from gateway.api.route import Call, data
from gateway.api.times import api_time
from gateway.models import Installation
from gateway.reconcile import Report
from schemas.errors import NotFoundError


def found_installation(call: Call) -> Installation:
    """The installation of the path. Raises NotFoundError."""
    one = call.services.directory.installation(call.path("id"))
    principal = call.principal
    if one is None or one.tenant != principal.tenant or not principal.sees(one.instance):
        raise NotFoundError("there is no such installation")
    return one


async def shown(call: Call, one: Installation, status: int = 200) -> web.Response:
    """The answer of every endpoint that concerns one installation."""
    return data(await whole(call, one), status)


def told(call: Call, one: Installation, auth_url: str | None = None) -> InstallationData:
    """What may be known of an installation, with where its owner may authorise it."""
    services = call.services
    where = auth_url or services.oauth.url(one)
    return installation_data(one, services.settings.base_url, services.now(), where)


async def whole(call: Call, one: Installation) -> InstallationData:
    """All that may be known of an installation."""
    services, shape = call.services, told(call, one)
    shape.polls = [
        PollData(
            list=state.name,
            last_swept_at=api_time(state.swept_at),
            next_at=api_time(state.next_at),
            error=state.error,
            checked=state.checked,
            found=state.found,
        )
        for state in await services.polls.told(one)
    ]
    report = await services.reconciler.told(one)
    shape.reconciliation = _report(report) if report else None
    return shape


def _report(report: Report) -> ReconciliationData:
    return ReconciliationData(
        state=report.state,
        since=api_time(report.since),
        started_at=api_time(report.started_at),
        finished_at=api_time(report.finished_at),
        checked=report.checked,
        found=report.found,
        enriching=report.enriching,
        events=list(report.events),
        error=report.error,
    )
