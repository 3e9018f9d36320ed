"""Live push where it is hard: lost hints, slow transactions, a store that goes away, keys that
expire, clients that do not read or never say who they are.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from pydantic import SecretStr

from gateway import push
from gateway.api import socket_io, ws
from gateway.api.times import api_time
from gateway.push_client import MOST_WAITING
from gateway.push_hint import news_hint
from gateway.store.postgres.append_sql import MARK
from tests.api.rig import ADMIN, Api, eventually, serving
from tests.services import Postgres, fresh_database
from tests.sinks.given import an_event
from tests.sinks.receiver import until
from tests.sinks.test_websocket import appended

PLACE = ("default", "loja-1")
# What a Socket.IO client sends to join a namespace.
AUTH = json.dumps({"apikey": ADMIN})
JOIN = f"40/loja-1,{AUTH}"


class Ears:
    """A client's frames, as they come."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, pause: float = 0.0) -> None:
        self.socket, self._pause = socket, pause
        self.frames: list[Any] = []

    @property
    def ids(self) -> list[str]:
        return [frame["id"] for frame in self.frames]

    async def listen(self) -> None:
        async for message in self.socket:
            self.frames.append(json.loads(message.data))
            await asyncio.sleep(self._pause)  # what it does with them takes its time


@contextlib.asynccontextmanager
async def listening(
    api: Api, key: str = ADMIN, pause: float = 0.0, **query: str
) -> AsyncIterator[Ears]:
    target, asked = f"{api.url}/ws/loja-1", {"apikey": key, **query}
    async with api.session.ws_connect(target, params=asked) as socket:
        ears = Ears(socket, pause)
        task = asyncio.create_task(ears.listen())
        yield ears
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def enable(api: Api) -> None:
    assert (await api.post("/websocket/set/loja-1", {})).status == 201


async def send(api: Api, number: int, size: int = 0) -> str:
    data = {"key": {"id": f"M{number}"}, "text": "x" * size}
    body = {"event": "messages.upsert", "data": data}
    answer = await api.post("/webhook/evolution/loja-1", body)
    assert answer.status == 200, answer.body
    return str(answer.body["id"])


async def test_a_lost_hint_is_made_up_for(api: Api) -> None:
    """As when another process stored the event, and its hint never came."""
    await enable(api)
    async with listening(api) as ears:
        event = an_event(1)
        await api.services.store.log.append(appended(event))
        await until(lambda: ears.ids == [event.id])


async def test_missed_hints_are_made_up_for_at_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "LOOK_EVERY", 1000.0)
    await enable(api)
    async with listening(api) as ears:
        event = an_event(1)
        await api.services.store.log.append(appended(event))
        api.services.hub.heard("events", "")
        await until(lambda: ears.ids == [event.id])
        api.services.hub.heard("config", "")
        api.services.hub.heard("events", news_hint(("other", "instance"), 5))


ROW = """
INSERT INTO events (seq, id, tenant, instance, driver, name, key, dedupe_key, occurred_at,
    received_at, provider_event, version, test, superseded, data)
VALUES ($1, $2, 'default', 'loja-1', 'shopify', 'order.paid', 'k', 'd', 1, 1, 'p', 1, 0, 0, 'null')
"""


SLOW_ID = "01hm6zslow0000000000000000"


