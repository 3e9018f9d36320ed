"""What NATS's users see: subjects, streams that are found or made, messages that come once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StorageType

from schemas.delivery import Delivered, Message, Outcome, Retry
from schemas.envelope import claim, envelope
from schemas.sink_config import NatsConfig, WebhookConfig
from sinks import open_sink
from sinks.link import LinkError
from sinks.nats import open_nats
from sinks.nats_peer import Place
from sinks.nats_stream import Subjects
from sinks.nats_wire import command
from tests.services import Nats
from tests.sinks.contract import opened, send_all
from tests.sinks.given import a_context, a_message, an_event
from tests.sinks.natsrig import NatsRig
from tests.sinks.rabbit import NoHttp


@pytest.fixture
async def rig(nats: Nats) -> AsyncIterator[NatsRig]:
    rig = NatsRig(nats)
    yield rig
    await rig.close()


@pytest.fixture
async def js(rig: NatsRig) -> JetStreamContext:
    return (await rig.client()).jetstream()


def reason(outcome: Outcome) -> str:
    assert isinstance(outcome, Retry), outcome
    return outcome.reason


async def send(rig: NatsRig, *messages: Message, **changes: Any) -> list[Outcome]:
    sink = open_sink(rig.configured(**changes), rig.context)
    try:
        return list(await sink.send(messages))
    finally:
        await sink.close()


async def test_a_stream_is_made_for_the_instance(rig: NatsRig, js: JetStreamContext) -> None:
    event = an_event(1, name="group-participants.update")
    message = a_message(event, attempt=2)
    assert await send(rig, message, subject_prefix="shop.eu") == [Delivered()]
    subject = f"{rig.tenant}.shop.eu.loja-1.group-participants.update"
    name = await js.find_stream_name_by_subject(subject)
    stored = await js.get_last_msg(name, subject)
    assert stored.data == rig.expected(event)
    assert stored.headers is not None
    names = ["Nats-Msg-Id", "event", "instance", "id", "attempt", "traceparent"]
    assert list(stored.headers) == names
    assert stored.headers["Nats-Msg-Id"] == event.id
    assert stored.headers["event"] == "GROUP_PARTICIPANTS_UPDATE"
    assert stored.headers["instance"] == "loja-1"
    assert stored.headers["attempt"] == "2"
    assert stored.headers["traceparent"].startswith("00-")
    config = (await js.stream_info(name)).config
    assert config.subjects == [f"{rig.tenant}.shop.eu.loja-1.>"]
    assert config.storage == StorageType.FILE
    assert config.duplicate_window == 120
    assert config.max_age == 30 * 86_400


async def test_no_text_becomes_a_header_or_a_command(rig: NatsRig, js: JetStreamContext) -> None:
    """Whatever the names hold: the server would believe the line after a line's end."""
    evil = "x\r\nevil: 1\r\n\r\nPUB evil 0\r\n."
    event = an_event(1, instance=f" {evil}", name="order.\r\nPUB")
    message = a_message(event, dedupe_id=f"1{evil}", traceparent=evil)
    assert await send(rig, message, stream="") == [Delivered()]
    subject = f"{rig.tenant}.loja-1.order.%0D%0APUB"
    stored = await js.get_last_msg(await js.find_stream_name_by_subject(subject), subject)
    plain = evil.replace("\r", " ").replace("\n", " ")
    assert stored.headers == {
        "Nats-Msg-Id": f"1{plain}",
        "event": "order.  PUB",
        "instance": plain,
        "id": event.id,
        "attempt": "1",
        "traceparent": plain,
    }


def test_a_command_counts_what_it_carries() -> None:
    assert command((b"a.b", b"NATS/1.0\r\nid: 1\r\n\r\n", b"body")) == (
        b"HPUB a.b 19 23\r\nNATS/1.0\r\nid: 1\r\n\r\nbody\r\n"
    )
    assert command((b"a", b"h", b""), b"_INBOX.1.2 ") == b"HPUB a _INBOX.1.2 1 1\r\nh\r\n"


