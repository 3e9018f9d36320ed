"""Every module of routes, explicitly: what the server serves, the documents describe and the
permission table tests.
"""

from __future__ import annotations

from gateway.api import (
    driver_settings,
    drivers,
    health,
    installation_life,
    installations,
    instances,
    keys,
    send_test,
    sinks,
)
from gateway.api.route import Route

ROUTES: tuple[Route, ...] = (
    *drivers.ROUTES,
    *driver_settings.ROUTES,
    *send_test.ROUTES,
    *installations.ROUTES,
    *installation_life.ROUTES,
    *sinks.ROUTES,
    *instances.ROUTES,
    *keys.ROUTES,
    *health.ROUTES,
)
