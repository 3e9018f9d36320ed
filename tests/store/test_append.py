"""What one request leaves behind: once, whole, in order, byte for byte."""

import asyncio
import random

import pytest

from gateway.store.base import EventLog, Store
from tests.store.rigs import Rig
from tests.store.rows import INSTALLATION, NOON, Maker, claim_all, count, states, told


async def test_what_is_appended_is_there(store: Store, make: Maker) -> None:
    item = make.sent("sink-a", "sink-b", weight=50, provider_event_id="p-1", test=True, version=3)
    [event], inbound = item.events, item.inbound
    assert inbound

    answer = await store.log.append(item)

    assert (answer.inbound_id, answer.duplicate, answer.lost) == (inbound.id, False, False)
    assert [(t.id, t.name, t.duplicate, t.superseded) for t in answer.events] == [
        (event.id, "order.paid", False, False)
    ]
    seq = answer.events[0].seq
    assert await store.database.fetch(
        "SELECT id, tenant, instance, installation_id, driver, received_at, method, query, headers,"
        " body, outcome, reason, delivery_key FROM inbounds"
    ) == [
        (
            *(inbound.id, "default", "loja-1", INSTALLATION, "shopify", NOON, "POST"),
            *(b"{}", b"{}", b"{}", "accepted", None, inbound.delivery_key),
        )
    ]
    assert await store.database.fetch(
        "SELECT seq, id, tenant, instance, installation_id, driver, name, key, dedupe_key, weight,"
        " occurred_at, received_at, provider_event, provider_event_id, inbound_id, version, test,"
        " superseded, data FROM events"
    ) == [
        (
            *(seq, event.id, "default", "loja-1", INSTALLATION, "shopify", "order.paid", event.key),
            *(event.dedupe_key, 50, NOON, NOON, "orders/paid", "p-1", inbound.id, 3, 1, 0),
            event.data,
        )
    ]
    assert await store.database.fetch(
        "SELECT id, seq, sink_id, tenant, instance, okey, state, attempts, replay, next_at, owner,"
        " token, created_at, updated_at, status, reason FROM deliveries ORDER BY sink_id"
    ) == [
        (
            *(d.id, seq, d.sink_id, "default", "loja-1", None, "pending", 0, 0, NOON, None, 0),
            *(NOON, NOON, None, None),
        )
        for d in event.deliveries
    ]


async def test_an_ignored_request_leaves_its_inbound_alone(store: Store, make: Maker) -> None:
    inbound = make.inbound(outcome="ignored", reason="a ping")

    answer = await store.log.append(make.append(inbound=inbound))

    assert (answer.inbound_id, answer.events) == (inbound.id, ())
    rows = await store.database.fetch("SELECT id, outcome, reason, events FROM inbounds")
    assert rows == [(inbound.id, "ignored", "a ping", "[]")]


async def test_a_redelivery_gets_the_first_answer(store: Store, make: Maker) -> None:
    first = make.sent("sink-a", "sink-b")
    answer = await store.log.append(first)
    again = await store.log.append(make.retold(first))

    assert (again.inbound_id, again.duplicate) == (answer.inbound_id, True)
    assert told(again) == [(first.events[0].id, True)]
    assert again.events[0].seq == answer.events[0].seq
    assert await count(store, "inbounds") == await count(store, "events") == 1
    assert await count(store, "deliveries") == 2


@pytest.mark.parametrize("copies", [2, 100])
async def test_copies_in_one_batch_are_one_event(store: Store, make: Maker, copies: int) -> None:
    first = make.sent("sink-a")
    items = [first, *(make.retold(first) for _ in range(copies - 1))]

    answers = await asyncio.gather(*map(store.log.append, items))

    assert sorted(answer.duplicate for answer in answers) == [False] + [True] * (copies - 1)
    assert len({answer.inbound_id for answer in answers}) == 1
    assert len({(t.id, t.seq) for answer in answers for t in answer.events}) == 1
    assert await count(store, "inbounds") == await count(store, "events") == 1
    assert await count(store, "deliveries") == 1


