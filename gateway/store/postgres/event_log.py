"""The hot half on PostgreSQL: `gateway.store.base.EventLog`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gateway.store.base import Append, Appended, Job, Lease, Leased, NewJob, Settlement
from gateway.store.postgres import jobs, leases
from gateway.store.postgres.append import Appends, JudgedError, Request, Verdict, request_of
from gateway.store.postgres.append_sql import MARK, Statements
from gateway.store.postgres.connections import TRIES, Connections, is_conflict
from gateway.store.postgres.group_commit import GroupCommit, Limits
from gateway.store.postgres.jobs import MICROSECONDS
from gateway.store.postgres.leases import release as give_back
from gateway.store.postgres.purge import Purge
from gateway.store.postgres.settle import settle
from schemas.errors import StoreUnavailableError

# While they come faster than they are committed, a little more goes into each transaction.
APPENDS = Limits(linger=0.002)
# Never refused: a result that is not kept is a try made twice.
SETTLES = Limits(batch=128, waiting=None, lanes=2)
# One lane: of jobs with one name the last one given stays.
JOBS = Limits()


class PostgresLog:
    """One node's view of the log; any number of nodes share it.

    `clock`: microseconds, instead of the database's own. `crash`: called at `before_commit` and
    `after_commit` of appends.
    """

    def __init__(
        self,
        connections: Connections,
        *,
        node: str,
        lease_seconds: float,
        clock: Callable[[], int] | None,
        observe: Callable[[str, float], None],
        crash: Callable[[str], None],
    ) -> None:
        self.node = node
        self._connections, self._lease_seconds = connections, lease_seconds
        self._clock, self._crash = clock, crash
        self._appends = GroupCommit(self._write_appends, APPENDS, observe)
        self._settles = GroupCommit(self._write_results, SETTLES, observe)
        self._jobs = GroupCommit(self._write_jobs, JOBS, observe)
        self._purge = Purge()

    async def append(self, item: Append) -> Appended:
        request = request_of(item)
        return await self._appends.submit(request, request.size)

    async def settle(self, items: Sequence[Settlement]) -> frozenset[str]:
        if not items:
            return frozenset()
        size = sum(1000 + len(i.attempt.response_body) for i in items if i.attempt)
        return await self._settles.submit(list(items), size)

    async def claim(
        self, wants: Mapping[str, int], *, ordered: frozenset[str] = frozenset()
    ) -> list[Leased]:
        leased, eventless = await leases.claim(
            self._connections, wants, ordered, self.node, self._now
        )
        if eventless:  # the event was erased, there is nothing to send
            await self.settle(
                [
                    Settlement(id=i, token=t, state="canceled", counts=False, reason="erased")
                    for i, t in eventless
                ]
            )
        return leased

    async def due(self) -> dict[str, float]:
        rows = await self._connections.fetch(leases.DUE, self._now)
        return {sink_id: microseconds / MICROSECONDS for sink_id, microseconds in rows}

    async def backlog(self, held: frozenset[str], limit: int) -> int:
        rows = await self._connections.fetch(leases.BACKLOG, self._now, list(held), limit)
        return int(rows[0][0])

    async def heartbeat(self) -> int:
        return await leases.beat(self._connections, self.node, self._lease_seconds, self._now)

    async def release(self, leases: Sequence[Lease] | None = None) -> None:
        await give_back(self._connections, self.node, leases, self._now)

    async def put_job(self, job: NewJob) -> None:
        await self._jobs.submit(job, 1000 + len(job.doc))

    async def claim_jobs(self, kinds: Sequence[str], limit: int) -> list[Job]:
        return await jobs.claim(self._connections, kinds, limit, self.node, self._now)

    async def finish_job(
        self, job: Job, *, again_in: float | None = None, doc: bytes | None = None
    ) -> bool:
        if again_in is None:
            return await jobs.finish(self._connections, job)
        return await jobs.put_off(self._connections, job, again_in, doc, self._now)

    async def purge(self, before: int, limit: int = 500) -> int:
        return await self._purge.run(self._connections, before, limit)

    async def flush(self) -> None:
        """Commit what waits; take nothing more."""
        await self._appends.close()
        await self._settles.close()
        await self._jobs.close()

    @property
    def _now(self) -> int | None:
        return self._clock() if self._clock else None

    async def _write_appends(self, requests: Sequence[Request]) -> list[Appended]:
        verdicts: dict[int, Verdict] = {}
        tries = 0
        while True:
            try:
                return await self._try_appends(requests, verdicts)
            except JudgedError as error:
                verdicts = error.verdicts
            except StoreUnavailableError as error:
                tries += 1
                if not is_conflict(error) or tries == TRIES:
                    raise

    async def _try_appends(
        self, requests: Sequence[Request], verdicts: dict[int, Verdict]
    ) -> list[Appended]:
        async with self._connections.transaction(MARK) as connection:
            sql = Statements(connection, self.node, self._now)
            answers = await Appends(sql, requests, verdicts).run()
            self._crash("before_commit")
        self._crash("after_commit")
        return answers

    async def _write_jobs(self, batch: Sequence[NewJob]) -> list[None]:
        await jobs.put(self._connections, batch, self._now)
        return [None] * len(batch)

    async def _write_results(self, batch: Sequence[Sequence[Settlement]]) -> list[frozenset[str]]:
        return await settle(self._connections, batch, self._now)