async def test_the_default_tenants_subjects_are_upstreams(
    rig: NatsRig, js: JetStreamContext
) -> None:
    outcomes = await send(rig, a_message(), tenant="default", instance=rig.tenant)
    assert outcomes == [Delivered()]
    name = await js.find_stream_name_by_subject(f"{rig.tenant}.order.paid")
    assert name == f"comporta_{rig.tenant}"


async def test_a_repeated_try_is_kept_once_and_a_replay_again(
    rig: NatsRig, js: JetStreamContext
) -> None:
    for _ in range(3):
        assert await send(rig, a_message()) == [Delivered()]
    replay = a_message(dedupe_id="01hm6z-replay")
    assert await send(rig, replay) == [Delivered()]
    name = await js.find_stream_name_by_subject(rig.subjects)
    assert (await js.stream_info(name)).state.messages == 2


async def test_a_stream_that_covers_the_subject_is_used(rig: NatsRig, js: JetStreamContext) -> None:
    await js.add_stream(name=f"own-{rig.tenant}", subjects=[f"{rig.tenant}.*.order.*"])
    assert await send(rig, a_message()) == [Delivered()]
    assert (await js.stream_info(f"own-{rig.tenant}")).state.messages == 1


async def test_a_stream_in_the_way_is_named(rig: NatsRig, js: JetStreamContext) -> None:
    await js.add_stream(name=f"own-{rig.tenant}", subjects=[f"{rig.tenant}.*.order.*"])
    batch = [a_message(an_event(1, name="checkout.abandoned")), a_message(an_event(2))]
    refused, good = await send(rig, *batch)
    subject = f"{rig.tenant}.loja-1.checkout.abandoned"
    assert f"NATS at 127.0.0.1:{rig.server.port}: no stream keeps {subject}" in reason(refused)
    assert "overlap" in reason(refused)
    assert f"(add {subject} to yours)" in reason(refused)
    assert good == Delivered()


async def test_a_named_stream_is_insisted_on(rig: NatsRig, js: JetStreamContext) -> None:
    name = f"own-{rig.tenant}"
    [missing] = await send(rig, a_message(), stream=name)
    assert f"nor does {name}" in reason(missing)
    await js.add_stream(name=name, subjects=[rig.subjects])
    assert await send(rig, a_message(), stream=name) == [Delivered()]
    [other] = await send(rig, a_message(an_event(2)), stream="another")
    assert "expected stream does not match" in reason(other)


async def test_a_deleted_stream_is_made_again_at_once(rig: NatsRig, js: JetStreamContext) -> None:
    async with opened(rig) as sink:
        assert await sink.send([a_message(an_event(1))]) == [Delivered()]
        await js.delete_stream(await js.find_stream_name_by_subject(rig.subjects))
        batch = [a_message(an_event(i)) for i in range(2, 52)]
        assert await sink.send(batch) == [Delivered()] * 50
    assert {arrival.id for arrival in await rig.arrived()} == {an_event(i).id for i in range(2, 52)}


async def test_a_mere_subscriber_is_not_taken_for_a_stream(rig: NatsRig) -> None:
    heard: list[Msg] = []

    async def hear(message: Msg) -> None:
        heard.append(message)

    client = await rig.client()
    await client.subscribe(rig.subjects, cb=hear)
    await client.flush()
    assert await send(rig, a_message()) == [Delivered()]
    assert len(await rig.arrived()) == 1


async def test_something_that_answers_is_not_taken_for_a_stream(
    rig: NatsRig, js: JetStreamContext
) -> None:
    words = [b"thank you", b"[]", b"{}", b'{"error":{}}', b"\xff"]
    word = b"nobody yet"

    async def answer(message: Msg) -> None:
        await message.respond(word)

    client = await rig.client()
    async with opened(rig) as sink:
        assert await sink.send([a_message(an_event(0))]) == [Delivered()]
        # Before the stream goes: in between nobody would answer, and the sink would make it again.
        await client.subscribe(rig.subjects, cb=answer)
        await client.flush()
        await js.delete_stream(await js.find_stream_name_by_subject(rig.subjects))
        await alone(client, rig.subjects.replace(">", "x"), word)
        for number, word in enumerate(words, 1):  # noqa: B007 - it is what `answer` says
            [outcome] = await sink.send([a_message(an_event(number))])
            assert "something that is no stream answered" in reason(outcome)


