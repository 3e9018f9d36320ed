"""Appends about things that were there before: the same inbound again, jobs, newer events."""

from typing import Any

import orjson
import pytest

from gateway.store.base import EventLog, Job, NewJob, Store
from tests.store.rigs import Rig
from tests.store.rows import SECOND, Maker, count, told


async def put(log: EventLog, make: Maker, **fields: Any) -> Job:
    """A job that this node holds."""
    await log.put_job(NewJob(**({"id": make.ids(), "kind": "enrich", "doc": b"{}"} | fields)))
    [job] = await log.claim_jobs(["enrich"], 1)
    return job


async def test_an_inbound_is_brought_up_to_date(store: Store, make: Maker) -> None:
    inbound = make.inbound(outcome="enriching", reason="asks the API", body=b"first")
    early, late = make.event(), make.event()
    await store.log.append(make.append(early, inbound=inbound))
    inbound.outcome, inbound.reason, inbound.body = "accepted", None, b"changed"

    answer = await store.log.append(make.append(late, inbound=inbound, again=True))

    assert (answer.inbound_id, answer.duplicate, told(answer)) == (
        *(inbound.id, False),
        [(late.id, False)],
    )
    [(outcome, reason, body, events)] = await store.database.fetch(
        "SELECT outcome, reason, body, events FROM inbounds"
    )
    assert (outcome, reason, body) == ("accepted", None, b"first")
    assert [row[:2] for row in orjson.loads(events)] == [
        [early.id, "order.paid"],
        [late.id, "order.paid"],
    ]
    again = await store.log.append(make.retold(make.append(inbound=inbound)))
    assert told(again) == [(early.id, True), (late.id, True)]


async def test_renormalizing_twice_lists_an_event_once(store: Store, make: Maker) -> None:
    inbound, event = make.inbound(outcome="quarantined"), make.event()
    await store.log.append(make.append(inbound=inbound))
    for _ in range(2):
        await store.log.append(make.append(event, inbound=inbound, again=True))

    [(events,)] = await store.database.fetch("SELECT events FROM inbounds")
    assert [row[0] for row in orjson.loads(events)] == [event.id]
    assert await count(store, "events") == 1


async def test_events_outlive_their_inbound(store: Store, make: Maker) -> None:
    answer = await store.log.append(make.append(make.event(), again=True))

    assert not answer.events[0].duplicate
    assert await count(store, "inbounds") == 0


async def test_an_append_finishes_its_job(store: Store, make: Maker) -> None:
    job = await put(store.log, make)

    item = make.append(make.event(), inbound=None, finishes=(job.id, job.token))
    answer = await store.log.append(item)

    assert (answer.inbound_id, answer.lost, told(answer)) == (
        *(None, False),
        [(item.events[0].id, False)],
    )
    assert await count(store, "jobs") == 0


@pytest.mark.parametrize("what", ["canceled", "replaced", "finished", "older token"])
async def test_without_its_job_an_append_stores_nothing(
    store: Store, make: Maker, what: str
) -> None:
    job = await put(store.log, make, unique="checkout 1")
    token = job.token
    if what == "canceled":
        await store.log.append(make.append(cancels=("checkout 1",)))
    elif what == "replaced":
        await store.log.put_job(
            NewJob(id=make.ids(), kind="enrich", doc=b"{}", unique="checkout 1")
        )
    elif what == "finished":
        await store.log.finish_job(job)
    else:
        token -= 1
    jobs, inbounds = await count(store, "jobs"), await count(store, "inbounds")

    answer = await store.log.append(
        make.append(
            make.event(make.delivery()),
            finishes=(job.id, token),
            jobs=(NewJob(id=make.ids(), kind="x", doc=b""),),
        )
    )

    assert answer.lost
    assert answer.events == ()
    assert await count(store, "events") == await count(store, "deliveries") == 0
    assert (await count(store, "jobs"), await count(store, "inbounds")) == (jobs, inbounds)
    assert not (await store.log.append(make.append(make.event()))).lost


async def test_a_lost_append_leaves_its_facts_untold(store: Store, make: Maker) -> None:
    event = make.event(dedupe_key="checkout 1 abandoned")
    lost = await store.log.append(make.append(event, finishes=("no such job", 1)))
    retold = make.event(dedupe_key="checkout 1 abandoned")

    answer = await store.log.append(make.append(retold))

    assert lost.lost
    assert told(answer) == [(retold.id, False)]


