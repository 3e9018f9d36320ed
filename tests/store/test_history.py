"""What happened, read back: every filter, every page, nothing of others."""

from typing import Any

import pytest

from gateway.store.base import Append, Store
from gateway.store.history import History
from gateway.store.inbound_history import LISTED_BODY
from gateway.store.rows import Wanted
from gateway.store.scan import first_id
from tests.store.rigs import Rig
from tests.store.rows import NOON, SECOND, Clock, Maker, attempt, claim_all, delivered, failed

TENANT, INSTANCE = "default", "loja-1"
HOUR = 3600 * SECOND


@pytest.fixture
def history(store: Store) -> History:
    return History(store.database)


@pytest.fixture(params=[(10_000, 500), (10_000, 1), (0, 500)], ids=["few", "chunks", "many"])
def amount(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether what is unfinished counts as few, and how much of it is looked at in one go."""
    few, chunk = request.param
    monkeypatch.setattr("gateway.store.scan.FEW", few)
    monkeypatch.setattr("gateway.store.scan.CHUNK", chunk)


async def found(history: History, **wanted: Any) -> list[str]:
    """The ids of the events that are wanted."""
    page = await history.events(
        Wanted(tenant=TENANT, **wanted),
        limit=100,
        below=None,
    )
    return [row.event.id for row in page]


async def test_the_newest_event_comes_first(store: Store, history: History, make: Maker) -> None:
    ids = [(await store.log.append(make.sent("a"))).events[0].id for _ in range(3)]
    assert await found(history) == ids[::-1]


FILTERS = {
    "instance": ({"instance": "loja-2"}, {}),
    "installation_id": ({"installation_id": "other"}, {}),
    "driver": ({"driver": "hotmart"}, {}),
    "name": ({}, {"name": "order.shipped"}),
    "key": ({}, {"key": "order-7"}),
}


@pytest.mark.parametrize("name", FILTERS)
async def test_events_are_found_by(store: Store, history: History, make: Maker, name: str) -> None:
    of_append, of_event = FILTERS[name]
    wanted = make.append(make.event(make.delivery(), **of_event), **of_append)
    for item in (make.sent("a"), wanted, make.sent("a")):
        await store.log.append(item)

    [value] = (of_append | of_event).values()
    assert await found(history, **{name: value}) == [wanted.events[0].id]
    assert await found(history, **{name: "nothing"}) == []
    assert len(await found(history)) == 3


async def test_filters_hold_together(store: Store, history: History, make: Maker) -> None:
    await store.log.append(make.append(make.event(key="k"), instance="loja-2"))
    both = make.append(make.event(key="k"))
    await store.log.append(both)
    await store.log.append(make.append(make.event(key="other")))
    assert await found(history, key="k", instance=INSTANCE) == [both.events[0].id]


async def test_others_see_nothing(store: Store, history: History, make: Maker) -> None:
    item = make.sent("a")
    await store.log.append(item)
    [row] = await history.events(Wanted(tenant=TENANT), limit=9, below=None)
    event, delivery = row.event.id, row.deliveries[0].id
    assert item.inbound

    for tenant, instances in (("other", None), (TENANT, frozenset({"loja-2"})), (TENANT, ())):
        wanted = Wanted(tenant=tenant, instances=instances)
        assert not await history.events(wanted, limit=9, below=None)
        assert not await history.inbounds(wanted, limit=9, below=None)
        assert not await history.deliveries(wanted, limit=9, below=None)
        assert await history.event(tenant, event, instances) is None
        assert await history.inbound(tenant, item.inbound.id, instances) is None
        assert await history.delivery(tenant, delivery, instances) is None
    for allowed in (frozenset({INSTANCE}), frozenset({INSTANCE, "loja-2"})):
        wanted = Wanted(tenant=TENANT, instances=allowed)
        assert await history.event(TENANT, event, allowed)
        assert len(await history.events(wanted, limit=9, below=None)) == 1
        assert len(await history.inbounds(wanted, limit=9, below=None)) == 1
        assert len(await history.deliveries(wanted, limit=9, below=None)) == 1


@pytest.mark.usefixtures("amount")
async def test_the_status_of_an_event_follows_its_deliveries(
    store: Store, history: History, make: Maker
) -> None:
    silent, sent = make.append(make.event()), make.sent("a", "b")
    await store.log.append(silent)
    await store.log.append(sent)
    assert await found(history, status="dispatched") == [silent.events[0].id]
    assert await found(history, status="pending") == [sent.events[0].id]

    one, two = await claim_all(store.log, "a", "b")
    await store.log.settle([delivered(one, attempt=attempt())])
    assert await found(history, status="pending") == [sent.events[0].id]
    await store.log.settle([failed(two, "dead")])
    assert await found(history, status="pending") == []
    assert set(await found(history, status="dispatched")) == {
        i.events[0].id for i in (silent, sent)
    }
    row = await history.event(TENANT, sent.events[0].id)
    assert row
    assert (row.status, [d.progress for d in row.deliveries]) == (
        "dispatched",
        ["succeeded", "dead"],
    )
    assert await found(history, status="enriching") == []


async def test_superseded_events_are_found(store: Store, history: History, make: Maker) -> None:
    late = make.append(make.event(make.delivery(), key="k", name="order.pending", weight=20))
    await store.log.append(make.append(make.event(key="k", weight=50)))
    await store.log.append(late)
    assert await found(history, status="superseded") == [late.events[0].id]
    assert late.events[0].id not in await found(history, status="pending")


async def test_the_last_dispatch_is_the_one_tried_last(
    store: Store, history: History, make: Maker
) -> None:
    item = make.sent("a", "b", "c")
    await store.log.append(item)
    row = await history.event(TENANT, item.events[0].id)
    assert row
    assert row.last_dispatch is None

    one, two = await claim_all(store.log, "a", "b")
    await store.log.settle([failed(one, at=NOON + 9), delivered(two, attempt=attempt(at=NOON + 5))])
    row = await history.event(TENANT, item.events[0].id)
    assert row
    assert row.last_dispatch
    assert (row.last_dispatch.id, row.last_dispatch.attempted_at) == (one.id, NOON + 9)
    assert (row.last_dispatch.status, row.last_dispatch.progress) == (503, "retrying")


async def test_time_limits_exclude_their_ends(
    store: Store, history: History, make: Maker, clock: Clock
) -> None:
    ids = []
    for _ in range(4):
        ids.append((await store.log.append(make.sent("a"))).events[0].id)
        clock.advance(3 * 3600)
    times = [NOON + n * 3 * HOUR for n in range(4)]

    assert await found(history, after=times[0], before=times[3]) == [ids[2], ids[1]]
    assert await found(history, after=times[0] - 1, before=times[1] + 1) == [ids[1], ids[0]]
    assert await found(history, after=times[3]) == []
    assert await found(history, before=times[0]) == []
    wanted = Wanted(tenant=TENANT, after=times[0], before=times[3])
    assert len(await history.inbounds(wanted, limit=9, below=None)) == 2
    assert len(await history.deliveries(wanted, limit=9, below=None)) == 2


async def test_a_deferred_event_is_found_at_the_time_it_came(
    store: Store, history: History, make: Maker, clock: Clock
) -> None:
    clock.advance(3600)
    item = make.append(make.event(), received_at=NOON)  # its id is an hour younger
    await store.log.append(item)
    assert await found(history, before=NOON + SECOND) == [item.events[0].id]


@pytest.mark.parametrize("what", ["events", "inbounds", "deliveries"])
@pytest.mark.parametrize("windows", [(2_000,), (3, 4)])
async def test_pages_hold_everything_once(
    store: Store,
    history: History,
    make: Maker,
    *,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    windows: tuple[int, ...],
) -> None:
    monkeypatch.setattr("gateway.store.scan.WINDOWS", windows)
    for n in range(20):
        await store.log.append(make.append(make.event(make.delivery()), driver=f"d{n % 5}"))
    wanted = Wanted(tenant=TENANT) if what == "deliveries" else Wanted(tenant=TENANT, driver="d3")
    everything = await getattr(history, what)(wanted, limit=100, below=None)
    seen, below, pages = list(everything), everything.below, 0
    while below is not None:
        page = await getattr(history, what)(wanted, limit=100, below=below)
        seen += page
        below = page.below
    assert len(seen) == (20 if what == "deliveries" else 4)

    small, below = [], None
    while pages == 0 or below is not None:
        page = await getattr(history, what)(wanted, limit=2, below=below)
        assert len(page) <= 2
        small += page
        below, pages = page.below, pages + 1
    assert small == seen


async def test_the_last_page_says_so(store: Store, history: History, make: Maker) -> None:
    for _ in range(4):
        await store.log.append(make.sent("a"))
    page = await history.events(Wanted(tenant=TENANT), limit=2, below=None)
    assert page.below
    page = await history.events(Wanted(tenant=TENANT), limit=2, below=page.below)
    assert (len(page), page.below) == (2, None)
    page = await history.events(Wanted(tenant=TENANT), limit=9, below=1 << 80)
    assert len(page) == 4


async def test_a_delivery_shows_its_attempts(store: Store, history: History, make: Maker) -> None:
    await store.log.append(make.sent("a"))
    [leased] = await claim_all(store.log, "a")
    first = failed(leased)
    assert first.attempt
    first.attempt.request_headers = {"user-agent": "x"}
    first.attempt.response_body = b"busy"
    await store.log.settle([first])

    got = await history.delivery(TENANT, leased.id)
    assert got
    row, [only] = got
    assert (row.progress, row.attempts, row.reason) == ("retrying", 1, "no luck")
    assert (row.event_id, row.event_name) == (leased.event.id, "order.paid")
    assert (only.number, only.outcome, only.status, only.body) == (1, "failed", 503, b"busy")
    assert only.exchange == {"request_headers": {"user-agent": "x"}, "response_headers": {}}
    assert await history.delivery(TENANT, "nothing") is None


@pytest.mark.usefixtures("amount")
async def test_deliveries_are_found_by_state_sink_and_event(
    store: Store, history: History, make: Maker
) -> None:
    for _ in range(4):
        await store.log.append(make.sent("a"))
    last = make.sent("b", name="order.shipped")
    await store.log.append(last)
    dead, retrying, *_ = await store.log.claim({"a": 3})
    await store.log.settle([failed(dead, "dead"), failed(retrying)])

    async def ids(**wanted: Any) -> list[str]:
        page = await history.deliveries(
            Wanted(tenant=TENANT, **wanted),
            limit=9,
            below=None,
        )
        assert [row.id for row in page] == sorted((row.id for row in page), reverse=True)
        return [row.id for row in page]

    assert len(await ids()) == 5
    assert await ids(status="dead") == [dead.id]
    assert await ids(status="dead", sink_ids=["a", "b"]) == [dead.id]
    assert await ids(status="dead", sink_ids=["b"]) == []
    assert await ids(status="dead", sink_ids=[]) == []
    assert await ids(status="retrying") == [retrying.id]
    assert len(await ids(status="delivering")) == 1
    pending = await ids(status="pending")
    assert len(pending) == 2
    page = await history.deliveries(Wanted(tenant=TENANT, status="pending"), limit=1, below=None)
    assert [row.id for row in page] == pending[:1]
    wanted = Wanted(tenant=TENANT, status="pending")
    page = await history.deliveries(wanted, limit=9, below=page.below)
    assert [row.id for row in page] == pending[1:]
    assert await ids(status="succeeded") == []
    assert len(await ids(sink_ids=["b"])) == 1
    assert len(await ids(name="order.shipped")) == 1
    assert await ids(event_id=last.events[0].id) == await ids(sink_ids=["b"])
    assert await ids(event_id="nothing") == []


async def test_inbounds_are_found_by_what_became_of_them(
    store: Store, history: History, make: Maker
) -> None:
    body = bytes(range(256)) * (LISTED_BODY // 256 + 1)
    stuck = make.append(inbound=make.inbound(outcome="quarantined", reason="odd", body=body))
    plain = make.sent("a")
    for item in (stuck, plain):
        await store.log.append(item)
    assert stuck.inbound
    assert plain.inbound

    async def outcomes(outcome: str, **wanted: Any) -> list[str]:
        page = await history.inbounds(
            Wanted(tenant=TENANT, outcome=outcome, **wanted),
            limit=9,
            below=None,
        )
        return [one.row.id for one in page]

    assert await outcomes("quarantined") == [stuck.inbound.id]
    assert await outcomes("quarantined", driver="shopify") == [stuck.inbound.id]
    assert await outcomes("quarantined", driver="hotmart") == []
    assert await outcomes("enriching") == []
    assert await outcomes("accepted") == [plain.inbound.id]
    assert await outcomes("accepted", key=plain.inbound.delivery_key) == [plain.inbound.id]

    [listed] = await history.inbounds(
        Wanted(tenant=TENANT, outcome="quarantined"), limit=1, below=None
    )
    assert (listed.row.body, listed.size) == (body[:LISTED_BODY], len(body))
    whole = await history.stored_inbound(TENANT, stuck.inbound.id)
    assert whole
    assert (whole.body, whole.reason, whole.outcome) == (body, "odd", "quarantined")
    told = await history.inbound(TENANT, plain.inbound.id)
    assert told
    assert told.events == [(plain.events[0].id, "order.paid", 1)]


async def test_a_tail_goes_on_where_it_was(store: Store, history: History, make: Maker) -> None:
    items: list[Append] = [make.sent("a") for _ in range(5)]
    for item in items:
        await store.log.append(item)
        await store.log.append(make.append(make.event(), instance="loja-2"))

    first = await history.tail(TENANT, INSTANCE, 0, 2)
    rest = await history.tail(TENANT, INSTANCE, first[-1].seq, 9)
    assert [e.id for e in first + rest] == [item.events[0].id for item in items]
    assert await history.tail(TENANT, INSTANCE, rest[-1].seq, 9) == []
    assert await history.tail(TENANT, INSTANCE, 0, 9, below=first[1].seq) == first[:1]
    assert rest[-1].data == items[-1].events[0].data


async def test_a_sink_tells_how_it_is(store: Store, history: History, make: Maker) -> None:
    assert (await history.sink_status(TENANT, INSTANCE, "a")).backlog == 0
    for _ in range(6):
        await store.log.append(make.sent("a", "b"))
    one, two, three = await store.log.claim({"a": 3})
    await store.log.settle(
        [
            delivered(one, attempt=attempt(at=NOON + 1, outcome="succeeded")),
            failed(two, "dead", at=NOON + 2),
            failed(three, at=NOON + 3),
        ]
    )

    told = await history.sink_status(TENANT, INSTANCE, "a")
    assert (told.backlog, told.retrying, told.dead) == (4, 1, 1)
    assert told.attempts == {"succeeded": 1, "failed": 2}
    assert (told.last_success_at, told.last_error_at) == (NOON + 1, NOON + 3)
    assert (told.last_error, told.oldest_waiting_at) == ("no luck", NOON)


@pytest.mark.parametrize("odd", ["nul\0", "half\ud800", "%", "'", "\\", "x" * 5000])
async def test_odd_words_find_nothing(history: History, odd: str) -> None:
    wanted = Wanted(tenant=TENANT, name=odd, key=odd, instance=odd, driver=odd)
    assert not await history.events(wanted, limit=9, below=None)
    assert not await history.inbounds(wanted, limit=9, below=odd)
    assert not await history.deliveries(wanted, limit=9, below=odd)
    assert await history.event(TENANT, odd) is None
    assert await history.delivery(odd, odd) is None


async def test_others_commit_nothing_behind_the_horizon(
    rig: Rig, store: Store, make: Maker
) -> None:
    assert await store.database.horizon() == 0
    seqs = [(await store.log.append(make.sent("a"))).events[0].seq for _ in range(3)]
    assert await store.database.horizon() == seqs[-1]


def test_ids_are_as_old_as_they_say(make: Maker) -> None:
    assert first_id(NOON) <= make.ids() < first_id(NOON + 1000)
    assert first_id(-1) == "0" * 26
    assert first_id(1 << 80)[0] == "7"