async def alone(client: Client, subject: str, word: bytes) -> None:
    """Wait until only who says `word` answers: the server takes a stream down step by step."""
    heard = 0
    async with asyncio.timeout(10):
        while heard < 20:
            answer = await client.request(subject, b"", timeout=5)
            heard = heard + 1 if answer.data == word else 0


async def test_what_the_server_would_not_take_goes_as_a_claim(rig: NatsRig) -> None:
    event = an_event(data=b'"' + b"x" * 1_048_576 + b'"')
    assert await send(rig, a_message(event)) == [Delivered()]
    url = f"https://gate.example/claims/default/{event.id}"
    [arrival] = await rig.arrived()
    assert arrival.body == envelope(
        event, naming="canonical", server_url="https://gate.example", data=claim(url, 1_048_578)
    )


async def test_what_the_stream_would_not_take_goes_as_a_claim(
    rig: NatsRig, js: JetStreamContext
) -> None:
    await js.add_stream(name=f"own-{rig.tenant}", subjects=[rig.subjects], max_msg_size=2000)
    large = an_event(1, data=b'"' + b"x" * 3000 + b'"')
    assert await send(rig, a_message(large), a_message(an_event(2))) == [Delivered()] * 2
    bodies = {arrival.id: arrival.body for arrival in await rig.arrived()}
    assert (
        f'"claim_url":"https://gate.example/claims/default/{large.id}"'.encode() in bodies[large.id]
    )
    assert bodies[an_event(2).id] == rig.expected(an_event(2))


async def test_a_stream_too_small_for_a_claim_is_a_retry(
    rig: NatsRig, js: JetStreamContext
) -> None:
    await js.add_stream(name=f"own-{rig.tenant}", subjects=[rig.subjects], max_msg_size=10)
    [outcome] = await send(rig, a_message())
    assert reason(outcome).endswith("too large for the stream")


async def test_a_full_stream_tells_message_by_message(rig: NatsRig, js: JetStreamContext) -> None:
    await js.add_stream(
        name=f"own-{rig.tenant}",
        subjects=[rig.subjects],
        max_msgs=2,
        discard=DiscardPolicy.NEW,
    )
    async with opened(rig) as sink:
        batch = [a_message(an_event(i)) for i in range(4)]
        first, second, third, fourth = await sink.send(batch)
        assert (first, second) == (Delivered(), Delivered())
        assert "maximum messages exceeded" in reason(third)
        assert third == fourth
        assert sink.health().state == "failing"
        assert sink.health().detail == {"error": reason(third)}


async def test_core_nats_reaches_who_listens_and_is_called_lossy(rig: NatsRig) -> None:
    client = await rig.client()
    listener = await client.subscribe(rig.subjects)
    await client.flush()
    messages = [a_message(an_event(i)) for i in range(500)]
    sink = open_sink(rig.configured(jetstream=False), rig.context)
    assert await send_all(sink, messages) == [Delivered()] * 500
    assert sink.health().state == "ok"
    assert sink.health().detail == {"lossy": True}
    await sink.close()
    heard = [await listener.next_msg(timeout=5) for _ in messages]
    assert {message.data for message in heard} == {rig.expected(m.event) for m in messages}


async def test_a_silent_server_is_not_fed_for_ever(rig: NatsRig) -> None:
    """With more than any buffer holds, and with somebody else's data in the way."""
    events = [an_event(i, data=b'"' + b"x" * 500_000 + b'"') for i in range(64)]
    messages = [a_message(event) for event in events]
    sink = open_sink(rig.configured(timeout=3.0), rig.context)
    assert await sink.send(messages[:1]) == [Delivered()]
    await rig.freeze()
    try:
        async with asyncio.timeout(20):
            outcomes = await send_all(sink, messages)
            reasons = {reason(outcome).partition(": ")[2] for outcome in outcomes}
            assert reasons == {"it has stopped taking messages", "no acknowledgement within 3 s"}
            assert sink.health().state == "blocked"
            again = await send_all(sink, messages)
        assert all("stopped taking messages" in reason(outcome) for outcome in again)
    finally:
        await rig.thaw()
    async with asyncio.timeout(30):
        while await sink.send(messages[:1]) != [Delivered()]:
            await asyncio.sleep(0.05)
    assert sink.health().state == "ok"
    await sink.close()