async def test_an_append_puts_and_cancels_jobs(rig: Rig, store: Store, make: Maker) -> None:
    log = store.log

    def job(unique: str | None, doc: bytes = b"") -> NewJob:
        return NewJob(id=make.ids(), kind="defer", doc=doc, unique=unique, due_in=60)

    await log.append(make.append(jobs=(job("a"), job("b"), job(None), job(None))))
    await log.append(make.append(cancels=("a", "unknown"), jobs=(job("b", b"newer"),)))
    # What is canceled was there before: the new one of that name stays.
    await log.append(make.append(cancels=("c",), jobs=(job("c"),)))

    assert await log.claim_jobs(["defer"], 9) == []
    rig.clock.advance(60)
    jobs = await log.claim_jobs(["defer"], 9)
    assert sorted((one.unique or "", one.doc) for one in jobs) == [
        *(("", b""), ("", b"")),
        *(("b", b"newer"), ("c", b"")),
    ]


async def test_a_redelivery_touches_no_job(store: Store, make: Maker) -> None:
    first = make.append(jobs=(NewJob(id=make.ids(), kind="defer", doc=b"1", unique="a"),))
    await store.log.append(first)
    again = make.retold(first)
    again.jobs = (NewJob(id=make.ids(), kind="defer", doc=b"2", unique="b"),)
    again.cancels = ("a",)

    await store.log.append(again)

    [job] = await store.log.claim_jobs(["defer"], 9)
    assert (job.unique, job.doc) == ("a", b"1")


# name, weight, seconds after the order was paid (weight 50) -> superseded?
SUPERSEDED = {
    "earlier and lighter": ("order.pending", 20, -60, True),
    "at the same time": ("order.pending", 20, 0, True),
    "later, though lighter": ("order.pending", 20, 1, False),
    "as heavy": ("order.paid", 50, -60, False),
    "heavier": ("order.refunded", 90, -60, False),
    "without a weight": ("order.custom", None, -60, False),
    "another family": ("shipment.created", 10, -60, False),
    "a name that begins alike": ("orders.pending", 20, -60, False),
}


@pytest.mark.parametrize("together", [False, True], ids=["after", "in one request"])
@pytest.mark.parametrize("case", SUPERSEDED.values(), ids=SUPERSEDED)
async def test_superseded_events(
    store: Store, make: Maker, case: tuple[str, int | None, int, bool], together: bool
) -> None:
    name, weight, seconds, superseded = case
    noon = make.clock.now
    paid = make.event(name="order.paid", key="1", weight=50, occurred_at=noon)
    other = make.event(
        name=name, key="1", weight=weight, occurred_at=noon + seconds * SECOND, dedupe_key="x"
    )
    if together:
        answer = await store.log.append(make.append(paid, other))
    else:
        await store.log.append(make.append(paid))
        answer = await store.log.append(make.append(other))

    assert answer.events[-1].superseded is superseded
    assert await count(store, "events", f"id = '{other.id}' AND superseded = {int(superseded)}")


async def test_events_are_superseded_by_their_own_kind_only(store: Store, make: Maker) -> None:
    await store.log.append(make.append(make.event(key="1", weight=50)))
    early = {"name": "order.pending", "weight": 20, "occurred_at": 0}
    answers = [
        await store.log.append(make.append(make.event(key="2", **early))),
        await store.log.append(make.append(make.event(key="1", **early), installation_id="b")),
        await store.log.append(make.append(make.event(key="1", **early), installation_id=None)),
        await store.log.append(make.append(make.event(key="1", **early))),
    ]

    assert [answer.events[0].superseded for answer in answers] == [False, False, False, True]


@pytest.mark.parametrize("skip", [False, True])
async def test_superseded_events_may_go_to_no_sink(store: Store, make: Maker, skip: bool) -> None:
    await store.log.append(make.append(make.event(key="1", weight=50)))
    late = make.event(make.delivery(), key="1", name="order.pending", weight=20)

    answer = await store.log.append(make.append(late, skip_superseded=skip))

    assert answer.events[0].superseded
    assert await count(store, "events") == 2
    assert await count(store, "deliveries") == (0 if skip else 1)
