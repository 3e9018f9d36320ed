"""Jobs that live as long as what they are about: looked up by name, kept up to date while they run.

Common SQL for both engines. A job that somebody holds is never changed from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.store.base import Database, Job, NewJob
from schemas import codec

ADD = """
INSERT INTO jobs (id, kind, ukey, due_at, doc) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING RETURNING id
"""
SOONER = """
INSERT INTO jobs (id, kind, ukey, due_at, doc) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (ukey) DO UPDATE SET due_at = excluded.due_at
WHERE jobs.owner IS NULL AND jobs.due_at > excluded.due_at RETURNING id
"""
NAMED = "SELECT due_at, doc FROM jobs WHERE ukey = $1"
HURRY = "UPDATE jobs SET due_at = $1 WHERE ukey = $2 AND owner IS NULL RETURNING id"
KEEP = "UPDATE jobs SET doc = $1 WHERE id = $2 AND token = $3 AND owner IS NOT NULL RETURNING id"


class LeaseLostError(Exception):
    """The job is another's by now: whoever still runs it stops."""


async def add_absent(database: Database, job: NewJob) -> bool:
    """Keep a job unless one has its name; gives whether it was new."""
    return bool(await database.write(ADD, *await _row(database, job)))


async def add_sooner(database: Database, job: NewJob) -> None:
    """Keep a job; one that has its name stays as it is, but is due no later than this one."""
    await database.write(SOONER, *await _row(database, job))


async def _row(database: Database, job: NewJob) -> tuple[Any, ...]:
    due_at = await database.now() + round(job.due_in * 1_000_000)
    return job.id, job.kind, job.unique, due_at, job.doc


async def stored_docs(database: Database, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What jobs of these names hold, with `due_at` (microseconds) in it."""
    found = {}
    for name in names:
        for due_at, doc in await database.fetch(NAMED, name):
            found[name] = codec.loads(bytes(doc)) | {"due_at": due_at}
    return found


async def hurried(database: Database, name: str) -> int:
    """Make a job due now; gives how many there were that nobody held: one or none."""
    return len(await database.write(HURRY, await database.now(), name))


async def keep_doc(database: Database, job: Job, doc: dict[str, Any]) -> None:
    """Write what a running job knows by now. Raises LeaseLostError."""
    if not await database.write(KEEP, codec.dumps(doc), job.id, job.token):
        raise LeaseLostError
