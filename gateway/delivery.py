"""The sending half of a gateway: the dispatcher with the shared circuits and what is noticed."""

from __future__ import annotations

import random as random_module
import time
from collections.abc import Callable
from typing import NamedTuple

from gateway.alerts import Notices
from gateway.circuits import SharedCircuits
from gateway.crash import crash_at
from gateway.directory import Directory
from gateway.dispatch import Dispatcher, Options
from gateway.journal import Journal
from gateway.lane import Clocks
from gateway.metrics import Metrics
from gateway.settings import Settings
from gateway.sink_life import SinkLife
from gateway.store.base import Store
from gateway.store.registry import Registry
from gateway.tracing import Tracing, open_tracing
from sinks.base import Context


class Delivery(NamedTuple):
    """The parts of it that others use."""

    dispatcher: Dispatcher
    circuits: SharedCircuits
    notices: Notices
    tracing: Tracing | None


def delivery(  # noqa: PLR0917 - parts of the one composition root
    settings: Settings,
    store: Store,
    registry: Registry,
    directory: Directory,
    context: Context,
    metrics: Metrics,
    journal: Journal,
    now: Callable[[], int],
) -> Delivery:
    """Every part, not yet begun. `now`: microseconds."""
    tracing = open_tracing(settings)
    notices, clocks = Notices(), Clocks(now, time.monotonic)
    notices.listen(lambda notice: metrics.notices.labels(notice.kind).inc())
    life = SinkLife(store, directory, notices, now)
    circuits = SharedCircuits(
        store, registry, directory, life, notices, clocks, settings.disable_after
    )
    options = Options(
        schedule=settings.retry_schedule,
        lease_seconds=settings.lease_seconds,
        random=random_module.random,
        disable=life.disable,
        recovered=life.recovered,
        gone=life.gone,
        leased_for=life.leased_for,
        processes=life.processes,
        circuits=circuits,
        observe=metrics.delivered,
        lost=metrics.lease_lost.inc,
        crash=crash_at(settings.crash_at),
        died=metrics.died,
        tracing=tracing,
        journal=journal,
    )
    dispatcher = Dispatcher(store.log, directory, context, clocks, options)
    circuits.attach(dispatcher.lane)
    return Delivery(dispatcher, circuits, notices, tracing)
