"""Deliveries against a model: whatever is done in whatever order by whom, both engines agree with
a few lines of Python about who may send what, and what became of it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from gateway.store import bulk, redo
from gateway.store.base import EventLog, Leased, Settlement, Store
from gateway.store.sqlite import leases
from tests.store.rigs import LEASE, PostgresRig, Rig, SqliteRig
from tests.store.rows import SECOND, Maker, attempt

T = TypeVar("T")
TABLES = "records, inbounds, events, seen, deliveries, attempts, nodes, jobs"
PLAIN, ORDERED = ("plain-1", "plain-2"), "ordered"
SINKS = (*PLAIN, ORDERED)
NODES = ("node-a", "node-b")
STATES = "SELECT id, state, attempts, token, replay, owner FROM deliveries ORDER BY id"
OPEN = frozenset({"pending", "leased"})


@dataclass
class Row:
    """What the model knows of one delivery."""

    sink: str
    seq: int
    key: str
    next_at: int
    state: str = "pending"
    attempts: int = 0
    token: int = 0
    replay: int = 0
    owner: str | None = None

    def let_go(self, state: str, next_at: int | None = None) -> None:
        self.state, self.owner = state, None
        self.next_at = self.next_at if next_at is None else next_at


@dataclass
class Model:
    """The rules, said once more."""

    rows: dict[str, Row] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)

    def due(self, sink: str, now: int) -> list[str]:
        """What may be claimed, oldest first."""
        found = [i for i, r in self.rows.items() if r.sink == sink and r.state == "pending"]
        if sink == ORDERED:
            found = [i for i in found if self._leads(i)]
        ready = [i for i in found if self.rows[i].next_at <= now]
        return sorted(ready, key=lambda i: (self.rows[i].next_at, self.rows[i].seq))

    def _leads(self, ident: str) -> bool:
        """Whether none of its key is out, and none before it waits."""
        row = self.rows[ident]
        queue = [
            (r.state != "leased", r.seq, i)
            for i, r in self.rows.items()
            if r.sink == ORDERED and r.key == row.key and r.state in OPEN
        ]
        return min(queue)[2] == ident

    def has_gap(self, ident: str) -> bool:
        """Whether an earlier one of its key was given up."""
        row = self.rows[ident]
        return row.sink == ORDERED and any(
            r.sink == ORDERED and r.key == row.key and r.state == "dead" and r.seq < row.seq
            for r in self.rows.values()
        )

    def beat(self, node: str, now: int) -> int:
        """A node's heartbeat; gives how many deliveries of dead nodes it freed."""
        self.seen[node] = now
        for other, at in list(self.seen.items()):
            if at + LEASE * SECOND < now:
                del self.seen[other]
        freed = [r for r in self.rows.values() if r.owner and r.owner not in self.seen]
        for row in freed:
            row.let_go("pending")
        return len(freed)


