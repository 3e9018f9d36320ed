"""Every page of the portal, explicitly, and the navigation that leads to them."""

from __future__ import annotations

from gateway.portal.door import Opening
from gateway.portal.views import entrance, history, overview

PAGES: tuple[Opening, ...] = (
    *overview.PAGES,
    *entrance.PAGES,
    *history.PAGES,
)
# (place, name, icon, the permission it needs, whether it is in the bar of a phone)
NAVIGATION: tuple[tuple[str, str, str, str | None, bool], ...] = (
    ("", "Overview", "overview", None, True),
    ("events", "Events", "events", "EVENTS_READ", True),
    ("tail", "Live tail", "tail", "EVENTS_READ", False),
    ("failures", "Failures", "failures", "EVENTS_READ", True),
    ("instances", "Instances", "instances", None, True),
    ("installations", "Installations", "installations", "INSTALLATIONS_MANAGE", False),
    ("drivers", "Drivers", "drivers", None, False),
    ("receivers", "Receivers", "receivers", None, False),
    ("settings", "Settings", "settings", None, False),
)
