"""Every module of routes, explicitly: what the server serves, the documents describe and the
permission table tests.
"""

from __future__ import annotations

from gateway.api import health, sinks
from gateway.api.route import Route

ROUTES: tuple[Route, ...] = (*health.ROUTES, *sinks.ROUTES)
