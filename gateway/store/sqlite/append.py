"""Appends: the requests of one transaction become rows, each seeing those before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.store.base import Append, Appended, NewEvent, NewInbound, Told
from gateway.store.keys import (
    delivery_digest,
    fact_digest,
    family_prefix,
    ordering_key,
    scope_of,
    storable,
)
from gateway.store.sqlite.connection import Sql
from gateway.store.sqlite.jobs import JobChanges, finish

SEEN = "SELECT digest, ref FROM seen WHERE digest IN (VALUES {rows})"
SUPERSEDED = """
SELECT v.column1 FROM (VALUES {rows}) AS v WHERE EXISTS (
    SELECT 1 FROM events AS e INDEXED BY events_key
    WHERE e.tenant = v.column2 AND e.key = v.column3
    AND e.weight > v.column4 AND e.occurred_at >= v.column5
    AND e.instance = v.column6 AND e.installation_id IS v.column7
    AND substr(e.name, 1, length(v.column8)) = v.column8)"""
INSERTS = {
    "seen": "INSERT INTO seen (digest, ref) VALUES {rows}",
    "inbounds": "INSERT INTO inbounds (id, tenant, instance, installation_id, driver, received_at,"
    " method, query, headers, body, outcome, reason, delivery_key, events) VALUES {rows}",
    "events": "INSERT INTO events (seq, id, tenant, instance, installation_id, driver, name, key,"
    " dedupe_key, weight, occurred_at, received_at, provider_event, provider_event_id, inbound_id,"
    " version, test, hop, trace, superseded, data) VALUES {rows}",
    "deliveries": "INSERT INTO deliveries (id, seq, sink_id, tenant, instance, okey, state,"
    " next_at, owner, token, created_at, updated_at) VALUES {rows}",
}


@dataclass(slots=True)
class Request:
    """An append and what its keys come to."""

    item: Append
    node: str
    scope: str
    delivery: bytes | None
    facts: list[bytes]


@dataclass(slots=True)
class Rows:
    """What is to be inserted."""

    seen: list[tuple[bytes, str]] = field(default_factory=list)
    inbounds: list[tuple[Any, ...]] = field(default_factory=list)
    events: list[tuple[Any, ...]] = field(default_factory=list)
    deliveries: list[tuple[Any, ...]] = field(default_factory=list)


class Appends:
    """The appends of one transaction. `seqs`: the counter events take their `seq` from."""

    def __init__(self, sql: Sql, now: int, seqs: Iterator[int]) -> None:
        self._sql, self._now, self._seqs = sql, now, seqs
        self._known: dict[bytes, str] = {}
        self._superseded: set[bytes] = set()
        self._weights: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
        self._told: dict[str, tuple[Told, ...]] = {}
        self._rows = Rows()
        self._jobs = JobChanges(sql, now)

    def run(self, items: Sequence[tuple[Append, str]]) -> list[Appended]:
        """One answer for each (append, node), in order."""
        requests = [_request(item, node) for item, node in items]
        digests = {d for r in requests for d in (r.delivery, *r.facts) if d}
        self._known.update(self._sql.all_rows(SEEN, [(digest,) for digest in digests]))
        self._look_for_superseded(requests)
        answers = [self._append(request) for request in requests]
        for table, insert in INSERTS.items():
            self._sql.run_rows(insert, getattr(self._rows, table))
        self._jobs.flush()
        return answers

    def _look_for_superseded(self, requests: Sequence[Request]) -> None:
        rows = [
            (
                *(digest, item.tenant, storable(event.key), event.weight, event.occurred_at),
                *(item.instance, item.installation_id, family_prefix(event)),
            )
            for item, facts in ((r.item, r.facts) for r in requests)
            for event, digest in zip(item.events, facts, strict=True)
            if event.weight is not None and digest not in self._known
        ]
        self._superseded.update(row[0] for row in self._sql.all_rows(SUPERSEDED, rows))

    def _append(self, request: Request) -> Appended:
        item, inbound = request.item, request.item.inbound
        if item.finishes:
            self._jobs.flush()
            if not finish(self._sql, *item.finishes):
                return Appended(
                    inbound.id if inbound else None, duplicate=False, events=(), lost=True
                )
        if request.delivery and (first := self._known.get(request.delivery)):
            return Appended(first, duplicate=True, events=self._first_told(first))
        facts = zip(item.events, request.facts, strict=True)
        told = tuple(self._event(request, event, digest) for event, digest in facts)
        if inbound and item.again:
            self._bring_up_to_date(inbound, told)
        elif inbound and request.delivery:
            self._keep(request, inbound, told)
        self._jobs.cancel(item.cancels)
        self._jobs.put(item.jobs)
        return Appended(inbound.id if inbound else None, duplicate=False, events=told)

    def _event(self, request: Request, event: NewEvent, digest: bytes) -> Told:
        known = self._known.get(digest)
        if known:
            first, _, first_seq = known.partition(":")
            return Told(first, event.name, int(first_seq), duplicate=True)
        seq = next(self._seqs)
        superseded = self._is_superseded(request.scope, event, digest)
        self._see(digest, f"{event.id}:{seq}")
        self._rows.events.append(_event_row(request.item, event, seq, superseded=superseded))
        if not (superseded and request.item.skip_superseded):
            self._rows.deliveries += self._deliveries(request, event, seq)
        return Told(event.id, event.name, seq, duplicate=False, superseded=superseded)

    def _is_superseded(self, scope: str, event: NewEvent, digest: bytes) -> bool:
        """By an event of the store, or of this transaction."""
        if event.weight is None:
            return False
        siblings = self._weights.setdefault((scope, event.key, family_prefix(event)), [])
        siblings.append((event.weight, event.occurred_at))
        return digest in self._superseded or any(
            weight > event.weight and occurred_at >= event.occurred_at
            for weight, occurred_at in siblings
        )

    def _deliveries(self, request: Request, event: NewEvent, seq: int) -> list[tuple[Any, ...]]:
        item, now = request.item, self._now
        rows = []
        for new in event.deliveries:
            leased = new.leased and not new.ordered
            okey = storable(ordering_key(item, event)) if new.ordered else None
            held = ("leased", now, request.node, 1) if leased else ("pending", now, None, 0)
            rows.append(
                (new.id, seq, new.sink_id, item.tenant, item.instance, okey, *held, now, now)
            )
        return rows

    def _keep(self, request: Request, inbound: NewInbound, told: tuple[Told, ...]) -> None:
        if request.delivery:
            self._see(request.delivery, inbound.id)
        self._told[inbound.id] = told
        item = request.item
        row = (
            *(inbound.id, item.tenant, item.instance, item.installation_id, item.driver),
            *(inbound.received_at, inbound.method, inbound.query, inbound.headers, inbound.body),
            *(inbound.outcome, inbound.reason and storable(inbound.reason)),
            *(storable(inbound.delivery_key), _listed(told)),
        )
        self._rows.inbounds.append(row)

    def _bring_up_to_date(self, inbound: NewInbound, told: tuple[Told, ...]) -> None:
        """Events it already gave stay in its list: they exist."""
        before = self._read_told(inbound.id)
        new = {one.id for one in told}
        listed = _listed((*(one for one in before if one.id not in new), *told))
        reason = inbound.reason and storable(inbound.reason)
        self._sql.run(
            "UPDATE inbounds SET outcome = ?, reason = ?, events = ? WHERE id = ?",
            (inbound.outcome, reason, listed, inbound.id),
        )

    def _first_told(self, inbound_id: str) -> tuple[Told, ...]:
        told = self._told.get(inbound_id)
        if told is None:
            return self._read_told(inbound_id)
        return tuple(Told(one.id, one.name, one.seq, duplicate=True) for one in told)

    def _read_told(self, inbound_id: str) -> tuple[Told, ...]:
        """Empty when the inbound was purged; its digest is kept longer."""
        listed = self._sql.value("SELECT events FROM inbounds WHERE id = ?", (inbound_id,))
        rows = orjson.loads(listed) if listed else []
        return tuple(Told(event_id, name, seq, duplicate=True) for event_id, name, seq in rows)

    def _see(self, digest: bytes, ref: str) -> None:
        self._known[digest] = ref
        self._rows.seen.append((digest, ref))


def _request(item: Append, node: str) -> Request:
    scope = scope_of(item)
    inbound = item.inbound
    delivery = delivery_digest(scope, inbound.delivery_key) if inbound and not item.again else None
    return Request(item, node, scope, delivery, [fact_digest(scope, e) for e in item.events])


def _event_row(item: Append, event: NewEvent, seq: int, *, superseded: bool) -> tuple[Any, ...]:
    return (
        *(seq, event.id, item.tenant, item.instance, item.installation_id, item.driver),
        *(event.name, storable(event.key), storable(event.dedupe_key), event.weight),
        *(event.occurred_at, item.received_at, storable(event.provider_event)),
        event.provider_event_id and storable(event.provider_event_id),
        *(item.inbound.id if item.inbound else None, event.version),
        *(int(event.test), event.hop, event.trace, int(superseded), event.data),
    )


def _listed(told: Sequence[Told]) -> str:
    return orjson.dumps([(one.id, one.name, one.seq) for one in told]).decode()
