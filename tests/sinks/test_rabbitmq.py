"""What RabbitMQ's users see: names, properties, queues that are made and made again."""

import asyncio
from datetime import UTC
from typing import Any
from urllib.parse import quote

import aio_pika
import pika
import pytest

from schemas.delivery import Delivered, Outcome, Retry
from schemas.envelope import claim, envelope
from schemas.sink_config import RabbitmqConfig, WebhookConfig
from sinks import open_sink, rabbitmq
from sinks.amqp import Place
from sinks.link import LinkError
from sinks.rabbitmq import open_rabbitmq
from tests.sinks.contract import opened
from tests.sinks.given import RECEIVED, a_context, a_message, an_event
from tests.sinks.rabbit import PASSWORD, USER, VHOST, NoHttp, RabbitRig, uri_of


async def send(rig: RabbitRig, *events: Any, **changes: Any) -> list[Outcome]:
    config = rig.configured(**changes)
    sink = open_sink(config, rig.context)
    try:
        return list(await sink.send([a_message(event) for event in events]))
    finally:
        await sink.close()


async def test_a_pika_consumer_finds_what_upstream_would_have_sent(rabbit_rig: RabbitRig) -> None:
    instance = f"loja-{rabbit_rig.tenant}"
    event = an_event(1, name="group-participants.update", instance=instance)
    message = a_message(event, attempt=2, dedupe_id="replay-1")
    config = rabbit_rig.configured(tenant="default", instance=instance)
    sink = open_sink(config, rabbit_rig.context)
    assert await sink.send([message]) == [Delivered()]
    await sink.close()

    def consume() -> Any:
        where = pika.ConnectionParameters(
            "127.0.0.1",
            rabbit_rig.server.port,
            VHOST,
            pika.PlainCredentials(USER, PASSWORD),
        )
        with pika.BlockingConnection(where) as connection:
            channel = connection.channel()
            return channel.basic_get(f"{instance}.group-participants.update", auto_ack=True)

    method, properties, body = await asyncio.to_thread(consume)
    assert method.exchange == instance
    assert method.routing_key == "group-participants.update"
    assert properties.message_id == "replay-1"
    assert properties.delivery_mode == 2
    assert properties.content_type == "application/json"
    assert properties.timestamp == int(RECEIVED.astimezone(UTC).timestamp())
    assert properties.headers["event"] == "GROUP_PARTICIPANTS_UPDATE"
    assert properties.headers["instance"] == instance
    assert properties.headers["id"] == event.id
    assert properties.headers["attempt"] == 2
    assert properties.headers["traceparent"].startswith("00-")
    assert body == envelope(event, naming="canonical", server_url="https://gate.example")


async def test_queues_are_durable_and_as_configured(rabbit_rig: RabbitRig) -> None:
    settings = {"message_ttl": 60_000, "max_length": 7, "dead_letter_exchange": "graveyard"}
    [outcome] = await send(rabbit_rig, an_event(), **settings)
    assert outcome == Delivered()
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-message-ttl": 60_000,
        "x-max-length": 7,
        "x-dead-letter-exchange": "graveyard",
    }
    async with (await rabbit_rig.connection()).channel() as channel:
        # RabbitMQ takes a second declaration only when it says the same.
        await channel.declare_exchange(f"{rabbit_rig.tenant}.loja-1", "topic", durable=True)
        await channel.declare_queue(rabbit_rig.queue(), durable=True, arguments=arguments)


@pytest.mark.parametrize("kind", ["direct", "fanout", "headers"])
async def test_every_type_of_exchange_routes(rabbit_rig: RabbitRig, kind: str) -> None:
    outcomes = await send(rabbit_rig, an_event(), exchange="shared", exchange_type=kind)
    assert outcomes == [Delivered()]
    assert len(await rabbit_rig.drain(rabbit_rig.queue())) == 1


@pytest.mark.parametrize("kind", ["classic", "stream"])
async def test_every_type_of_queue_takes_messages(rabbit_rig: RabbitRig, kind: str) -> None:
    assert await send(rabbit_rig, an_event(), queue_type=kind) == [Delivered()]


