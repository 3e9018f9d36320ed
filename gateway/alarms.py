"""What went wrong, told to an operator: a signed webhook, few messages however much happens.

Alarms gather for a moment and go out as one message, at most one an interval. The same alarm of the
same thing is counted for an hour before it is told again, unless it was well in between. A message
is tried again, under its id, until somebody takes it; what happens meanwhile is in the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gateway import log
from gateway.ids import Ulids
from gateway.lane import Clocks
from schemas import codec
from sinks.base import Http, HttpError
from sinks.signing import signature

GATHER = 2.0  # seconds in which what belongs together comes together
QUIET = 3600.0  # seconds during which the same alarm is only counted
DELAYS = (5.0, 30.0, 120.0, 600.0)  # seconds between tries; the last one again and again
TRIES = 150  # about a day
MOST = 1000  # alarms kept apart
MOST_TOLD = 100  # alarms of one message
TICK = 30.0
LAST_TRY = 2.0
# What being well again is called.
ENDS = {
    "sink.circuit_closed": "sink.circuit_opened",
    "installation.recovered": "installation.error",
}
Key = tuple[str, str, str, str]


@dataclass(slots=True, kw_only=True)
class Alarm:
    """One thing that is wrong, or well again. `subject`: what it is about (`webhook/default`, an
    installation's id, a driver). `instance`: "" when it concerns all. `at`: microseconds.
    """

    kind: str
    tenant: str
    instance: str
    subject: str
    reason: str
    at: int
    count: int = 1
    first_at: int = 0

    @property
    def key(self) -> Key:
        """What is the same alarm."""
        return self.kind, self.tenant, self.instance, self.subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where messages go. `keys`: what they are signed with. `interval`: seconds between two."""

    url: str
    keys: tuple[bytes, ...]
    interval: float
    server_url: str
    user_agent: str


class Alarms:
    """`hear` what happens; `run` tells it. Without an address nothing is kept. `sent`: hears of
    each try, `sent` or `failed`.
    """

    def __init__(
        self,
        address: Address | None,
        http: Http,
        ids: Ulids,
        clocks: Clocks,
        sent: Callable[[str], None],
    ) -> None:
        self._address, self._http, self._ids = address, http, ids
        self._clocks, self._sent = clocks, sent
        self._heard: dict[Key, Alarm] = {}
        self._quiet: dict[Key, float] = {}
        self._left_out = 0
        self._untold: tuple[str, bytes] | None = None
        self._wake = asyncio.Event()

    @property
    def is_on(self) -> bool:
        """Whether anybody is told."""
        return self._address is not None

    def hear(self, alarm: Alarm) -> None:
        """Take an alarm in; never waits."""
        if self._address is None:
            return
        if alarm.kind in ENDS:
            self._quiet.pop((ENDS[alarm.kind], *alarm.key[1:]), None)
        known = self._heard.get(alarm.key)
        if known is not None:
            known.count, known.reason, known.at = known.count + 1, alarm.reason, alarm.at
        elif len(self._heard) >= MOST:
            self._left_out += 1
        else:
            alarm.first_at = alarm.first_at or alarm.at
            self._heard[alarm.key] = alarm
        self._wake.set()

    async def run(self) -> None:
        """Tell what is heard, for ever."""
        address = self._address
        if address is None:
            return
        while True:
            while not self._due():
                self._wake.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), TICK)
            await asyncio.sleep(min(GATHER, address.interval))
            self._untold = self._message(address, self._due())
            await self._tell(address, *self._untold)
            self._untold = None
            await asyncio.sleep(address.interval)

    async def close(self) -> None:
        """Try once more to tell what nobody took yet, and what was heard last."""
        if self._address is None:
            return
        messages, due = [self._untold] if self._untold else [], self._due()
        if due:
            messages.append(self._message(self._address, due))
        for ident, body in messages:
            await self._post(self._address, ident, body, within=LAST_TRY)

    def _due(self) -> list[Alarm]:
        now = self._clocks.monotonic()
        for key in [key for key, end in self._quiet.items() if end <= now]:
            del self._quiet[key]
        return [alarm for key, alarm in self._heard.items() if key not in self._quiet]

    def _message(self, address: Address, due: list[Alarm]) -> tuple[str, bytes]:
        """Take what is due out of what was heard; the id and the body of a message of it."""
        end = self._clocks.monotonic() + QUIET
        for alarm in due:
            del self._heard[alarm.key]
            if alarm.kind not in ENDS:
                self._quiet[alarm.key] = end
        while len(self._quiet) > MOST:
            del self._quiet[next(iter(self._quiet))]
        told, more = due[:MOST_TOLD], len(due[MOST_TOLD:]) + self._left_out
        self._left_out = 0
        ident = self._ids()
        message = {
            "type": "comporta.alert",
            "id": ident,
            "timestamp": self._clocks.wall() // 1000,
            "server_url": address.server_url,
            "text": "\n".join(_lines(told, more)),
            "alerts": [_shown(alarm) for alarm in told],
            "more": more,
        }
        return ident, codec.dumps(message)

    async def _tell(self, address: Address, ident: str, body: bytes) -> None:
        """Until it is taken, or a day is over."""
        for number in range(TRIES):
            if await self._post(address, ident, body):
                return
            await asyncio.sleep(DELAYS[min(number, len(DELAYS) - 1)])
        log.get().error("alert.lost", message="nobody took it for a day")

    async def _post(
        self,
        address: Address,
        ident: str,
        body: bytes,
        within: float = 10.0,
    ) -> bool:
        seconds = self._clocks.wall() // 1_000_000
        headers = {
            "Content-Type": "application/json",
            "User-Agent": address.user_agent,
            "webhook-id": ident,
            "webhook-timestamp": str(seconds),
            "webhook-signature": signature(address.keys, ident, seconds, body),
        }
        try:
            answer = await self._http.request(
                "POST", address.url, headers=headers, body=body, timeout=within
            )
        except HttpError as error:
            log.get().error("alert.untold", reason=error.message)
        else:
            if 200 <= answer.status < 300:
                self._sent("sent")
                return True
            log.get().error("alert.untold", status=answer.status)
        self._sent("failed")
        return False


def _lines(alarms: Iterable[Alarm], more: int) -> Iterable[str]:
    for alarm in alarms:
        where = " of ".join(filter(None, (alarm.subject, alarm.instance)))
        times = f" ({alarm.count} times)" if alarm.count > 1 else ""
        yield f"{alarm.kind}: {where}: {alarm.reason}{times}"
    if more:
        yield f"and {more} more"


def _shown(alarm: Alarm) -> dict[str, Any]:
    return {
        "kind": alarm.kind,
        "tenant": alarm.tenant,
        "instance": alarm.instance or None,
        "subject": alarm.subject,
        "reason": alarm.reason,
        "count": alarm.count,
        "first_at": alarm.first_at // 1000,
        "last_at": alarm.at // 1000,
    }
