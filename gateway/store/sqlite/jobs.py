"""Jobs: durable work for later, leased like deliveries."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from gateway.store.base import Job, NewJob
from gateway.store.keys import storable
from gateway.store.sqlite.connection import MICROSECONDS, Sql

DUE = """
SELECT json_group_array(json_array(id, token, kind, ukey, attempts)) FROM (
    SELECT id, token, kind, ukey, attempts FROM jobs
    WHERE owner IS NULL AND kind = ? AND due_at <= ? ORDER BY due_at LIMIT ?)"""
TAKE = """
UPDATE jobs SET owner = ?, token = token + 1, attempts = attempts + 1
WHERE id IN (SELECT value FROM json_each(?))"""


class JobChanges:
    """What the appends of one transaction do to named jobs, gathered so that it takes two
    statements: of one name, only the last word counts.
    """

    def __init__(self, sql: Sql, now: int) -> None:
        self._sql, self._now = sql, now
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

    def flush(self) -> None:
        """Write what has gathered."""
        named = [(name, job) for name, job in self._named.items() if job]
        rows = [
            (job.id, job.kind, name, self._due(job), job.doc)
            for name, job in (*((None, job) for job in self._others), *named)
        ]
        names = [(name,) for name in self._named]
        self._sql.run_rows("DELETE FROM jobs WHERE ukey IN (VALUES {rows})", names)
        self._sql.run_rows("INSERT INTO jobs (id, kind, ukey, due_at, doc) VALUES {rows}", rows)
        self._named.clear()
        self._others.clear()

    def _due(self, job: NewJob) -> int:
        return self._now + round(job.due_in * MICROSECONDS)


def put(sql: Sql, now: int, job: NewJob) -> None:
    changes = JobChanges(sql, now)
    changes.put((job,))
    changes.flush()


def finish(sql: Sql, job_id: str, token: int) -> bool:
    """Drop a job this token holds. False: it is another's, replaced or cancelled by now."""
    held = "DELETE FROM jobs WHERE id = ? AND token = ? AND owner IS NOT NULL"
    return sql.run(held, (job_id, token)) == 1


def put_off(sql: Sql, now: int, job: Job, again_in: float, doc: bytes | None) -> bool:
    """Let go of a job until later."""
    later = (
        "UPDATE jobs SET owner = NULL, due_at = ?, doc = coalesce(?, doc)"
        " WHERE id = ? AND token = ? AND owner IS NOT NULL"
    )
    due_at = now + round(again_in * MICROSECONDS)
    return sql.run(later, (due_at, doc, job.id, job.token)) == 1


def claim(sql: Sql, now: int, node: str, kinds: Sequence[str], limit: int) -> list[Job]:
    """Lease what is due, the longest due first within a kind."""
    found: list[tuple[str, int, str, str | None, int]] = []
    for kind in kinds:
        if len(found) < limit:
            found += orjson.loads(sql.value(DUE, (kind, now, limit - len(found))))
    ids = orjson.dumps([row[0] for row in found]).decode()
    if not found:
        return []
    sql.run(TAKE, (node, ids))
    docs = dict(
        sql.all("SELECT id, doc FROM jobs WHERE id IN (SELECT value FROM json_each(?))", (ids,))
    )
    return [
        Job(id=i, token=token + 1, kind=kind, unique=ukey, attempts=attempts + 1, doc=docs[i])
        for i, token, kind, ukey, attempts in found
    ]
