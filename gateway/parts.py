"""What everything else of a process is built on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.bootstrap import Keys
from gateway.directory import Directory
from gateway.ids import Ulids
from gateway.metrics import Metrics
from gateway.settings import Settings
from gateway.store.base import Store
from gateway.store.history import History
from gateway.store.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Made first, over an open store, and handed to whatever is wired after. `now`: microseconds
    since 1970.
    """

    settings: Settings
    keys: Keys
    store: Store
    registry: Registry
    history: History
    directory: Directory
    ids: Ulids
    now: Callable[[], int]
    metrics: Metrics
