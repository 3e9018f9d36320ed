"""What a running gateway is made of, wired once in `app.py` and handed to whoever serves a
request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from gateway.alarm_sources import AlarmSources
from gateway.alarms import Alarms
from gateway.alerts import Notices
from gateway.background import Errands
from gateway.callers import Callers
from gateway.chats import Chats
from gateway.circuits import SharedCircuits
from gateway.claims import Claims
from gateway.credential_check import CredentialChecks
from gateway.directory import Directory
from gateway.dispatch import Dispatcher
from gateway.drift import Drift
from gateway.egress import Egress
from gateway.enrich import Enrichment
from gateway.gauges import Gauges
from gateway.ids import Ulids
from gateway.ingress import Ingress
from gateway.intake import Intake
from gateway.jobs import Jobs
from gateway.key_use import KeyUse
from gateway.metrics import Metrics
from gateway.models import ApiKey
from gateway.oauth_flow import OAuthFlow
from gateway.oauth_refresh import Refreshes
from gateway.poll import Polls
from gateway.pressure import Pressure
from gateway.provider_api import ProviderApi
from gateway.push import Hub
from gateway.reconcile import Reconciler
from gateway.replay import Replays
from gateway.security import Principal, RandomBytes, Vault
from gateway.settings import Settings
from gateway.standing import Standing
from gateway.store.base import Store
from gateway.store.history import History
from gateway.store.registry import Registry
from gateway.subscriptions import Subscriptions
from gateway.tracing import Tracing
from sinks.base import Context


class Listener(Protocol):
    """The Socket.IO server, made for its first client."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one request."""

    async def close(self) -> None:
        """Let go of every client."""


@dataclass(slots=True, kw_only=True)
class Services:
    """One process's parts. `now`: wall clock in microseconds. `admin`: what COMPORTA_AUTH=off acts
    as.
    """

    settings: Settings
    store: Store
    registry: Registry
    history: History
    directory: Directory
    dispatcher: Dispatcher
    circuits: SharedCircuits
    alarms: Alarms
    alarm_sources: AlarmSources
    notices: Notices
    tracing: Tracing | None
    intake: Intake
    ingress: Ingress
    jobs: Jobs
    provider_api: ProviderApi
    checks: CredentialChecks
    polls: Polls
    enrichment: Enrichment
    reconciler: Reconciler
    subscriptions: Subscriptions
    oauth: OAuthFlow
    refreshes: Refreshes
    standing: Standing
    drift: Drift
    key_use: KeyUse
    callers: Callers
    pressure: Pressure
    metrics: Metrics
    gauges: Gauges
    vault: Vault
    egress: Egress
    sink_context: Context
    claims: Claims
    hub: Hub
    chats: Chats
    ids: Ulids
    now: Callable[[], int]
    random: RandomBytes
    admin: Principal
    admin_digest: str
    replays: Replays
    errands: Errands
    socket_io: Listener | None = None

    def key_used(self, key: ApiKey) -> None:
        """Remember that a key was used, now."""
        self.key_use.note(key, self.now())


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
