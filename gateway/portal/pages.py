"""Every page of the portal, explicitly, and the navigation that leads to them."""

from __future__ import annotations

from gateway.portal.door import Opening
from gateway.portal.texts import later
from gateway.portal.views import (
    catalogue,
    entrance,
    failures,
    history,
    installations,
    instances,
    overview,
    settings,
    sinks,
    tail,
)

PAGES: tuple[Opening, ...] = (
    *overview.PAGES,
    *entrance.PAGES,
    *history.PAGES,
    *tail.PAGES,
    *failures.PAGES,
    *instances.PAGES,
    *sinks.PAGES,
    *installations.PAGES,
    *catalogue.PAGES,
    *settings.PAGES,
)
# (place, name, icon, the permission it needs, whether it is in the bar of a phone)
NAVIGATION: tuple[tuple[str, str, str, str | None, bool], ...] = (
    ("", later("Overview"), "overview", None, True),
    ("events", later("Events"), "events", "EVENTS_READ", True),
    ("tail", later("Live tail"), "tail", "EVENTS_READ", False),
    ("failures", later("Failures"), "failures", "EVENTS_READ", True),
    ("instances", later("Instances"), "instances", None, True),
    ("installations", later("Installations"), "installations", "INSTALLATIONS_MANAGE", False),
    ("drivers", later("Drivers"), "drivers", None, False),
    ("receivers", later("Receivers"), "receivers", None, False),
    ("settings", later("Settings"), "settings", None, False),
)
