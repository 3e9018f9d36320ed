"""What is done at providers beside receiving from them, wired together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gateway.directory import Directory
from gateway.enrich import Enrichment
from gateway.ids import Ulids
from gateway.intake import ENRICH, Intake
from gateway.jobs import Runner
from gateway.metrics import Metrics
from gateway.poll import POLL, Polls
from gateway.provider_api import Access, ProviderApi
from gateway.reconcile import RECONCILE, Reconciler
from gateway.security import Vault
from gateway.store.base import Store
from gateway.store.history import History
from gateway.subscriptions import SUBSCRIBE, UNSUBSCRIBE, Subscriptions
from gateway.sweep import Sweeper
from sinks.base import Http


@dataclass(frozen=True, slots=True)
class Parts:
    """What it works with. `now`: microseconds."""

    store: Store
    history: History
    directory: Directory
    intake: Intake
    ids: Ulids
    metrics: Metrics
    now: Callable[[], int]


class ProviderWork(NamedTuple):
    """Its parts, by the names they have in `Services`."""

    provider_api: ProviderApi
    polls: Polls
    enrichment: Enrichment
    reconciler: Reconciler
    subscriptions: Subscriptions

    @property
    def runners(self) -> Mapping[str, Runner]:
        """By kind of job; all of them wait for servers of others."""
        return {
            POLL: self.polls.run,
            ENRICH: self.enrichment.run,
            RECONCILE: self.reconciler.run,
            SUBSCRIBE: self.subscriptions.run,
            UNSUBSCRIBE: self.subscriptions.run_end,
        }


def open_provider_work(
    parts: Parts, http: Http, access: Access, vault: Vault, base_url: str
) -> ProviderWork:
    """Every part, over an open store."""
    api = ProviderApi(http, parts.now, time.monotonic, access)
    sweeper = Sweeper(parts.intake, api)
    polls = Polls(parts.store, parts.directory, sweeper, parts.ids, parts.now, parts.metrics)
    enrichment = Enrichment(
        parts.store,
        parts.history,
        parts.directory,
        parts.intake,
        api,
        parts.now,
        parts.metrics,
    )
    reconciler = Reconciler(
        parts.store, parts.directory, sweeper, parts.ids, parts.now, parts.metrics
    )
    subscriptions = Subscriptions(
        parts.store, parts.directory, api, vault, base_url, parts.ids, parts.now
    )
    return ProviderWork(api, polls, enrichment, reconciler, subscriptions)