async def test_sinks_share_a_connection_and_the_last_one_closes_it(rig: NatsRig) -> None:
    first = open_sink(rig.configured(), rig.context)
    second = open_sink(rig.configured(instance="loja-2"), rig.context)
    other = open_sink(rig.configured(tenant="t-other"), rig.context)
    for sink in (first, second, other):
        assert await sink.send([a_message()]) == [Delivered()]
    assert first._link is second._link  # type: ignore[attr-defined]  # shared or not is what this asks
    assert first._link is not other._link  # type: ignore[attr-defined]  # as above
    await first.close()
    assert await second.send([a_message(an_event(2))]) == [Delivered()]
    await second.close()
    await other.close()


SUBJECTS = {
    ("default", "", "loja-1"): "loja-1.order.paid",
    ("acme", "", "loja-1"): "acme.loja-1.order.paid",
    ("acme", "a.b", "loja-1"): "acme.a.b.loja-1.order.paid",
    ("default", "", "loja.1"): "loja%2E1.order.paid",
    ("default", "", "loja_1"): "loja_1.order.paid",
    ("default", "", "a..b."): "a%2E%2Eb%2E.order.paid",
    ("default", "", "* > $x"): "%2A%20%3E%20%24x.order.paid",
}


@pytest.mark.parametrize("given", SUBJECTS)
def test_an_instance_is_one_token_whatever_its_name(given: tuple[str, str, str]) -> None:
    tenant, prefix, instance = given
    config = NatsConfig(id="s", tenant=tenant, instance=instance, subject_prefix=prefix)
    assert Subjects.of(config).subject("order.paid") == SUBJECTS[given]


async def test_a_strange_instance_gets_through(rig: NatsRig) -> None:
    assert await send(rig, a_message(), instance=r"a..b. *>\/%", subject_prefix=r"x\y/z") == [
        Delivered()
    ]


PLACES = {
    "nats://h": Place(host="h", port=4222, tls=False),
    "h:99": Place(host="h", port=99, tls=False),
    "tls://h": Place(host="h", port=4222, tls=True),
    "nats://t%40ken@h": Place(host="h", port=4222, tls=False, user="t@ken"),
    "nats://u:p%2F%3A@[::1]:99": Place(host="::1", port=99, tls=False, user="u", password="p/:"),
}


@pytest.mark.parametrize("url", PLACES)
def test_urls_are_read_as_nats_writes_them(url: str) -> None:
    assert Place.parse(url) == PLACES[url]


@pytest.mark.parametrize("url", ["http://secret", "ws://secret:80", "nats://secret:x", "nats://"])
def test_a_url_that_is_none_is_not_repeated(url: str) -> None:
    with pytest.raises(LinkError, match="the URL is not") as caught:
        Place.parse(url)
    assert "secret" not in caught.value.reason


async def test_the_servers_own_broker_is_trusted_and_a_default(rig: NatsRig) -> None:
    async def guard(host: str, port: int) -> tuple[str, ...]:
        raise AssertionError("the operator's URL needs no permission")

    context = a_context(NoHttp(), {"nats": {"url": rig.server.url}}, guard=guard)
    sink = open_sink(rig.configured(url=""), context)
    assert await sink.send([a_message()]) == [Delivered()]
    await sink.close()


async def test_nothing_to_connect_to_says_what_to_set() -> None:
    sink = open_sink(NatsConfig(id="s", tenant="t", instance="i"), a_context(NoHttp()))
    [outcome] = await sink.send([a_message()])
    await sink.close()
    assert "`url`" in reason(outcome)
    assert "NATS_URL" in reason(outcome)


def test_a_configuration_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="webhook"):
        open_nats(WebhookConfig(id="s", tenant="t", instance="i"), a_context(NoHttp()))
