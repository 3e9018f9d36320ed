"""What is done at providers beside receiving from them, wired together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from gateway.enrich import Enrichment
from gateway.intake import ENRICH, Intake
from gateway.jobs import Runner
from gateway.parts import Parts
from gateway.poll import POLL, Polls
from gateway.provider_api import Access, ProviderApi
from gateway.reconcile import RECONCILE, Reconciler
from gateway.subscriptions import SUBSCRIBE, UNSUBSCRIBE, Subscriptions
from gateway.sweep import Sweeper
from sinks.base import Http


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


def open_provider_work(parts: Parts, intake: Intake, http: Http, access: Access) -> ProviderWork:
    """Every part, over an open store."""
    api = ProviderApi(http, parts.now, time.monotonic, access)
    sweeper = Sweeper(intake, api)
    return ProviderWork(
        provider_api=api,
        polls=Polls(parts, sweeper),
        enrichment=Enrichment(parts, intake, api),
        reconciler=Reconciler(parts, sweeper),
        subscriptions=Subscriptions(parts, api),
    )
