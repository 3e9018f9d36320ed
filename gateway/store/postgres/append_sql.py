"""The statements of an append's transaction, each for any number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from gateway.store.postgres import tables
from gateway.store.postgres.connections import Connection
from gateway.store.postgres.jobs import JobChanges

# Whoever reads up to `horizon` must know that this transaction may still use numbers from here on:
# so the lock is taken before the first number is. Its key is a tag and the sequence's position.
_POSITION = "CASE WHEN is_called THEN last_value ELSE 0 END"
_TAG = 0x436F
MARK = f"""
SELECT pg_advisory_xact_lock_shared({_TAG}::bigint << 48 | {_POSITION})
FROM event_seq"""
HORIZON = f"""
SELECT least({_POSITION}, (
    SELECT min((l.classid::bigint & 65535) << 32 | l.objid::bigint) FROM pg_locks AS l
    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.classid::bigint >> 16 = {_TAG}
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())))
FROM event_seq"""
# Numbers are drawn in the order of the batch, keys are taken in their own.
SEE = """
INSERT INTO seen (digest, ref)
SELECT digest, CASE WHEN fact THEN ref || ':' || seq ELSE ref END
FROM (
    SELECT digest, ref, fact, CASE WHEN fact THEN nextval('event_seq') ELSE 0 END AS seq
    FROM unnest($1::bytea[], $2::text[], $3::boolean[]) AS n (digest, ref, fact) OFFSET 0
) AS numbered
ORDER BY digest
ON CONFLICT DO NOTHING
RETURNING digest, ref"""
KNOWN = "SELECT digest, ref FROM seen WHERE digest = ANY($1::bytea[])"
TOLD = "SELECT id, events FROM inbounds WHERE id = ANY($1::text[]) ORDER BY id"
FINISH = """
DELETE FROM jobs USING unnest($1::text[], $2::bigint[]) AS f (id, token)
WHERE jobs.id = f.id AND jobs.token = f.token AND jobs.owner IS NOT NULL RETURNING jobs.id"""
UPDATE_INBOUNDS = """
UPDATE inbounds SET outcome = n.outcome, reason = n.reason, events = n.events
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS n (id, outcome, reason, events)
WHERE inbounds.id = n.id"""
_ALL_OF_EVENT = {**tables.EVENTS, "family": "text", "old": "boolean"}
_ALL_OF_DELIVERY = {**tables.DELIVERIES, "always": "boolean"}
_FIRST_OF_EVENT = 3 + len(tables.INBOUNDS)
_FIRST_OF_DELIVERY = _FIRST_OF_EVENT + len(_ALL_OF_EVENT)
# All that is new, in one round trip. The plan is made before there is anything, and kept: only the
# index on keys must suit it, not those on tenants and instances.
INSERT = f"""
WITH clock AS MATERIALIZED (SELECT comporta_now($2) AS now),
inbound AS (
    INSERT INTO inbounds ({", ".join(tables.INBOUNDS)})
    SELECT * FROM {tables.unnest(tables.INBOUNDS, "n", 3)}),
event AS (
    INSERT INTO events ({", ".join(tables.EVENTS)}, superseded)
    SELECT {", ".join("n." + name for name in tables.EVENTS)}, CASE
        WHEN n.weight IS NULL THEN 0
        WHEN n.old THEN 1
        WHEN EXISTS (
            SELECT 1 FROM events AS e WHERE e.key = n.key
            AND e.weight > n.weight AND e.occurred_at >= n.occurred_at
            AND (e.tenant, e.instance) IS NOT DISTINCT FROM (n.tenant, n.instance)
            AND e.installation_id IS NOT DISTINCT FROM n.installation_id
            AND starts_with(e.name, n.family)
        ) THEN 1 ELSE 0 END
    FROM {tables.unnest(_ALL_OF_EVENT, "n", _FIRST_OF_EVENT)}
    RETURNING seq, superseded),
delivery AS (
    INSERT INTO deliveries (id, seq, sink_id, tenant, instance, okey, state, next_at, owner, token,
        created_at, updated_at)
    SELECT n.id, n.seq, n.sink_id, n.tenant, n.instance, n.okey,
        CASE WHEN n.leased THEN 'leased' ELSE 'pending' END, clock.now,
        CASE WHEN n.leased THEN $1 END, CASE WHEN n.leased THEN 1 ELSE 0 END, clock.now, clock.now
    FROM clock, {tables.unnest(_ALL_OF_DELIVERY, "n", _FIRST_OF_DELIVERY)}
    JOIN event ON event.seq = n.seq AND (n.always OR event.superseded = 0))
SELECT seq FROM event WHERE superseded <> 0"""


class Statements:
    """On one connection, in its transaction. `now`: a test's clock, None for the database's."""

    def __init__(self, connection: Connection, node: str, now: int | None) -> None:
        self._connection, self._node, self._now = connection, node, now

    async def see(self, rows: Sequence[tuple[bytes, str, bool]]) -> dict[bytes, int]:
        """Put digests in; gives those that were not there, a fact's with its event's seq."""
        if not rows:
            return {}
        found = await self._connection.fetch(SEE, *zip(*rows, strict=True))
        facts = {digest for digest, _, fact in rows if fact}
        return {
            digest: int(ref.rpartition(":")[2]) if digest in facts else 0 for digest, ref in found
        }

    async def known(self, digests: Sequence[bytes]) -> dict[bytes, str]:
        """What digests refer to."""
        if not digests:
            return {}
        rows = await self._connection.fetch(KNOWN, digests)
        return {row[0]: row[1] for row in rows}

    async def told(self, ids: Sequence[str], *, lock: bool = False) -> dict[str, list[list[Any]]]:
        """The events of inbounds. One that was purged is missing; its digest is kept longer."""
        if not ids:
            return {}
        rows = await self._connection.fetch(TOLD + (" FOR UPDATE" if lock else ""), ids)
        return {ident: orjson.loads(events) for ident, events in rows}

    async def finish_jobs(self, jobs: Sequence[tuple[str, int]]) -> set[str]:
        """Drop jobs by id and token; gives the ids that were held so."""
        return {row[0] for row in await self._connection.fetch(FINISH, *zip(*jobs, strict=True))}

    async def update_inbounds(self, rows: Sequence[tuple[Any, ...]]) -> None:
        await self._run(UPDATE_INBOUNDS, rows)

    async def insert(
        self,
        inbounds: Sequence[tuple[Any, ...]],
        events: Sequence[tuple[Any, ...]],
        deliveries: Sequence[tuple[Any, ...]],
    ) -> set[int]:
        """Put rows in; gives the seqs of events that are superseded. `deliveries`: each with the
        event it is of, and whether that is sent even then.
        """
        if not (inbounds or events):
            return set()
        found = await self._connection.fetch(
            INSERT,
            self._node,
            self._now,
            *tables.columns(tables.INBOUNDS, inbounds),
            *tables.columns(_ALL_OF_EVENT, events),
            *tables.columns(_ALL_OF_DELIVERY, deliveries),
        )
        return {row[0] for row in found}

    async def change_jobs(self, changes: JobChanges) -> None:
        await changes.flush(self._connection, self._now)

    async def _run(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            await self._connection.fetch(sql, *zip(*rows, strict=True))
