"""The sending half of a gateway: the dispatcher with the shared circuits and what is noticed."""

from __future__ import annotations

import random as random_module
import time
from typing import NamedTuple

from gateway.alerts import Notices
from gateway.circuits import SharedCircuits
from gateway.crash import crash_at
from gateway.dispatch import Dispatcher, Options
from gateway.journal import Journal
from gateway.lane import Clocks
from gateway.parts import Parts
from gateway.sink_life import SinkLife
from gateway.tracing import Tracing, open_tracing
from sinks.base import Context


class Delivery(NamedTuple):
    """The parts of it that others use."""

    dispatcher: Dispatcher
    circuits: SharedCircuits
    notices: Notices
    tracing: Tracing | None


def delivery(parts: Parts, context: Context, journal: Journal) -> Delivery:
    """Every part, not yet begun."""
    settings, store, metrics = parts.settings, parts.store, parts.metrics
    tracing = open_tracing(settings)
    notices, clocks = Notices(), Clocks(parts.now, time.monotonic)
    notices.listen(lambda notice: metrics.notices.labels(notice.kind).inc())
    life = SinkLife(store, parts.directory, notices, parts.now)
    circuits = SharedCircuits(
        store=store,
        registry=parts.registry,
        directory=parts.directory,
        life=life,
        notices=notices,
        clocks=clocks,
        disable_after=settings.disable_after,
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
    dispatcher = Dispatcher(store.log, parts.directory, context, clocks, options)
    circuits.attach(dispatcher.lane)
    return Delivery(dispatcher, circuits, notices, tracing)