class Deliveries(RuleBasedStateMachine):
    """One database and two nodes."""

    rig: Callable[[], Rig]
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def open(self) -> None:
        self.place = type(self).rig()
        self.clock, self.make = self.place.clock, Maker(self.place.clock)
        self.store, self.logs = self.run(self._open())
        self.model.seen = dict.fromkeys(NODES, self.clock.now)

    async def _open(self) -> tuple[Store, dict[str, EventLog]]:
        store = await self.place.open("node-a")
        if isinstance(self.place, PostgresRig):
            await store.database.write(f"TRUNCATE {TABLES}")
            await store.log.heartbeat()
        return store, {"node-a": store.log, "node-b": await self.place.neighbour(store)}

    def teardown(self) -> None:
        self.run(self.place.close())
        self.runner.close()

    @rule(
        target=held,
        node=st.sampled_from(NODES),
        sinks=st.sets(st.sampled_from(SINKS), min_size=1),
        key=st.sampled_from("xy"),
        born_leased=st.booleans(),
    )
    def append(self, node: str, sinks: set[str], key: str, born_leased: bool) -> Any:
        item = self.make.append(
            self.make.event(
                *(
                    self.make.delivery(s, leased=born_leased and s != ORDERED, ordered=s == ORDERED)
                    for s in sorted(sinks)
                ),
                key=key,
            )
        )
        (told,) = self.run(self.logs[node].append(item)).events
        born = []
        for new in item.events[0].deliveries:
            row = Row(new.sink_id, told.seq, key, self.clock.now)
            if new.leased:
                row.state, row.owner, row.token = "leased", node, 1
                born.append((new.id, 1))
            self.model.rows[new.id] = row
        return multiple(*born)

    @rule(
        target=held,
        node=st.sampled_from(NODES),
        sinks=st.sets(st.sampled_from(SINKS), min_size=1),
        most=st.sampled_from([1, 2, 1000]),
    )
    def claim(self, node: str, sinks: set[str], most: int) -> Any:
        claimed = self.run(
            self.logs[node].claim(
                dict.fromkeys(sorted(sinks), most), ordered=frozenset(sinks & {ORDERED})
            )
        )
        for sink in sinks:
            got = [one for one in claimed if one.sink_id == sink]
            self._is_right(sink, got, most)
        for one in claimed:
            row = self.model.rows[one.id]
            row.state, row.owner, row.token = "leased", node, row.token + 1
            assert one.token == row.token
        return multiple(*((one.id, one.token) for one in claimed))

    def _is_right(self, sink: str, got: list[Leased], most: int) -> None:
        due = self.model.due(sink, self.clock.now)
        ids = [one.id for one in got]
        if sink == ORDERED:  # which heads go first is not promised
            assert len(ids) == len(set(ids)) == min(len(due), most)
            assert set(ids) <= set(due)
        else:
            assert [self._place(i) for i in ids] == [self._place(i) for i in due[:most]]
        for one in got:
            row = self.model.rows[one.id]
            assert (one.attempts, one.replay) == (row.attempts, row.replay)
            assert one.gap == self.model.has_gap(one.id)

    def _place(self, ident: str) -> tuple[int, int]:
        return self.model.rows[ident].next_at, self.model.rows[ident].seq

    @rule(
        lease=consumes(held),
        state=st.sampled_from(["succeeded", "pending", "dead", "canceled"]),
        delay=st.sampled_from([0.0, 5.0, 60.0]),
        counts=st.booleans(),
    )
    def settle(self, lease: tuple[str, int], state: Any, delay: float, counts: bool) -> None:
        ident, token = lease
        row = self.model.rows.get(ident)
        number = row.attempts + 1 if row else 1
        item = Settlement(
            id=ident,
            token=token,
            state=state,
            delay=delay,
            counts=counts,
            attempt=attempt(number, at=self.clock.now),
        )
        lost = self.run(self.store.log.settle([item]))
        if row is None or row.state != "leased" or row.token != token:
            assert lost == {ident}
            return
        assert not lost
        row.attempts += counts
        row.let_go(state, self.clock.now + round(delay * SECOND) if state == "pending" else None)

    @rule(seconds=st.sampled_from([1, 5, 7, 61]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(node=st.sampled_from(NODES))
    def beat(self, node: str) -> None:
        assert self.run(self.logs[node].heartbeat()) == self.model.beat(node, self.clock.now)

    @rule(node=st.sampled_from(NODES), data=st.data())
    def give_back(self, node: str, data: st.DataObject) -> None:
        """What is another's is left alone."""
        ids = self._some(data, (i for i, r in self.model.rows.items() if r.state == "leased"))
        age = data.draw(st.sampled_from([0, 0, 0, 1]))  # of the token: an old one frees nothing
        leases = [(ident, self.model.rows[ident].token - age) for ident in ids]
        self.run(self.logs[node].release(leases))
        for ident in ids:
            row = self.model.rows[ident]
            if row.owner == node and not age:
                row.let_go("pending")

    @rule(data=st.data())
    def retry_by_hand(self, data: st.DataObject) -> None:
        ids = self._some(data, self.model.rows)
        free = [i for i in ids if self.model.rows[i].state != "leased"]
        if ids:
            assert self.run(bulk.redo(self.store.database, ids)) == len(free)
        for ident in free:
            row = self.model.rows[ident]
            row.replay, row.token, row.attempts = row.replay + 1, row.token + 1, 0
            row.let_go("pending", self.clock.now)

    @rule(data=st.data())
    def cancel_by_hand(self, data: st.DataObject) -> None:
        for ident in self._some(data, self.model.rows):
            row = self.model.rows[ident]
            done = self.run(redo.cancel(self.store.database, "default", ident))
            assert done == (row.state == "pending")
            if done:
                row.token += 1
                row.let_go("canceled")

    @rule(data=st.data())
    def purge_by_hand(self, data: st.DataObject) -> None:
        ids = self._some(data, self.model.rows)
        ended = [i for i in ids if self.model.rows[i].state in {"dead", "canceled"}]
        if ids:
            assert self.run(bulk.purge(self.store.database, ids)) == len(ended)
        for ident in ended:
            del self.model.rows[ident]

    @staticmethod
    def _some(data: st.DataObject, ids: Iterable[str]) -> list[str]:
        known = sorted(ids)
        if not known:
            return []
        return data.draw(st.lists(st.sampled_from(known), max_size=3, unique=True))

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        rows = self.run(self.store.database.fetch(STATES))
        known = [
            (i, r.state, r.attempts, r.token, r.replay, r.owner)
            for i, r in sorted(self.model.rows.items())
        ]
        assert rows == known

    @invariant()
    def what_is_due_is_told(self) -> None:
        due = self.run(self.store.log.due())
        for sink in PLAIN:
            waiting = [
                r.next_at
                for r in self.model.rows.values()
                if (r.sink, r.state) == (sink, "pending")
            ]
            soonest = max(0, min(waiting) - self.clock.now) / SECOND if waiting else None
            assert due.get(sink) == soonest
        if any(r.next_at <= self.clock.now for r in self._heads()):
            assert due[ORDERED] == 0

    def _heads(self) -> list[Row]:
        return [self.model.rows[i] for i in self.model.due(ORDERED, self.clock.now)]


def check(
    make_rig: Callable[[], Rig], examples: int, phases: tuple[Phase, ...] = tuple(Phase)
) -> None:
    machine = type("Machine", (Deliveries,), {"rig": staticmethod(make_rig)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            phases=phases,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def embedded(folder: Path) -> Callable[[], Rig]:
    """A new database each time."""
    made = count()

    def rig() -> Rig:
        place = folder / str(next(made))
        place.mkdir()
        return SqliteRig(place)

    return rig


def test_sqlite_keeps_to_the_model(tmp_path: Path) -> None:
    check(embedded(tmp_path), 40)


def test_postgres_keeps_to_the_model(postgres_db: str) -> None:
    check(lambda: PostgresRig(postgres_db), 10)


def test_the_model_notices_a_store_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = leases.DUE.replace("next_at <= ?", "next_at <> ?")
    assert wrong != leases.DUE
    monkeypatch.setattr(leases, "DUE", wrong)

    with pytest.raises(AssertionError):
        check(embedded(tmp_path), 200, (Phase.generate,))