async def test_nothing_is_pushed_that_a_slower_transaction_may_precede(
    api_on_postgres: Api, postgres_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live and replayed alike; and then at once, not with the next look."""
    monkeypatch.setattr(push, "LOOK_EVERY", 1000.0)
    api = api_on_postgres
    await enable(api)
    slow = await asyncpg.connect(postgres_db)
    try:
        async with listening(api) as ears:
            first, before = await send(api, 1), await send(api, 2)
            await until(lambda: ears.ids == [first, before])
            transaction = slow.transaction()
            await transaction.start()
            await slow.execute(MARK)
            seq = await slow.fetchval("SELECT nextval('event_seq')")
            later = await send(api, 3)
            assert (await api.get(f"/processing/events/{later}")).data["seq"] > seq
            async with listening(api, since=first) as late:
                await until(lambda: late.ids == [before])
                # Whoever has no patience would have pushed it long ago.
                with pytest.raises(TimeoutError):
                    await until(lambda: len(ears.ids + late.ids) > 3, patience=1.5)
                await slow.execute(ROW, seq, SLOW_ID)
                await transaction.commit()
                await until(lambda: ears.ids == [first, before, SLOW_ID, later])
                await until(lambda: late.ids == [before, SLOW_ID, later])
    finally:
        await slow.close()


async def test_processes_tell_each_other(
    tmp_path: Path, postgres_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "LOOK_EVERY", 1000.0)
    store = SecretStr(postgres_db)
    async with (
        serving(tmp_path / "a", store=store) as one,
        serving(tmp_path / "b", store=store) as two,
    ):
        await enable(one)
        await until(lambda: bool(two.services.hub.sinks(PLACE)))
        async with listening(two) as ears:
            sent = [await send(one, number) for number in range(5)]
            await until(lambda: ears.ids == sent)
            tested = (await one.post("/websocket/test/loja-1")).body["event_id"]
            await until(lambda: ears.ids == [*sent, tested])


async def test_clients_outlast_the_store(tmp_path: Path, postgres: Postgres) -> None:
    async with (
        fresh_database(postgres.url) as url,
        serving(tmp_path, store=SecretStr(url)) as api,
    ):
        await enable(api)
        async with listening(api) as ears:
            first = await send(api, 1)
            await until(lambda: ears.ids == [first])
            await asyncio.to_thread(postgres.stop)
            assert (await api.post("/webhook/evolution/loja-1", {"event": "call"})).status == 503
            await asyncio.to_thread(postgres.start)

            async def taken() -> Any:
                body = {"event": "messages.upsert", "data": {"key": {"id": "M2"}}}
                answer = await api.post("/webhook/evolution/loja-1", body)
                return answer.body["id"] if answer.status == 200 else None

            second = await eventually(taken)
            await until(lambda: ears.ids == [first, second])


async def test_an_expired_key_closes_what_it_opened(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(push, "CHECK_EVERY", 0.04)
    await enable(api)
    api.services.directory._listeners.clear()  # so that no other change of the key leads to a check
    now = datetime.now(UTC) + timedelta(seconds=2)
    expires_at = api_time(round(now.timestamp() * 1e6))
    wish = {"name": "k", "permissions": ["EVENTS_READ"], "expires_at": expires_at}
    made = (await api.post("/api-keys", wish)).data
    async with listening(api), listening(api, key=made["key"]) as ears:
        await until(lambda: ears.socket.closed)
        assert ears.socket.close_code == 4401


async def test_a_key_that_loses_the_permission_is_sent_away(api: Api) -> None:
    await enable(api)
    limited = await api.limited("EVENTS_READ")
    directory = api.services.directory
    async with listening(api, key=limited.key or "") as ears:
        (found,) = [k for k in directory.keys("default") if k.name == "limited"]
        await directory.save("api_key", found.model_copy(update={"permissions": ("SINKS_MANAGE",)}))
        await until(lambda: ears.socket.closed)
        assert ears.socket.close_code == 4401


async def test_a_client_that_answers_no_ping_is_gone(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws, "HEARTBEAT", 0.1)
    await enable(api)
    target, asked = f"{api.url}/ws/loja-1", {"apikey": ADMIN}
    async with (
        api.session.ws_connect(target, params=asked) as lively,
        api.session.ws_connect(target, params=asked, autoping=False) as dead,
    ):
        listening = asyncio.create_task(lively.receive())
        assert (await dead.receive()).type is aiohttp.WSMsgType.PING
        metrics = api.services.metrics
        await until(lambda: metrics.websockets._value.get() == 1)
        event = await send(api, 1)
        assert json.loads((await listening).data)["id"] == event


async def test_superseded_events_are_left_out_where_the_instance_wants_it(api: Api) -> None:
    wish = {"name": "loja-1", "skip_superseded": True}
    assert (await api.post("/instances", wish)).status == 201
    await enable(api)
    append = appended(an_event(1))
    (paid,) = append.events
    paid.weight, paid.name = 50, "order.paid"
    late = appended(an_event(2, name="order.pending", key=an_event(1).key))
    late.events[0].weight = 20
    async with listening(api) as ears:
        for item in (append, late, appended(an_event(3))):
            await api.services.store.log.append(item)
        await until(lambda: len(ears.ids) == 2)
        assert ears.ids == [an_event(1).id, an_event(3).id]


async def test_a_socket_io_session_that_joins_nothing_is_hung_up(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_io, "JOIN_WITHIN", 0.2)
    monkeypatch.setattr(socket_io, "SWEEP_EVERY", 0.1)
    target = f"{api.url}/socket.io/?EIO=4&transport=websocket"
    await enable(api)
    async with api.session.ws_connect(target) as member, api.session.ws_connect(target) as idler:
        await member.send_str(JOIN)
        async for message in idler:
            assert message.data[0] in "01"
        assert idler.closed
        await send(api, 1)
        heard = [(await member.receive()).data for _ in range(3)]
        assert heard[1].startswith("40/loja-1,")
        assert heard[2].startswith('42/loja-1,["messages.upsert",{"event":"messages.upsert"')


async def test_a_socket_io_client_that_reads_nothing_is_sent_away(api: Api) -> None:
    await enable(api)
    target = f"{api.url}/socket.io/?EIO=4&transport=websocket"
    metrics = api.services.metrics
    async with api.session.ws_connect(target, max_msg_size=0) as deaf:
        await deaf.send_str(JOIN)

        def value(gauge: Any) -> float:
            return float(gauge._value.get())

        await until(lambda: value(metrics.websockets) == 1)
        slow = metrics.closed.labels("1013")
        for number in range(150):
            body = {"event": "call", "data": {"n": number, "text": "x" * 300_000}}
            assert (await api.post("/webhook/evolution/loja-1", body)).status == 200
        await until(lambda: value(slow) == 1)
        await until(lambda: value(metrics.websockets) == 0)


async def test_a_namespace_is_joined_once(api: Api) -> None:
    await enable(api)
    async with api.session.ws_connect(f"{api.url}/socket.io/?EIO=4&transport=websocket") as socket:
        for packet in (JOIN, JOIN, f"40{AUTH}"):  # the last: the main namespace, which has nothing
            await socket.send_str(packet)
        told = [(await socket.receive()).data for _ in range(4)]
        assert told[1].startswith('40/loja-1,{"sid"')
        assert told[2].startswith("44/loja-1,")
        assert told[3].startswith('40{"sid"')
        await send(api, 1)
        assert (await socket.receive()).data.startswith("42/loja-1,")


async def test_socket_io_sessions_are_limited(tmp_path: Path) -> None:
    async with serving(tmp_path, websocket_max_connections=1) as api:
        target = f"{api.url}/socket.io/?EIO=4&transport=polling"
        async with api.session.get(target) as answer:
            assert answer.status == 200
        async with api.session.get(target) as answer:
            assert answer.status == 503


async def test_what_was_held_is_more_than_may_wait(api: Api) -> None:
    """A burst must not make a client slow that reads all the time."""
    await enable(api)
    count = 3 * MOST_WAITING
    async with api.session.ws_connect(f"{api.url}/socket.io/?EIO=4&transport=websocket") as socket:
        await socket.send_str(JOIN)
        assert (await api.post("/websocket/set/loja-1", {"enabled": False})).status == 201
        sent = [await send(api, number, size=30_000) for number in range(count)]
        assert (await api.post("/websocket/set/loja-1", {"enabled": True})).status == 201
        heard = list[str]()
        while len(heard) < count:
            packet = (await socket.receive()).data
            if packet.startswith("42/"):
                heard.append(json.loads(packet.partition(",")[2])[1]["id"])
                await asyncio.sleep(0.001)  # what it does with them takes its time
        assert heard == sent


async def test_a_replay_of_many_comes_in_its_order(api: Api) -> None:
    await enable(api)
    count = 3 * MOST_WAITING
    async with listening(api, pause=0.001) as ears:
        sent = [await send(api, number, size=30_000) for number in range(count)]
        await until(lambda: ears.ids == sent)
        for event in sent:
            await api.services.hub.publish(an_event(1, id=event), again=True)
        await until(lambda: len(ears.ids) >= 2 * count)
        assert ears.ids[count:] == sent
        assert not ears.socket.closed


async def test_large_events_are_no_burden_to_who_reads_them(api: Api) -> None:
    await enable(api)
    data = b'"' + b"x" * 1_000_000 + b'"'
    target, asked = f"{api.url}/ws/loja-1", {"apikey": ADMIN}
    async with api.session.ws_connect(target, params=asked, max_msg_size=0) as socket:
        ears = Ears(socket)
        task = asyncio.create_task(ears.listen())
        items = [appended(an_event(number, data=data)) for number in range(1, 41)]
        await asyncio.gather(*map(api.services.store.log.append, items))
        await until(lambda: len(ears.ids) == 40)
        task.cancel()
