"""Appends: the requests of one transaction become rows, each seeing those before it.

First every digest is put into `seen`, in one order whoever does it, so that two processes cannot
wait for each other; what comes back was not there before. Then the rows of what is new follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

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
from gateway.store.postgres.append_sql import Statements
from gateway.store.postgres.jobs import JobChanges

Verdict = Literal["lost", "duplicate"]
Listed = list[list[Any]]  # what `inbounds.events` holds: [event id, name, seq]


@dataclass(slots=True)
class Request:
    """An append and what its keys come to. `size`: bytes it holds while it waits."""

    item: Append
    scope: str
    delivery: bytes | None
    facts: tuple[bytes, ...]
    size: int


def request_of(item: Append) -> Request:
    """Everything that can be made before the transaction."""
    scope, inbound = scope_of(item), item.inbound
    delivery = delivery_digest(scope, inbound.delivery_key) if inbound and not item.again else None
    size = 1000 + sum(len(event.data) + 300 * len(event.deliveries) for event in item.events)
    size += sum(len(job.doc) for job in item.jobs)
    if inbound:
        size += len(inbound.body) + len(inbound.headers) + len(inbound.query)
    facts = tuple(fact_digest(scope, event) for event in item.events)
    return Request(item, scope, delivery, facts, size)


class JudgedError(Exception):
    """Some requests turned out to store nothing, after their facts were put into `seen`: the
    transaction must begin again, knowing it.
    """

    def __init__(self, verdicts: dict[int, Verdict]) -> None:
        super().__init__("some requests store nothing")
        self.verdicts = verdicts


@dataclass(slots=True)
class Fact:
    """One new event on its way into its table."""

    request: Request
    event: NewEvent
    seq: int
    superseded: bool


@dataclass(slots=True)
class Answer:
    """What is known of one request before the events are written."""

    request: Request
    verdict: Verdict | None = None
    told: list[Told | Fact] = field(default_factory=list)


class Appends:
    """The appends of one transaction. `verdicts`: by position, what an earlier try found out."""

    def __init__(
        self, sql: Statements, requests: Sequence[Request], verdicts: dict[int, Verdict]
    ) -> None:
        self._sql, self._requests, self._verdicts = sql, requests, dict(verdicts)
        self._new: dict[bytes, int] = {}
        self._known: dict[bytes, str] = {}
        self._facts: list[Fact] = []
        self._siblings: dict[tuple[str, str, str], list[tuple[int, int]]] = {}

    async def run(self) -> list[Appended]:
        """One answer for each request, in order. Raises JudgedError."""
        firsts = self._candidates()
        self._new = await self._sql.see(
            [(digest, ref, fact) for digest, (ref, fact, _) in firsts.items()]
        )
        await self._judge(firsts)
        digests = {d for r in self._requests for d in (r.delivery, *r.facts) if d}
        self._known = await self._sql.known(sorted(digests - self._new.keys()))
        answers = [self._answer(at, request) for at, request in enumerate(self._requests)]
        await self._bring_up_to_date(answers)
        await self._write(answers)
        return await self._appended(answers)

    def _candidates(self) -> dict[bytes, tuple[str, bool, int]]:
        """Of each digest its first teller: what to refer to, whether it is a fact, whose it is."""
        firsts: dict[bytes, tuple[str, bool, int]] = {}
        for at, request in enumerate(self._requests):
            if at in self._verdicts:
                continue
            inbound = request.item.inbound
            if request.delivery and inbound:
                if request.delivery in firsts:
                    self._verdicts[at] = "duplicate"
                    continue
                firsts[request.delivery] = (inbound.id, False, at)
            for event, digest in zip(request.item.events, request.facts, strict=True):
                firsts.setdefault(digest, (event.id, True, at))
        return firsts

    async def _judge(self, firsts: dict[bytes, tuple[str, bool, int]]) -> None:
        """Find the requests that store nothing; raise JudgedError when that changes what is new."""
        found: dict[int, Verdict] = {
            at: "duplicate"
            for digest, (_, fact, at) in firsts.items()
            if not fact and digest not in self._new
        }
        jobs = {
            at: request.item.finishes
            for at, request in enumerate(self._requests)
            if request.item.finishes and at not in self._verdicts
        }
        if jobs:
            finished = await self._sql.finish_jobs(list(jobs.values()))
            found |= {at: "lost" for at, job in jobs.items() if job[0] not in finished}
        self._verdicts |= found
        if any(at in found and digest in self._new for digest, (_, _, at) in firsts.items()):
            raise JudgedError(self._verdicts_to_keep(found))

    def _verdicts_to_keep(self, found: dict[int, Verdict]) -> dict[int, Verdict]:
        """Duplicates of a neighbour are found again; the neighbour may have lost its job."""
        return {
            at: verdict
            for at, verdict in self._verdicts.items()
            if at in found or verdict == "lost" or self._requests[at].delivery not in self._new
        }

    def _answer(self, at: int, request: Request) -> Answer:
        answer = Answer(request, self._verdicts.get(at))
        if answer.verdict is None:
            for event, digest in zip(request.item.events, request.facts, strict=True):
                answer.told.append(self._event(request, event, digest))
        return answer

    def _event(self, request: Request, event: NewEvent, digest: bytes) -> Told | Fact:
        if digest in self._known:
            first, _, first_seq = self._known[digest].partition(":")
            return Told(first, event.name, int(first_seq), duplicate=True)
        seq = self._new[digest]
        self._known[digest] = f"{event.id}:{seq}"
        fact = Fact(request, event, seq, self._is_superseded(request, event))
        self._facts.append(fact)
        return fact

    def _is_superseded(self, request: Request, event: NewEvent) -> bool:
        """Whether by an event of this transaction; the statement looks among the others."""
        if event.weight is None:
            return False
        queue = (request.scope, event.key, family_prefix(event))
        siblings = self._siblings.setdefault(queue, [])
        siblings.append((event.weight, event.occurred_at))
        return any(w > event.weight and at >= event.occurred_at for w, at in siblings)

    async def _bring_up_to_date(self, answers: Sequence[Answer]) -> None:
        """Inbounds that were there: events they already gave stay in their list, they exist."""
        again = [a for a in answers if a.request.item.again and a.verdict is None]
        inbounds = [a.request.item.inbound for a in again]
        listed = await self._sql.told([i.id for i in inbounds if i], lock=True)
        rows: dict[str, tuple[NewInbound, Listed]] = {}
        for answer in again:
            inbound = answer.request.item.inbound
            if inbound is None or inbound.id not in listed:
                continue
            new = [_listed(one) for one in answer.told]
            ids = {one[0] for one in new}
            merged = [one for one in listed[inbound.id] if one[0] not in ids] + new
            listed[inbound.id] = merged
            rows[inbound.id] = (inbound, merged)
        await self._sql.update_inbounds(
            [
                (key, inbound.outcome, inbound.reason and storable(inbound.reason), _text(told))
                for key, (inbound, told) in rows.items()
            ]
        )

    async def _write(self, answers: Sequence[Answer]) -> None:
        live = [a for a in answers if a.verdict is None]
        superseded = await self._sql.insert(
            [
                _inbound_row(a, i)
                for a in live
                if a.request.delivery and (i := a.request.item.inbound)
            ],
            [_event_row(fact) for fact in self._facts],
            [row for fact in self._facts for row in _delivery_rows(fact)],
        )
        for fact in self._facts:
            fact.superseded = fact.seq in superseded
        changes = JobChanges()
        for answer in live:
            changes.cancel(answer.request.item.cancels)
            changes.put(answer.request.item.jobs)
        await self._sql.change_jobs(changes)

    async def _appended(self, answers: Sequence[Answer]) -> list[Appended]:
        refs = {
            a.request.delivery: self._first(a.request.delivery)
            for a in answers
            if a.verdict == "duplicate" and a.request.delivery
        }
        listed = await self._sql.told(list(refs.values())) if refs else {}
        result = []
        for answer in answers:
            item, delivery = answer.request.item, answer.request.delivery
            ident = item.inbound.id if item.inbound else None
            if answer.verdict == "duplicate" and delivery:
                ident = refs[delivery]
                events = tuple(_told_before(*one) for one in listed.get(ident, ()))
            else:
                events = tuple(map(_told, answer.told))
            duplicate, lost = answer.verdict == "duplicate", answer.verdict == "lost"
            result.append(Appended(ident, duplicate, events, lost))
        return result

    def _first(self, delivery: bytes) -> str:
        """The inbound that came first, in an earlier transaction or in this one."""
        known = self._known.get(delivery)
        if known:
            return known
        return next(
            r.item.inbound.id
            for at, r in enumerate(self._requests)
            if r.delivery == delivery and r.item.inbound and at not in self._verdicts
        )


def _told(one: Told | Fact) -> Told:
    if isinstance(one, Told):
        return one
    return Told(one.event.id, one.event.name, one.seq, duplicate=False, superseded=one.superseded)


def _told_before(ident: str, name: str, seq: int) -> Told:
    return Told(ident, name, seq, duplicate=True)


def _listed(one: Told | Fact) -> list[Any]:
    told = _told(one)
    return [told.id, told.name, told.seq]


def _text(listed: Listed) -> str:
    return orjson.dumps(listed).decode()


def _inbound_row(answer: Answer, inbound: NewInbound) -> tuple[Any, ...]:
    item = answer.request.item
    return (
        inbound.id,
        item.tenant,
        item.instance,
        item.installation_id,
        item.driver,
        inbound.received_at,
        inbound.method,
        inbound.query,
        inbound.headers,
        inbound.body,
        inbound.outcome,
        inbound.reason and storable(inbound.reason),
        storable(inbound.delivery_key),
        _text([_listed(one) for one in answer.told]),
    )


def _event_row(fact: Fact) -> tuple[Any, ...]:
    item, event = fact.request.item, fact.event
    return (
        fact.seq,
        event.id,
        item.tenant,
        item.instance,
        item.installation_id,
        item.driver,
        event.name,
        storable(event.key),
        storable(event.dedupe_key),
        event.weight,
        event.occurred_at,
        item.received_at,
        storable(event.provider_event),
        event.provider_event_id and storable(event.provider_event_id),
        item.inbound.id if item.inbound else None,
        event.version,
        int(event.test),
        event.hop,
        event.trace,
        event.data,
        family_prefix(event),
        fact.superseded,
    )


def _delivery_rows(fact: Fact) -> list[tuple[Any, ...]]:
    item, event = fact.request.item, fact.event
    always = not item.skip_superseded
    okey = storable(ordering_key(item, event))
    rows = []
    for new in event.deliveries:
        held = (None, new.leased) if not new.ordered else (okey, False)
        rows.append((new.id, fact.seq, new.sink_id, item.tenant, item.instance, *held, always))
    return rows
