"""What a running gateway is made of, wired once in `app.py` and handed to whoever serves a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from gateway.directory import Directory
from gateway.dispatch import Dispatcher
from gateway.egress import Egress
from gateway.ids import Ulids
from gateway.pressure import Pressure
from gateway.security import Principal, RandomBytes, Vault
from gateway.settings import Settings
from gateway.store.base import Store
from gateway.store.history import History
from sinks.base import Context


@dataclass(slots=True)
class Services:
    """One process's parts. `now`: wall clock in microseconds. `admin`: what COMPORTA_AUTH=off acts as."""

    settings: Settings
    store: Store
    history: History
    directory: Directory
    dispatcher: Dispatcher
    pressure: Pressure
    vault: Vault
    egress: Egress
    sink_context: Context
    ids: Ulids
    now: Callable[[], int]
    random: RandomBytes
    admin: Principal
    refused: list[dict[str, object]] = field(default_factory=list)


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