async def test_one_bad_queue_fails_its_own_messages_and_heals(rabbit_rig: RabbitRig) -> None:
    channel = await (await rabbit_rig.connection()).channel()
    old = await channel.declare_queue(rabbit_rig.queue("order.paid"), durable=True)
    batch = [
        a_message(an_event(1)),
        a_message(an_event(2, name="order.created")),
        a_message(an_event(3)),
    ]
    sink = open_sink(rabbit_rig.configured(message_ttl=60_000), rabbit_rig.context)
    try:
        first, second, third = await sink.send(batch)
        assert second == Delivered()
        assert first == third
        assert isinstance(first, Retry)
        assert "PRECONDITION_FAILED" in first.reason
        assert f"'{rabbit_rig.queue()}'" in first.reason
        assert f"127.0.0.1:{rabbit_rig.server.port}" in first.reason
        assert "configure the sink as it is" in first.reason
        assert sink.health().state == "failing"
        await old.delete()
        assert await sink.send(batch) == [Delivered()] * 3
        assert sink.health().state == "ok"
    finally:
        await sink.close()
        await channel.close()


async def test_a_deleted_queue_is_made_again_at_once(rabbit_rig: RabbitRig) -> None:
    async with opened(rabbit_rig) as sink:
        assert await sink.send([a_message(an_event(1))]) == [Delivered()]
        async with (await rabbit_rig.connection()).channel() as channel:
            await channel.queue_delete(rabbit_rig.queue())
        batch = [a_message(an_event(i)) for i in range(2, 52)]
        assert await sink.send(batch) == [Delivered()] * 50
    assert len(await rabbit_rig.drain(rabbit_rig.queue())) == 50


async def test_a_deleted_exchange_is_made_again_at_once(rabbit_rig: RabbitRig) -> None:
    async with opened(rabbit_rig) as sink:
        assert await sink.send([a_message(an_event(1))]) == [Delivered()]
        async with (await rabbit_rig.connection()).channel() as channel:
            await channel.exchange_delete(f"{rabbit_rig.tenant}.loja-1")
        batch = [a_message(an_event(i)) for i in range(2, 52)]
        assert await sink.send(batch) == [Delivered()] * 50
    found = {message.message_id for message in await rabbit_rig.drain(rabbit_rig.queue())}
    assert found == {an_event(i).id for i in range(1, 52)}


async def test_a_message_beyond_the_limit_goes_as_a_claim(
    rabbit_rig: RabbitRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq, "LARGEST_BODY", 1000)
    event = an_event(data=b'"' + b"x" * 2000 + b'"')
    assert await send(rabbit_rig, event) == [Delivered()]
    [message] = await rabbit_rig.drain(rabbit_rig.queue())
    url = f"https://gate.example/claims/default/{event.id}"
    assert message.body == envelope(
        event, naming="canonical", server_url="https://gate.example", data=claim(url, 2002)
    )


async def test_naming_and_apikey_are_the_sinks_choice(rabbit_rig: RabbitRig) -> None:
    context = rabbit_rig.context
    config = rabbit_rig.configured(naming="evolution", apikey="cmp_key", include_apikey=True)
    sink = open_sink(config, context)
    event = an_event(name="messages.upsert")
    assert await sink.send([a_message(event, gap=True)]) == [Delivered()]
    await sink.close()
    [message] = await rabbit_rig.drain(rabbit_rig.queue("messages.upsert"))
    assert message.headers["event"] == "messages.upsert"
    assert message.body == envelope(
        event, naming="evolution", server_url=context.server_url, apikey="cmp_key", gap=True
    )


async def test_sinks_share_a_connection_and_the_last_one_closes_it(rabbit_rig: RabbitRig) -> None:
    def connections() -> int:
        listed = rabbit_rig.server.control("list_connections", "client_properties")
        return listed.count("Comporta/0.0-test")

    first = open_sink(rabbit_rig.configured(), rabbit_rig.context)
    second = open_sink(rabbit_rig.configured(instance="loja-2"), rabbit_rig.context)
    for sink in (first, second):
        assert await sink.send([a_message()]) == [Delivered()]
    assert await asyncio.to_thread(connections) == 1
    await first.close()
    assert await second.send([a_message()]) == [Delivered()]
    await second.close()
    assert await asyncio.to_thread(connections) == 0


