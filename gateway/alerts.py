"""What the gateway notices about itself: the one stream that operators' alerts are made from.

Whoever finds something out tells it once, in the process that found it out, whatever number of
processes there is. Everybody else listens: the log, the metrics, the instance's other sinks, and
whatever wakes an operator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from gateway import log
from gateway.background import Errands
from gateway.intake import Intake, Origin
from schemas.events import Event

NoticeKind = Literal["sink.disabled", "sink.circuit_opened", "sink.circuit_closed"]
DRIVER = "comporta"  # what the gateway's own events have for a driver


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that was found out. `sink`: its kind and name, as `webhook/default`. `at`:
    microseconds. `since`: when it began (microseconds), None when that is now.
    """

    kind: NoticeKind
    tenant: str
    instance: str
    sink_id: str
    sink: str
    reason: str
    at: int
    since: int | None = None


Listener = Callable[[Notice], None]


class Notices:
    """Tells every listener. One that fails keeps no other from hearing."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def listen(self, callback: Listener) -> None:
        """Have `callback` called with every notice, in the event loop; it must not block."""
        self._listeners.append(callback)

    def tell(self, notice: Notice) -> None:
        """Log a notice and hand it on."""
        log.get().warning(
            notice.kind,
            sink_id=notice.sink_id,
            sink=notice.sink,
            instance=notice.instance,
            reason=notice.reason,
        )
        for listener in self._listeners:
            try:
                listener(notice)
            except Exception:  # noqa: BLE001 - the others must hear of it, and whoever told it goes on
                log.get().exception("notice.unheard", kind=notice.kind)


class Announcer:
    """Makes an event of each notice, for the other sinks of the instance."""

    def __init__(self, intake: Intake, errands: Errands) -> None:
        self._intake, self._errands = intake, errands

    def __call__(self, notice: Notice) -> None:
        """Begin to store the event; a store that does not take it is logged, nothing waits."""
        self._errands.run("notice.announce", self._announce(notice))

    async def _announce(self, notice: Notice) -> None:
        origin = Origin(
            tenant=notice.tenant,
            instance=notice.instance,
            installation_id=None,
            driver=DRIVER,
            received_at=notice.at,
        )
        event = Event(
            name=notice.kind,
            key=f"sink/{notice.sink_id}",
            dedupe_key=f"{notice.sink_id}/{notice.at}",
            provider_event=notice.kind,
            occurred_at=_moment(notice.at),
            data={
                "sink": {"id": notice.sink_id, "name": notice.sink},
                "reason": notice.reason,
                "since": _moment(notice.since or notice.at).isoformat(),
            },
        )
        await self._intake.emit(origin, [event], spares=(notice.sink_id,))


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1e6, UTC)