async def test_copies_at_two_processes_are_one_event(rig: Rig, store: Store, make: Maker) -> None:
    other = await rig.neighbour(store)
    firsts = [make.sent("sink-a") for _ in range(40)]
    copies = [make.retold(item) for item in reversed(firsts)]

    answers = await asyncio.gather(
        *map(store.log.append, firsts), *map(other.append, copies), return_exceptions=True
    )

    assert [a for a in answers if isinstance(a, BaseException)] == []
    assert await count(store, "inbounds") == await count(store, "events") == 40
    assert await count(store, "deliveries") == 40


async def test_delivery_keys_are_the_installations_own(store: Store, make: Maker) -> None:
    answers = [
        await store.log.append(make.append(key="same")),
        await store.log.append(make.append(key="same", installation_id="another")),
        await store.log.append(make.append(key="same", installation_id=None)),
        await store.log.append(make.append(key="same", installation_id=None, instance="loja-2")),
        await store.log.append(make.append(key="same", installation_id=None, tenant="other")),
    ]

    assert [answer.duplicate for answer in answers] == [False] * 5
    assert (await store.log.append(make.append(key="same", installation_id=None))).duplicate


async def test_a_fact_told_by_another_delivery_is_known(store: Store, make: Maker) -> None:
    first = make.sent("sink-a", dedupe_key="order 1 paid")
    second = make.sent("sink-a", dedupe_key="order 1 paid")
    before = await store.log.append(first)
    after = await store.log.append(second)

    assert second.inbound
    assert (after.inbound_id, after.duplicate) == (second.inbound.id, False)
    assert told(after) == [(first.events[0].id, True)]
    assert after.events[0].seq == before.events[0].seq
    assert await count(store, "inbounds") == 2
    assert await count(store, "events") == await count(store, "deliveries") == 1


async def test_a_fact_is_a_name_and_a_key_of_one_installation(store: Store, make: Maker) -> None:
    answers = [
        await store.log.append(make.append(make.event(dedupe_key="order 1"))),
        await store.log.append(make.append(make.event(dedupe_key="order 1", name="order.failed"))),
        await store.log.append(make.append(make.event(dedupe_key="order 1"), installation_id="b")),
    ]

    assert [answer.events[0].duplicate for answer in answers] == [False] * 3


async def test_parallel_deliveries_of_one_fact_are_one_event(store: Store, make: Maker) -> None:
    items = [make.sent("sink-a", dedupe_key="order 1 paid") for _ in range(50)]

    answers = await asyncio.gather(*map(store.log.append, items))

    assert sorted(answer.events[0].duplicate for answer in answers) == [False] + [True] * 49
    assert len({answer.events[0].id for answer in answers}) == 1
    assert await count(store, "inbounds") == 50
    assert await count(store, "events") == await count(store, "deliveries") == 1


async def test_a_fact_twice_in_one_request_is_one_event(store: Store, make: Maker) -> None:
    events = [make.event(make.delivery(), dedupe_key="order 1 paid") for _ in range(2)]

    answer = await store.log.append(make.append(*events))

    assert told(answer) == [(events[0].id, False), (events[0].id, True)]
    assert await count(store, "deliveries") == 1


async def test_seq_grows_with_time_and_inside_a_request(store: Store, make: Maker) -> None:
    seqs: list[int] = []
    for _ in range(5):
        events = (make.event(), make.event(), make.event())
        seqs += [t.seq for t in (await store.log.append(make.append(*events))).events]
    parallel = await asyncio.gather(*(store.log.append(make.sent()) for _ in range(50)))
    later = (await store.log.append(make.sent())).events[0].seq

    assert seqs == sorted(set(seqs))
    between = {answer.events[0].seq for answer in parallel}
    assert len(between) == 50
    assert seqs[-1] < min(between)
    assert max(between) < later


async def test_seq_never_comes_back(rig: Rig, make: Maker) -> None:
    store = await rig.open()
    last = (await store.log.append(make.sent())).events[0].seq
    await store.database.write("DELETE FROM events")
    await store.close()

    store = await rig.open()
    assert (await store.log.append(make.sent())).events[0].seq > last


