"""The hot half on SQLite: `gateway.store.base.EventLog`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import orjson

from gateway.store.base import Append, Appended, Job, Lease, Leased, NewJob, Settlement
from gateway.store.sqlite import jobs, leases
from gateway.store.sqlite.connection import MICROSECONDS
from gateway.store.sqlite.leases import END_OF_TIME, Claim
from gateway.store.sqlite.leases import release as give_back
from gateway.store.sqlite.purge import Purge
from gateway.store.sqlite.readers import Readers
from gateway.store.sqlite.writer import Writer
from gateway.store.stored_event import COLUMNS, stored_event_from
from schemas.events import StoredEvent

# An event whose data is gone (empty) has nothing to send.
EVENTS = f"""
SELECT {", ".join(COLUMNS)} FROM events
WHERE seq IN (SELECT value FROM json_each($1)) AND length(data) > 0"""
# One step per sink, however much waits for it.
SINKS = """
WITH RECURSIVE sinks (sink_id) AS (
    SELECT min(sink_id) FROM deliveries WHERE state = 'pending'
    UNION ALL
    SELECT (SELECT min(d.sink_id) FROM deliveries AS d
        WHERE d.state = 'pending' AND d.sink_id > sinks.sink_id)
    FROM sinks WHERE sinks.sink_id IS NOT NULL)
SELECT sink_id, (SELECT min(d.next_at) FROM deliveries AS d
    WHERE d.state = 'pending' AND d.sink_id = sinks.sink_id)
FROM sinks WHERE sink_id IS NOT NULL"""
COUNT = """
SELECT count(*) FROM (SELECT 1 FROM deliveries
    WHERE state = 'pending' AND sink_id = $1 AND next_at <= $2 LIMIT $3)"""


class SqliteLog:
    """One node's view. In production there is one; tests open a second on the same writer."""

    def __init__(
        self,
        node: str,
        *,
        lease_seconds: float,
        writer: Writer,
        readers: Readers,
        clock: Callable[[], int],
    ) -> None:
        self.node = node
        self._lease_seconds, self._clock = lease_seconds, clock
        self._writer, self._readers = writer, readers
        self._purge = Purge()

    def as_node(self, node: str) -> SqliteLog:
        """The same store, seen by another node."""
        return SqliteLog(
            node,
            lease_seconds=self._lease_seconds,
            writer=self._writer,
            readers=self._readers,
            clock=self._clock,
        )

    async def append(self, item: Append) -> Appended:
        return await self._writer.append(item, self.node)

    async def settle(self, items: Sequence[Settlement]) -> frozenset[str]:
        return await self._writer.settle(items) if items else frozenset()

    async def claim(
        self, wants: Mapping[str, int], *, ordered: frozenset[str] = frozenset()
    ) -> list[Leased]:
        wanted = dict(wants)
        claims = await self._writer.call(
            lambda sql, now: leases.claim(sql, now, self.node, wanted, ordered)
        )
        if not claims:
            return []
        seqs = orjson.dumps(sorted({claim.seq for claim in claims})).decode()
        try:
            found = map(stored_event_from, await self._readers.fetch(EVENTS, seqs))
            events = {event.seq: event for event in found}
        except BaseException:
            await self.release(
                [(claim.id, claim.token) for claim in claims]
            )  # nobody would send them
            raise
        await self._cancel([claim for claim in claims if claim.seq not in events])
        return [_leased(claim, events[claim.seq]) for claim in claims if claim.seq in events]

    async def _cancel(self, claims: Sequence[Claim]) -> None:
        """Deliveries whose event was erased have nothing to send."""
        await self.settle(
            [
                Settlement(id=c.id, token=c.token, state="canceled", counts=False, reason="erased")
                for c in claims
            ]
        )

    async def due(self) -> dict[str, float]:
        now = self._clock()
        return {
            sink_id: max(0, next_at - now) / MICROSECONDS
            for sink_id, next_at in await self._readers.fetch(SINKS)
            if next_at != END_OF_TIME
        }

    async def backlog(self, held: frozenset[str], limit: int) -> int:
        now, total = self._clock(), 0
        for sink_id, next_at in await self._readers.fetch(SINKS):
            if sink_id not in held and next_at <= now and total < limit:
                rows = await self._readers.fetch(COUNT, sink_id, now, limit - total)
                total += rows[0][0]
        return total

    async def heartbeat(self) -> int:
        return await self._writer.call(
            lambda sql, now: leases.beat(sql, now, self.node, self._lease_seconds)
        )

    async def release(self, leases: Sequence[Lease] | None = None) -> None:
        await self._writer.call(lambda sql, now: give_back(sql, now, self.node, leases))

    async def put_job(self, job: NewJob) -> None:
        await self._writer.call(lambda sql, now: jobs.put(sql, now, job), size=len(job.doc))

    async def claim_jobs(self, kinds: Sequence[str], limit: int) -> list[Job]:
        return await self._writer.call(
            lambda sql, now: jobs.claim(sql, now, self.node, kinds, limit)
        )

    async def finish_job(
        self, job: Job, *, again_in: float | None = None, doc: bytes | None = None
    ) -> bool:
        if again_in is None:
            return await self._writer.call(lambda sql, _: jobs.finish(sql, job.id, job.token))
        return await self._writer.call(lambda sql, now: jobs.put_off(sql, now, job, again_in, doc))

    async def purge(self, before: int, limit: int = 500) -> int:
        gone, at_end = 0, False
        while not gone and not at_end:
            gone, at_end = await self._writer.call(
                lambda sql, _: self._purge.slice(sql, before, limit)
            )
        return gone


def _leased(claim: Claim, event: StoredEvent) -> Leased:
    return Leased(
        id=claim.id,
        token=claim.token,
        sink_id=claim.sink_id,
        attempts=claim.attempts,
        replay=claim.replay,
        event=event,
        gap=claim.gap,
    )
