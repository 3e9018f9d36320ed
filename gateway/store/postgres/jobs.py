"""Jobs: durable work for later, leased like deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.store.base import Job, NewJob
from gateway.store.keys import storable
from gateway.store.postgres import tables
from gateway.store.postgres.connections import Connection, Connections

MICROSECONDS = 1_000_000
# Named jobs are locked in the order of their names, so that two processes cannot wait for each
# other.
DROP = """
WITH gone AS MATERIALIZED (
    SELECT id FROM jobs WHERE ukey = ANY($1::text[]) ORDER BY ukey FOR UPDATE)
DELETE FROM jobs USING gone WHERE jobs.id = gone.id"""
PUT = f"""
INSERT INTO jobs (id, kind, ukey, due_at, doc)
SELECT n.id, n.kind, n.ukey, (SELECT comporta_now($6)) + n.due_in, n.doc
FROM {tables.unnest(tables.JOBS, "n")} ORDER BY n.ukey
ON CONFLICT (ukey) DO UPDATE SET id = excluded.id, kind = excluded.kind, due_at = excluded.due_at,
    doc = excluded.doc, owner = NULL, token = 0, attempts = 0"""
CLAIM = """
WITH clock AS MATERIALIZED (SELECT comporta_now($4) AS now),
picked AS MATERIALIZED (
    SELECT id FROM jobs
    WHERE owner IS NULL AND kind = ANY($1::text[]) AND due_at <= (SELECT now FROM clock)
    ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED)
UPDATE jobs SET owner = $3, token = token + 1, attempts = attempts + 1
FROM picked WHERE jobs.id = picked.id
RETURNING jobs.id, token, kind, ukey, attempts, doc, due_at"""
FINISH = "DELETE FROM jobs WHERE id = $1 AND token = $2 AND owner IS NOT NULL RETURNING id"
PUT_OFF = """
UPDATE jobs SET owner = NULL, due_at = (SELECT comporta_now($5)) + $3, doc = coalesce($4, doc)
WHERE id = $1 AND token = $2 AND owner IS NOT NULL RETURNING id"""


class JobChanges:
    """What the appends of one transaction do to jobs: of one name, only the last word counts."""

    def __init__(self) -> None:
        self._named: dict[str, NewJob | None] = {}
        self._others: list[NewJob] = []

    def cancel(self, names: Sequence[str]) -> None:
        for name in names:
            self._named[storable(name)] = None

    def put(self, jobs: Sequence[NewJob]) -> None:
        for job in jobs:
            if job.unique is None:
                self._others.append(job)
            else:
                self._named[storable(job.unique)] = job

    async def flush(self, connection: Connection, now: int | None) -> None:
        """Write what has gathered. `now`: a test's clock."""
        if self._named:
            await connection.fetch(DROP, list(self._named))
        rows = [_row(job, None) for job in self._others]
        rows += [_row(job, name) for name, job in self._named.items() if job]
        if rows:
            await connection.fetch(PUT, *zip(*rows, strict=True), now)


def _row(job: NewJob, name: str | None) -> tuple[Any, ...]:
    return (job.id, job.kind, name, round(job.due_in * MICROSECONDS), job.doc)


async def put(connections: Connections, batch: Sequence[NewJob], now: int | None) -> None:
    """Keep jobs; those with the same names go."""
    changes = JobChanges()
    changes.put(batch)
    async with connections.transaction() as connection:
        await changes.flush(connection, now)


async def claim(
    connections: Connections, kinds: Sequence[str], limit: int, node: str, now: int | None
) -> list[Job]:
    """Lease what is due, the longest due first."""
    rows = await connections.write(CLAIM, list(kinds), limit, node, now)
    return [
        Job(id=row[0], token=row[1], kind=row[2], unique=row[3], attempts=row[4], doc=row[5])
        for row in sorted(rows, key=lambda row: row[6])
    ]


async def finish(connections: Connections, job: Job) -> bool:
    """Drop a job this token holds. False: it is another's, replaced or cancelled by now."""
    return bool(await connections.write(FINISH, job.id, job.token))


async def put_off(
    connections: Connections, job: Job, again_in: float, doc: bytes | None, now: int | None
) -> bool:
    """Let go of a job until later; False as above."""
    later = round(again_in * MICROSECONDS)
    return bool(await connections.write(PUT_OFF, job.id, job.token, later, doc, now))