async def test_tenants_do_not_share_a_connection_even_to_one_uri(rabbit_rig: RabbitRig) -> None:
    mine = open_sink(rabbit_rig.configured(), rabbit_rig.context)
    theirs = open_sink(rabbit_rig.configured(tenant="t-other"), rabbit_rig.context)
    for sink in (mine, theirs):
        assert await sink.send([a_message()]) == [Delivered()]
    listed = await asyncio.to_thread(rabbit_rig.server.control, "list_connections", "user")
    assert listed.split().count(USER) == 2
    await mine.close()
    await theirs.close()


URIS = {
    "amqp://h": Place(host="h", port=5672, tls=False),
    "amqp://h/": Place(host="h", port=5672, tls=False),
    "amqp://h/%2f": Place(host="h", port=5672, tls=False),
    "amqps://h/a%2Fb": Place(host="h", port=5671, tls=True, vhost="a/b"),
    "amqp://h/100%2525": Place(host="h", port=5672, tls=False, vhost="100%25"),
    "amqp://u:p%40%2F%25@h:99/v": Place(
        host="h", port=99, tls=False, vhost="v", user="u", password="p@/%"
    ),
    "amqp://u:a+b@[::1]:99/v": Place(
        host="::1", port=99, tls=False, vhost="v", user="u", password="a+b"
    ),
    "amqps://h/?verify=verify_none": Place(
        host="h", port=5671, tls=True, options={"verify": "verify_none"}
    ),
}


@pytest.mark.parametrize("uri", URIS)
def test_uris_are_read_as_rabbitmq_specifies(uri: str) -> None:
    assert Place.parse(uri) == URIS[uri]


@pytest.mark.parametrize("uri", ["http://h", "h:5672", "amqp://", "amqp://h:x", "amqp://h:70000"])
def test_a_uri_that_is_none_is_not_repeated(uri: str) -> None:
    with pytest.raises(LinkError, match="the URI") as caught:
        Place.parse(uri)
    assert uri not in caught.value.reason


async def test_a_vhost_may_hold_anything(rabbit_rig: RabbitRig) -> None:
    vhost = "100%2F/é"
    for command in (["add_vhost", vhost], ["set_permissions", "-p", vhost, USER, *[".*"] * 3]):
        await asyncio.to_thread(rabbit_rig.server.control, *command)
    outcomes = await send(rabbit_rig, an_event(), uri=uri_of(rabbit_rig.server, vhost=vhost))
    assert outcomes == [Delivered()]


async def test_the_servers_own_broker_is_trusted_and_a_default(rabbit_rig: RabbitRig) -> None:
    async def guard(host: str, port: int) -> tuple[str, ...]:
        raise AssertionError("the operator's URI needs no permission")

    wide = {"rabbitmq": {"uri": uri_of(rabbit_rig.server)}}
    context = a_context(NoHttp(), wide, guard=guard)
    sink = open_sink(rabbit_rig.configured(uri=""), context)
    assert await sink.send([a_message()]) == [Delivered()]
    await sink.close()


async def test_nothing_to_connect_to_says_what_to_set() -> None:
    config = RabbitmqConfig(id="s", tenant="default", instance="loja-1")
    sink = open_sink(config, a_context(NoHttp()))
    [outcome] = await sink.send([a_message()])
    await sink.close()
    assert isinstance(outcome, Retry)
    assert "`uri`" in outcome.reason
    assert "RABBITMQ_URI" in outcome.reason


def test_a_configuration_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="webhook"):
        open_rabbitmq(WebhookConfig(id="s", tenant="t", instance="i"), a_context(NoHttp()))


async def test_a_real_password_in_the_uri_reaches_the_broker(rabbit_rig: RabbitRig) -> None:
    """What the tests' reader says by parameters, our URI says encoded."""
    assert quote(PASSWORD, safe="") in rabbit_rig.uri
    connection = await aio_pika.connect(
        host="127.0.0.1", port=rabbit_rig.server.port, login=USER, password=PASSWORD,
        virtualhost=VHOST,
    )  # fmt: skip
    await connection.close()
    assert await send(rabbit_rig, an_event()) == [Delivered()]
