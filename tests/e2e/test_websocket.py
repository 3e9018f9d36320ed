"""Plain websockets on the real program: live, replayed, refused, closed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.deliveries import SECRET, kiwify, post_all
from tests.e2e.program import KEY, Program, program
from tests.e2e.sockets import Listener, address, listening, refusal
from tests.e2e.test_main_path import settled
from tests.sinks.receiver import Receiver, until


async def enable(program: Program, instance: str = "loja-1", **more: Any) -> Any:
    answer = await program.call("POST", f"/websocket/set/{instance}", {"enabled": True} | more)
    assert answer.status == 201, answer.body
    return answer.json


async def configured(program: Program) -> None:
    """Wait until the sink is known to a process that did not configure it."""
    async with asyncio.timeout(20):
        while not (await program.call("GET", "/websocket/find/loja-1")).json["enabled"]:
            await asyncio.sleep(0.02)


@pytest.fixture
async def shop(comporta: Program) -> str:
    """The ingest URL of a shop whose instance has a websocket sink."""
    await enable(comporta)
    return str((await comporta.install("kiwify", "loja-1", SECRET))["ingest_url"])


@pytest.fixture
async def pair(tmp_path: Path, postgres_db: str) -> AsyncIterator[tuple[Program, Program]]:
    """Two programs, as on two machines, on one PostgreSQL."""
    async with contextlib.AsyncExitStack() as stack:
        both = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            running = await stack.enter_async_context(program(tmp_path / name, STORE=postgres_db))
            await running.start()
            both.append(running)
        yield both[0], both[1]


async def test_events_arrive_as_they_happen(comporta: Program, shop: str) -> None:
    async with listening(comporta) as client:
        answer = await kiwify(1).post(comporta, shop)
        (frame,) = await client.heard(1)
    (told,) = answer.json["events"]
    event = await comporta.data("GET", f"/processing/events/{told['id']}")
    assert frame == {
        "event": "order.paid",
        "instance": "loja-1",
        "data": event["data"],
        "id": told["id"],
        "seq": event["seq"],
        "occurred_at": event["occurred_at"],
    }


async def test_a_delivery_to_listeners_is_done_at_once(comporta: Program, shop: str) -> None:
    answer = await kiwify(1).post(comporta, shop)
    event = await settled(comporta, answer.json["events"][0]["id"])
    (dispatch,) = event["dispatches"]
    assert (dispatch["sink"], dispatch["status"]) == ("websocket", "succeeded")


async def test_under_load_nothing_is_missed_or_told_twice(comporta: Program, shop: str) -> None:
    """One client stays; one comes and goes and resumes where it was; one comes late for it all."""
    async with listening(comporta) as faithful:
        loading = asyncio.create_task(post_all(comporta, shop, range(600), at_once=20))
        await faithful.heard(1)
        first = faithful.ids[0]
        restless: list[str] = [first]
        while not loading.done():
            async with listening(comporta, since=restless[-1]) as visit:
                await until(lambda visit=visit: len(visit.frames) >= 40 or loading.done())  # type: ignore[misc]  # a default argument binds it
            restless += visit.ids
        answered = await loading
        assert len(answered) == 600
        await faithful.heard(600)
        async with listening(comporta, since=restless[-1]) as visit:
            await until(lambda: len(restless) + len(visit.ids) >= 600)
            restless += visit.ids
        async with listening(comporta, since=first) as late:
            await late.heard(599)
    assert sorted(faithful.ids) == sorted(answered.values())
    assert restless == faithful.ids
    assert late.ids == faithful.ids[1:]
    seqs = [frame["seq"] for frame in faithful.frames]
    assert seqs == sorted(seqs)


async def test_only_what_the_sink_and_the_client_want(comporta: Program) -> None:
    await enable(comporta, events=["messages.*", "CONNECTION_UPDATE"], filter="data.n > `1`")
    posts = [("messages.upsert", 1), ("messages.upsert", 2), ("call", 3), ("connection.update", 4)]
    async with (
        listening(comporta) as everything,
        listening(comporta, events="connection-update, order.*") as some,
    ):
        for name, number in posts:
            body = {"event": name, "data": {"n": number}}
            answer = await comporta.call("POST", "/webhook/evolution/loja-1", body)
            assert answer.status == 200, answer.body
        frames = await everything.heard(2)
        await some.heard(1)
    assert [(f["event"], f["data"]["n"]) for f in frames] == [
        ("MESSAGES_UPSERT", 2),
        ("CONNECTION_UPDATE", 4),
    ]
    assert [f["data"]["n"] for f in some.frames] == [4]


async def test_names_are_upstreams_for_its_clients(comporta: Program) -> None:
    nested = {"websocket": {"enabled": True, "events": ["GROUP_PARTICIPANTS_UPDATE"]}}
    assert (await comporta.call("POST", "/websocket/set/loja-1", nested)).status == 201
    async with listening(comporta) as client:
        body = {"event": "GROUP_PARTICIPANTS_UPDATE", "data": {"id": "1"}}
        await comporta.call("POST", "/webhook/evolution/loja-1", body)
        (frame,) = await client.heard(1)
    assert frame["event"] == "group-participants.update"


async def test_a_test_event_and_a_replay_are_seen(comporta: Program, shop: str) -> None:
    event_id = (await kiwify(1).post(comporta, shop)).json["events"][0]["id"]
    async with listening(comporta) as client:
        tested = await comporta.call("POST", "/websocket/test/loja-1")
        assert tested.json["success"]
        await client.heard(1)
        path = f"/processing/events/{event_id}/replay"
        assert (await comporta.call("POST", path, {"sinks": ["websocket"]})).status == 202
        await client.heard(2)
    assert client.ids == [tested.json["event_id"], event_id]


async def test_the_connection_is_compressed_and_counted(comporta: Program, shop: str) -> None:
    asked = address(comporta, "loja-1", apikey=KEY)
    async with comporta.session.ws_connect(asked, compress=15) as socket:
        assert socket.compress
        assert await comporta.metric("comporta_websocket_connections") == 1
        await kiwify(1).post(comporta, shop)
        assert (await socket.receive_json())["event"] == "order.paid"
        assert await comporta.metric("comporta_websocket_events_total") == 1
    await comporta.reaches("comporta_websocket_connections", 0)


async def test_the_key_may_be_in_a_header(comporta: Program, shop: str) -> None:
    for header in ({"apikey": KEY}, {"Authorization": f"Bearer {KEY}"}):
        async with comporta.session.ws_connect(address(comporta, "loja-1"), headers=header) as up:
            assert not up.closed


async def test_what_is_refused_and_why(embedded: Program) -> None:
    await embedded.start(CORS_ORIGINS="https://shop.example.com")
    await enable(embedded)
    await embedded.call("POST", "/instances", {"name": "sem-sink"})
    made = {"name": "k", "permissions": ["EVENTS_READ"], "instance": "outra"}
    foreign = (await embedded.data("POST", "/api-keys", made))["key"]
    made = {"name": "k", "permissions": ["SINKS_MANAGE"]}
    unable = (await embedded.data("POST", "/api-keys", made))["key"]
    key = {"apikey": KEY}
    cases: list[tuple[str, dict[str, str], int, str]] = [
        ("loja-1", {}, 401, "unauthorized"),
        ("nobody", {"apikey": "cmp_wrong"}, 401, "unauthorized"),
        ("loja-1", {"apikey": unable}, 403, "forbidden"),
        ("loja-1", {"apikey": foreign}, 404, "not_found"),
        ("nobody", key, 404, "not_found"),
        ("..%2f", key, 400, "invalid_instance"),
        ("sem-sink", key, 409, "SINK_NOT_CONFIGURED"),
        ("loja-1", key | {"events": "order.paid,nope"}, 400, "unknown_event"),
        ("loja-1", key | {"since": "01hm6z00000000000000000000"}, 400, "unknown_since"),
    ]
    for instance, query, status, code in cases:
        told, body = await refusal(embedded, instance, query)
        assert (told, body["code"]) == (status, code), (instance, query, body)
    told, body = await refusal(embedded, "loja-1", key, {"Origin": "https://evil.example"})
    assert (told, body["code"]) == (403, "origin_not_allowed")
    plain = await embedded.call("GET", "/ws/loja-1/")
    assert (plain.status, plain.json["code"]) == (400, "upgrade_required")
    for origin in ("https://shop.example.com", embedded.url):
        asked, header = address(embedded, "loja-1", apikey=KEY), {"Origin": origin}
        async with embedded.session.ws_connect(asked, headers=header) as socket:
            assert not socket.closed


async def test_connections_are_limited(embedded: Program) -> None:
    await embedded.start(WEBSOCKET_MAX_CONNECTIONS="3")
    await enable(embedded, max_connections=2)
    await enable(embedded, "loja-2")
    async with listening(embedded), listening(embedded):
        status, body = await refusal(embedded, "loja-1", {"apikey": KEY})
        assert (status, body["error"]) == (429, "Too many requests")
        async with listening(embedded, "loja-2"):
            status, body = await refusal(embedded, "loja-2", {"apikey": KEY})
            assert (status, body["error"]) == (503, "Unavailable")
    await embedded.reaches("comporta_websocket_connections", 0)
    async with listening(embedded):
        assert await embedded.metric("comporta_websocket_connections") == 1


async def test_a_slow_client_is_closed_and_the_others_are_not(embedded: Program) -> None:
    await embedded.start()
    await enable(embedded)
    asked = address(embedded, "loja-1", apikey=KEY)
    async with (
        embedded.session.ws_connect(asked, max_msg_size=0) as slow,
        embedded.session.ws_connect(asked, max_msg_size=0) as quick,
    ):
        eager = Listener(quick)
        reading = asyncio.create_task(eager.listen())
        sent = 150
        for number in range(100, 100 + sent):
            body = {"event": "messages.upsert", "data": {"text": f"{number}" * 100_000}}
            answer = await embedded.call("POST", "/webhook/evolution/loja-1", body)
            assert answer.status == 200, answer.body
        await embedded.reaches('comporta_websocket_closed_total{code="1013"}', 1)
        late = Listener(slow)
        await late.listen()
        assert late.code == 1013
        assert len(late.frames) < sent
        await eager.heard(sent)
        reading.cancel()
        async with embedded.session.ws_connect(
            address(embedded, "loja-1", apikey=KEY, since=late.ids[-1]), max_msg_size=0
        ) as again:
            resumed = Listener(again)
            reading = asyncio.create_task(resumed.listen())
            await resumed.heard(sent - len(late.frames))
            reading.cancel()
    assert late.ids + resumed.ids == eager.ids


async def test_a_client_that_sends_too_much_is_closed(comporta: Program, shop: str) -> None:
    async with listening(comporta) as client:
        await client.socket.send_str("hello, what you send is ignored")
        await kiwify(1).post(comporta, shop)
        await client.heard(1)
        await client.socket.send_str("x" * 70_000)
        assert await client.closed() == 1009


async def test_a_revoked_key_closes_what_it_opened(comporta: Program, shop: str) -> None:
    wish = {"name": "dashboard", "permissions": ["EVENTS_READ"]}
    made = await comporta.data("POST", "/api-keys", wish)
    async with listening(comporta) as other, listening(comporta, key=made["key"]) as client:
        assert (await comporta.call("DELETE", f"/api-keys/{made['id']}")).status == 204
        assert await client.closed() == 4401
        await kiwify(1).post(comporta, shop)
        await other.heard(1)


async def test_disabling_the_sink_and_removing_the_instance_close(
    comporta: Program, shop: str
) -> None:
    async with listening(comporta) as client:
        await enable(comporta, enabled=False)
        assert await client.closed() == 4409
    last = (await kiwify(1).post(comporta, shop)).json["events"][0]["id"]
    await enable(comporta)
    async with listening(comporta) as client:
        await kiwify(2).post(comporta, shop)
        await client.heard(1)
        assert client.ids[0] != last
        removed = await comporta.call("DELETE", "/instances/loja-1?confirm=loja-1")
        assert removed.status == 204
        assert await client.closed() in {4404, 4409}


async def test_stopping_says_good_bye_and_a_restart_resumes(comporta: Program, shop: str) -> None:
    async with listening(comporta) as client:
        await kiwify(1).post(comporta, shop)
        await client.heard(1)
        assert await comporta.end() == 0
        assert await client.closed() == 1001
    await comporta.start()
    await kiwify(2).post(comporta, shop)
    async with listening(comporta, since=client.ids[0]) as again:
        await again.heard(1)
        await kiwify(3).post(comporta, shop)
        await again.heard(2)


async def test_any_process_serves_any_client(pair: tuple[Program, Program]) -> None:
    one, two = pair
    await enable(one)
    shop = (await one.install("kiwify", "loja-1", SECRET))["ingest_url"]
    await configured(two)
    async with listening(one) as here, listening(two) as there:
        by_one, by_two = await asyncio.gather(
            post_all(one, shop, range(150), at_once=10),
            post_all(two, shop.replace(one.url, two.url), range(150, 300), at_once=10),
        )
        await asyncio.gather(here.heard(300), there.heard(300))
        assert here.ids == there.ids
        assert sorted(here.ids) == sorted({**by_one, **by_two}.values())
        tested = (await one.call("POST", "/websocket/test/loja-1")).json
        replayed = f"/processing/events/{here.ids[0]}/replay"
        await asyncio.gather(here.heard(301), there.heard(301))
        await two.call("POST", replayed, {"sinks": ["websocket"]})
        await asyncio.gather(here.heard(302), there.heard(302))
        assert here.ids[300:] == there.ids[300:] == [tested["event_id"], here.ids[0]]
        async with listening(two, since=here.ids[99]) as late:
            await late.heard(200)
            assert late.ids == here.ids[100:300]
        await one.kill()
        await kiwify(999).post(two, shop.replace(one.url, two.url))
        await there.heard(303)


async def test_a_listener_costs_the_other_sinks_nothing(
    comporta: Program, shop: str, receiver: Receiver
) -> None:
    await comporta.webhook("loja-1", receiver.url)
    async with comporta.session.ws_connect(address(comporta, "loja-1", apikey=KEY)):
        answered = await post_all(comporta, shop, range(100))
        await until(lambda: len(receiver.got) >= len(answered) == 100)
