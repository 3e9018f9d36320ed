"""A trace goes from the provider's request to every try at every sink."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from gateway import tracing
from gateway.settings import Settings, SettingsError
from tests.api.rig import Answer, Api, eventually, serving
from tests.api.shop import SECRET, Shop, opened
from tests.gateway.collector import Collector, Told, collecting
from tests.sinks.receiver import Receiver, until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CAME = f"00-{TRACE}-00f067aa0ba902b7-01"
INGRESS = "POST /hooks/{driver}/{token}"


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")  # milliseconds
    async with collecting() as collector:
        yield collector


async def sent(shop: Shop, number: int, traceparent: str | None = CAME) -> Answer:
    """An order, from a provider whose own request is traced."""
    headers = {"traceparent": traceparent} if traceparent else {}
    about = {"id": f"delivery-{number}", "transaction": f"HP{number:08}"}
    return await shop.sends(headers=headers, **about)


def parts(traceparent: str) -> tuple[str, str]:
    _, trace_id, span_id, _ = traceparent.split("-")
    return trace_id, span_id


async def spans(collector: Collector, name: str, count: int) -> list[Told]:
    async def enough() -> list[Told]:
        found = collector.named(name)
        return found if len(found) >= count else []

    return await eventually(enough)


async def test_a_request_is_followed_to_its_receiver(
    tmp_path: Path, collector: Collector, receiver: Receiver
) -> None:
    await followed(tmp_path, collector, receiver)


async def test_a_request_is_followed_through_postgres(
    tmp_path: Path, collector: Collector, receiver: Receiver, postgres_db: str
) -> None:
    await followed(tmp_path, collector, receiver, store=SecretStr(postgres_db))


async def followed(folder: Path, collector: Collector, receiver: Receiver, **settings: Any) -> None:
    statuses = iter((503, 200))
    receiver.answer = lambda _: web.Response(status=next(statuses, 200))
    async with serving(folder, otlp_endpoint=collector.url, **settings) as api:
        shop = await opened(api, url=receiver.url, retry=[0])
        answer = await sent(shop, 1)
        await until(lambda: len(receiver.got) == 2, patience=30)

        [ingress] = await spans(collector, INGRESS, 1)
        [commit] = await spans(collector, "commit", 1)
        first, second = await spans(collector, "deliver webhook", 2)

    assert {s.trace_id for s in collector.spans} == {TRACE}
    assert ingress.parent_id == "00f067aa0ba902b7"
    assert (commit.parent_id, first.parent_id) == (ingress.span_id, commit.span_id)
    assert first.links == second.links == [commit.span_id]  # the second from the store
    received = [parts(got.headers["traceparent"]) for got in receiver.got]
    assert received == [(TRACE, first.span_id), (TRACE, second.span_id)]
    assert (first.failed, second.failed) == (True, False)
    assert ingress.attributes["outcome"] == "accepted"
    assert commit.attributes["inbound_id"] == answer.body["inbound_id"]
    assert second.attributes["event_id"] == answer.body["events"][0]["id"]
    assert (second.attributes["attempt"], second.attributes["http_status"]) == (2, 200)
    token = shop.path.rpartition("/")[2]
    assert token.encode() not in collector.raw
    assert SECRET.encode() not in collector.raw


async def test_an_untraced_request_begins_a_trace(
    tmp_path: Path, collector: Collector, receiver: Receiver
) -> None:
    async with serving(tmp_path, otlp_endpoint=collector.url + "/v1/traces") as api:
        shop = await opened(api, url=receiver.url)
        await sent(shop, 1, None)
        await sent(shop, 2, "00-nonsense")
        await until(lambda: len(receiver.got) == 2)
        await spans(collector, "deliver webhook", 2)

    roots = collector.named(INGRESS)
    assert [root.parent_id for root in roots] == ["", ""]
    received = {parts(got.headers["traceparent"])[0] for got in receiver.got}
    assert received == {root.trace_id for root in roots}


async def test_what_is_refused_is_told_too(tmp_path: Path, collector: Collector) -> None:
    async with serving(tmp_path, otlp_endpoint=collector.url) as api:
        shop = await opened(api)
        shop.path += "x"
        assert (await shop.sends()).status == 404
        [refused] = await spans(collector, INGRESS, 1)

    assert refused.attributes["outcome"] == "not_found"
    assert refused.attributes["http_status"] == 404


async def test_a_dead_collector_costs_no_event(tmp_path: Path, receiver: Receiver) -> None:
    async with collecting() as gone:
        url = gone.url
    async with serving(tmp_path, otlp_endpoint=url) as api:
        shop = await opened(api, url=receiver.url)
        assert (await sent(shop, 1)).status == 200
        await until(lambda: len(receiver.got) == 1)


async def test_a_trace_goes_on_without_a_collector(api: Api, receiver: Receiver) -> None:
    statuses = iter((503, 200))
    receiver.answer = lambda _: web.Response(status=next(statuses, 200))
    await api.post("/websocket/set/loja", {"enabled": True})
    shop = await opened(api, url=receiver.url, retry=[0])
    key = {"apikey": api.key or ""}
    async with api.session.ws_connect(f"{api.url}/ws/loja", headers=key) as socket:
        await sent(shop, 1)
        frame = json.loads((await socket.receive(timeout=20)).data)
    await until(lambda: len(receiver.got) == 2)

    received = [parts(got.headers["traceparent"]) for got in receiver.got]
    assert [trace_id for trace_id, _ in received] == [TRACE, TRACE]
    assert len({span_id for _, span_id in received}) == 2
    assert frame["traceparent"] == CAME


def test_nothing_of_it_is_loaded_unless_it_is_used() -> None:
    code = "import sys, gateway.app; print([m for m in sys.modules if 'opentelemetry' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert done.stdout.strip() == "[]"


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(otlp_endpoint="http://127.0.0.1:4318")
    monkeypatch.setattr(tracing, "find_spec", lambda _: None)

    with pytest.raises(SettingsError, match=r"pip install 'comporta\[otel\]'"):
        tracing.open_tracing(settings)
    assert tracing.open_tracing(Settings()) is None
