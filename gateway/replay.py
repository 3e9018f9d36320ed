"""Bulk work on what happened: deliveries sent again or purged, inbounds read again. Durable, slow
on purpose, to be paused and followed.

A record says what is wanted and how far it is; a job in the store does a slice at a time. A process
that dies in a slice does that slice again: at least once, like everything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from typing import Any, Literal

from gateway import log
from gateway.dispatch import Dispatcher
from gateway.intake import Intake
from gateway.parts import Parts
from gateway.renormalize import renormalize
from gateway.store import bulk
from gateway.store.base import Job, NewJob, Record
from gateway.store.rows import Wanted
from schemas import codec
from schemas.errors import ConflictError, NotFoundError, StoreUnavailableError

What = Literal["dispatches", "inbounds", "purge"]
SLICE: dict[What, int] = {"dispatches": 500, "inbounds": 50, "purge": 500}
BURSTS = 25  # parts of a second's deliveries, so that live ones find their place between them
CROWD = 20  # deliveries due for one sink, beyond which it gets no more to do
CROWD_PAUSE = 0.1
DEFAULT_RATE = 500.0  # things a second
TRIES = 5
KIND = "replay"


class Replays:
    """Starts, steers and runs the jobs of kind `replay`."""

    kind = KIND

    def __init__(self, parts: Parts, intake: Intake, dispatcher: Dispatcher) -> None:
        self._store, self._history, self._registry = parts.store, parts.history, parts.registry
        self._directory, self._ids = parts.directory, parts.ids
        self._intake, self._dispatcher = intake, dispatcher

    async def start(
        self,
        what: What,
        wanted: Wanted,
        shown: dict[str, Any],
        rate: float = DEFAULT_RATE,
        by: str = "",
    ) -> Record:
        """Begin; what comes into being from now on is not included. `shown`: the filter as its
        author wrote it. `by`: who wants it.
        """
        database = self._store.database
        now = await database.now()
        wanted.before = now if wanted.before is None else min(wanted.before, now)
        counted = bulk.count_inbounds if what == "inbounds" else bulk.count_deliveries
        doc = {
            "type": what,
            "status": "running",
            "filter": shown,
            "wanted": asdict(wanted) | {"instances": _listed(wanted.instances)},
            "matched": await counted(database, wanted),
            "done": 0,
            "failed": 0,
            "above": "",
            "rate": rate,
            "by": by,
            "finished_at": None,
        }
        ident = self._ids()
        record = Record(kind=KIND, id=ident, tenant=wanted.tenant, name=ident, doc=doc)
        written = await self._registry.put(record)
        await self._put_job(written)
        return written

    async def all(self, tenant: str) -> list[Record]:
        """Every replay of a tenant, newest first."""
        return list(reversed(await self._registry.list(KIND, tenant)))

    async def find(self, tenant: str, ident: str) -> Record:
        """One replay. Raises NotFoundError."""
        record = await self._registry.get(KIND, ident)
        if record is None or record.tenant != tenant:
            raise NotFoundError("there is no such replay")
        return record

    async def steer(
        self, record: Record, status: Literal["running", "paused", "canceled"]
    ) -> Record:
        """Pause, resume or cancel. Raises ConflictError when it has ended, NotFoundError when gone.

        Asking for what it does already changes nothing.
        """

        def steered(doc: dict[str, Any]) -> dict[str, Any]:
            if doc["status"] in {"done", "canceled"} and doc["status"] != status:
                raise ConflictError(f"this replay is {doc['status']}: start another one")
            return doc | {"status": status}

        before = record.doc["status"]
        changed = await self._change(record, steered)
        if status == "running" and before != "running":
            await self._put_job(changed)
        return changed

    async def run(self, job: Job) -> float | None:
        """One slice; see jobs.Runner. Gives the pause that keeps to the rate."""
        record = await self._registry.get(KIND, codec.loads(job.doc)["id"])
        if record is None or record.doc["status"] != "running":
            return None
        doc, what = record.doc, record.doc["type"]
        wanted, most = Wanted(**doc["wanted"]), min(SLICE[what], max(1, int(doc["rate"])))
        chosen = bulk.next_inbounds if what == "inbounds" else bulk.next_deliveries
        ids = await chosen(self._store.database, wanted, above=doc["above"], limit=most)
        began = asyncio.get_running_loop().time()
        tried, done = await self._work(what, wanted.tenant, ids, doc["rate"])
        finished = await self._store.database.now() if len(ids) < most and tried == ids else None

        def advanced(current: dict[str, Any]) -> dict[str, Any]:
            current["done"] += done
            current["failed"] += len(tried) - done
            current["above"] = tried[-1] if tried else current["above"]
            if finished is not None and current["status"] != "canceled":
                current |= {"status": "done", "finished_at": finished}
            return current

        after = await self._change(record, advanced)
        if after.doc["status"] != "running":
            return None
        spent = asyncio.get_running_loop().time() - began
        crowded = CROWD_PAUSE if len(tried) < len(ids) else 0.0
        return max(len(tried) / float(doc["rate"]) - spent, crowded, 0.0)

    async def _work(
        self, what: What, tenant: str, ids: list[str], rate: float
    ) -> tuple[list[str], int]:
        """What of these was taken on, and how much of it was done."""
        if not ids:
            return [], 0
        if what == "purge":
            return ids, await bulk.purge(self._store.database, ids)
        if what == "inbounds":
            return ids, await self._read_again(tenant, ids)
        return await self._redo(ids, rate)

    async def _redo(self, ids: list[str], rate: float) -> tuple[list[str], int]:
        """Spread over the time they may take; no more than the sinks keep up with, so that live
        deliveries do not wait behind these.
        """
        database, size, done = self._store.database, max(1, len(ids) // BURSTS), 0
        for start in range(0, len(ids), size):
            burst = ids[start : start + size]
            if await self._is_crowded(burst):
                return ids[:start], done
            done += await bulk.redo(database, burst)
            self._dispatcher.wake()
            await self._store.notify("deliveries", KIND)
            if start + size < len(ids):
                await asyncio.sleep(len(burst) / rate)
        return ids, done

    async def _is_crowded(self, ids: list[str]) -> bool:
        """Whether a sink of these has as much to do as it does at once. One that holds its
        deliveries anyway gets these, too.
        """
        for sink_id in await bulk.sinks_of(self._store.database, ids) - self._dispatcher.held():
            lane = self._dispatcher.lane(sink_id)
            if lane is not None and lane.is_busy:
                return True
            if await bulk.has_due(self._store.database, sink_id, CROWD):
                return True
        return False

    async def _read_again(self, tenant: str, ids: Sequence[str]) -> int:
        """At once, so that they share a commit. One that cannot be read stays as it is."""
        results = await asyncio.gather(
            *(self._again(tenant, ident) for ident in ids), return_exceptions=True
        )
        for result in results:
            if isinstance(result, StoreUnavailableError):
                raise result
            if isinstance(result, Exception) and not isinstance(result, ConflictError):
                log.get().error("renormalize.failed", error=repr(result))
        return sum(result is True for result in results)

    async def _again(self, tenant: str, ident: str) -> bool:
        found = await self._history.inbound(tenant, ident)
        if found is None:
            return False
        await renormalize(self._directory, self._intake, found)
        return True

    async def _put_job(self, record: Record) -> None:
        doc = codec.dumps({"id": record.id})
        name = f"{KIND}/{record.id}"
        await self._store.log.put_job(NewJob(id=self._ids(), kind=KIND, doc=doc, unique=name))

    async def _change(
        self, record: Record, made: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> Record:
        """Write a changed doc; on what is stored by then, when somebody else was faster."""
        for tried in range(1, TRIES + 1):
            record.doc = made(dict(record.doc))
            try:
                return await self._registry.put(record, expect_version=record.version)
            except ConflictError:
                found = await self._registry.get(KIND, record.id)
                if found is None:
                    raise NotFoundError("there is no such replay") from None
                if tried == TRIES:
                    raise StoreUnavailableError("this replay changes all the time") from None
                record = found
        raise AssertionError("unreachable: the last try returns or raises")


def _listed(names: Collection[str] | None) -> list[str] | None:
    """As JSON has it."""
    return None if names is None else sorted(names)
