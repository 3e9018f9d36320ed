"""Loops of webhooks end."""

from typing import Any

import pytest
from aiohttp import web

from gateway.hops import HOP_HEADER, LoopError, read_hops, stored_hops
from schemas import codec
from tests.api.rig import Api, eventually
from tests.sinks.receiver import Got, Receiver


@pytest.mark.parametrize(
    ("text", "hops"), [("", 0), ("1", 1), ("3", 3), ("-9", 0), ("1.5", 0), ("٣", 0), ("x", 0)]
)
def test_a_number_is_read_and_nonsense_is_none(text: str, hops: int) -> None:
    assert read_hops({HOP_HEADER: (text,)}) == hops
    assert stored_hops(codec.dumps({"a": ("9",), HOP_HEADER: (text,)})) == hops


@pytest.mark.parametrize("text", ["4", "999999", "9" * 5000])
def test_what_went_round_is_refused(text: str) -> None:
    with pytest.raises(LoopError):
        read_hops({HOP_HEADER: (text,)})


def test_headers_without_the_number_have_passed_nothing() -> None:
    assert stored_hops(b"{}") == 0
    assert stored_hops(codec.dumps({"x": (HOP_HEADER,), HOP_HEADER: ()})) == 0


async def test_a_webhook_that_leads_back_to_us_ends(api: Api, receiver: Receiver) -> None:
    """An event goes out to a relay, which posts it to our own channel, again and again: also the
    tries that are read from the store know how often it has gone round.
    """
    path = "/webhook/evolution/round"
    refusals: list[int] = []

    async def relay(_: Got) -> web.StreamResponse:
        headers = {HOP_HEADER: receiver.got[-1].headers[HOP_HEADER]}
        body = {"event": "messages.update", "data": {"turn": len(receiver.got)}}
        if len(receiver.got) == 2:  # once it comes from the store
            return web.Response(status=500)
        answer = await api.post(path, body, headers=headers)
        refusals.extend([answer.status] * (answer.status != 200))
        return web.Response(status=answer.status)

    receiver.answer = relay
    made = await api.post("/webhook/set/round", {"url": receiver.url, "retry": [0.05]})
    assert made.status == 201
    first = await api.post(path, {"event": "messages.update", "data": {"turn": 0}})
    assert first.status == 200

    async def dead() -> Any:
        return (await api.get("/processing/dispatches?filter[status]=dead")).data

    (last,) = await eventually(dead)
    assert refusals == [508]
    assert last
    hops = [got.headers[HOP_HEADER] for got in receiver.got]
    assert hops == ["1", "2", "2", "3", "4"]
