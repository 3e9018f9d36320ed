"""Every module of routes, explicitly: what the server serves, the documents describe and the
permission table tests.
"""

from __future__ import annotations

from gateway.api import (
    audit,
    claims,
    dispatches,
    documents,
    driver_settings,
    drivers,
    events,
    evolution_channel,
    health,
    hooks,
    inbounds,
    installation_life,
    installation_sync,
    installations,
    instances,
    keys,
    oauth,
    operator,
    privacy,
    replays,
    send_test,
    sinks,
    ws,
)
from gateway.api.route import Route

_DESCRIBED: tuple[Route, ...] = (
    *hooks.ROUTES,
    *drivers.ROUTES,
    *driver_settings.ROUTES,
    *send_test.ROUTES,
    *installations.ROUTES,
    *installation_life.ROUTES,
    *installation_sync.ROUTES,
    *oauth.ROUTES,
    *sinks.ROUTES,
    *evolution_channel.ROUTES,
    *events.ROUTES,
    *inbounds.ROUTES,
    *dispatches.ROUTES,
    *replays.ROUTES,
    *claims.ROUTES,
    *ws.ROUTES,
    *instances.ROUTES,
    *keys.ROUTES,
    *audit.ROUTES,
    *privacy.ROUTES,
    *operator.ROUTES,
    *health.ROUTES,
)
ROUTES: tuple[Route, ...] = (*_DESCRIBED, *documents.routes(_DESCRIBED))