BODIES = {
    "every byte": bytes(range(256)),
    "NUL": b"\0\0a\0",
    "not UTF-8": b"\xff\xfe\xed\xa0\x80",
    "unicode": '{"nome":"Conceição 🛍️ 数"}'.encode(),
    "long numbers": b'{"id":123456789012345678901234567890,"total":10.00}',
    "null": b"null",
    "empty": b"",
    "2 MB": random.Random(1).randbytes(2 << 20),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_bytes_come_back_as_they_went(store: Store, make: Maker, body: bytes) -> None:
    inbound = make.inbound(body=body, headers=body, query=body)
    told = body or b'""'  # data is JSON, which is never empty
    event = make.event(make.delivery("sink-a"), data=told)
    await store.log.append(make.append(event, inbound=inbound))

    assert await store.database.fetch("SELECT body, headers, query FROM inbounds") == [(body,) * 3]
    [leased] = await claim_all(store.log, "sink-a")
    assert leased.event.data == told


HOSTILE = ["a\0b", "\ud800", "😀\udfff", "\0", "'; DROP TABLE events; --", "\u202e", "k" * 5000]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
async def test_no_text_of_a_stranger_stops_it(store: Store, make: Maker, text: str) -> None:
    event = make.event(
        make.delivery("sink-a", ordered=True),
        key=text,
        dedupe_key=text,
        provider_event=text,
        provider_event_id=text,
        weight=50,
    )
    item = make.append(event, inbound=make.inbound(delivery_key=text, reason=text))

    answer, neighbour = await asyncio.gather(
        store.log.append(item), store.log.append(make.sent("sink-b"))
    )

    assert not answer.events[0].duplicate
    assert not neighbour.events[0].duplicate
    assert (await store.log.append(make.retold(item))).duplicate
    [leased] = await claim_all(store.log, "sink-a", ordered=True)
    assert leased.event.key == text.replace("\0", "\ufffd").replace("\ud800", "\ufffd").replace(
        "\udfff", "\ufffd"
    )


async def test_what_cannot_be_stored_fails_alone(store: Store, make: Maker) -> None:
    taken = make.sent("sink-a")
    await store.log.append(taken)
    good = [make.sent("sink-a") for _ in range(20)]
    clash = make.append(make.event(id=taken.events[0].id))
    wrong = make.append(make.event(weight="heavy"))
    batch = [*good[:10], clash, *good[10:15], wrong, *good[15:]]

    answers = await asyncio.gather(*map(store.log.append, batch), return_exceptions=True)

    failed = [item for item, a in zip(batch, answers, strict=True) if isinstance(a, Exception)]
    assert failed == [clash, wrong]
    assert await count(store, "events") == await count(store, "inbounds") == 21
    assert not (await store.log.append(make.sent())).duplicate


async def test_a_caller_who_leaves_does_not_undo_it(store: Store, make: Maker) -> None:
    item = make.sent("sink-a")
    caller = asyncio.create_task(store.log.append(item))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller

    assert (await store.log.append(make.retold(item))).duplicate
    assert await count(store, "events") == await count(store, "deliveries") == 1


async def test_a_restart_keeps_everything(rig: Rig, make: Maker) -> None:
    store = await rig.open()
    items = [make.sent("sink-a", data=b"%d" % n) for n in range(300)]
    answers = await asyncio.gather(*map(store.log.append, items))
    await store.close()

    store = await rig.open()
    again = await asyncio.gather(*map(store.log.append, map(make.retold, items)))
    assert all(answer.duplicate for answer in again)
    assert [a.events[0].id for a in again] == [a.events[0].id for a in answers]
    claimed = await claim_all(store.log, "sink-a")
    assert [one.event.data for one in claimed] == [item.events[0].data for item in items]


async def test_deliveries_born_leased_are_not_claimed(
    log: EventLog, store: Store, make: Maker
) -> None:
    item = make.sent("sink-a", leased=True)
    await log.append(item)
    [delivery] = item.events[0].deliveries

    assert await claim_all(log, "sink-a") == []
    assert await states(store) == {delivery.id: "leased"}
