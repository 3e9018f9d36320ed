"""RabbitMQ in trouble, and strangers: what fails says why, and mends itself."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from schemas.delivery import Delivered, Outcome, Retry
from sinks import open_sink
from sinks.amqp import connect
from sinks.amqp_channel import Publisher
from sinks.amqp_frames import Content
from sinks.base import Context, HttpError, Sink
from tests.services import RabbitMQ
from tests.sinks.contract import opened, send_all
from tests.sinks.given import a_context, a_message, an_event
from tests.sinks.proxy import passing
from tests.sinks.rabbit import PASSWORD, USER, VHOST, NoHttp, RabbitRig, uri_of
from tests.sinks.receiver import until
from tests.sinks.tls import self_signed


def reason(outcome: Outcome) -> str:
    assert isinstance(outcome, Retry), outcome
    return outcome.reason


async def control(server: RabbitMQ, *words: str) -> str:
    return await asyncio.to_thread(server.control, *words)


async def until_delivered(sink: Sink, number: int) -> None:
    async with asyncio.timeout(30):
        while (await sink.send([a_message(an_event(number))])) != [Delivered()]:
            await asyncio.sleep(0.05)


async def test_wrong_credentials_are_named_and_not_shown(rabbit_rig: RabbitRig) -> None:
    wrong = uri_of(rabbit_rig.server, password="not-the-p@ssword")
    sink = open_sink(rabbit_rig.configured(uri=wrong), rabbit_rig.context)
    [outcome] = await sink.send([a_message()])
    health = sink.health()
    await sink.close()
    assert f"RabbitMQ at 127.0.0.1:{rabbit_rig.server.port}" in reason(outcome)
    assert "credentials refused: ACCESS_REFUSED" in reason(outcome)
    assert health.state == "connecting"
    assert health.detail["error"] == reason(outcome)
    assert "not-the-p" not in f"{outcome} {health} {sink}"


async def test_an_unknown_vhost_is_named(rabbit_rig: RabbitRig) -> None:
    uri = uri_of(rabbit_rig.server, vhost="nowhere")
    sink = open_sink(rabbit_rig.configured(uri=uri), rabbit_rig.context)
    [outcome] = await sink.send([a_message()])
    await sink.close()
    assert "vhost nowhere not found" in reason(outcome)


async def test_a_channel_that_is_given_up_keeps_nobody_waiting(rabbit_rig: RabbitRig) -> None:
    peer = await connect(uri_of(rabbit_rig.server), guard=None, ca_file="", name="test")
    publisher = await Publisher.open(peer.connection, "")
    await rabbit_rig.freeze()
    try:
        assert publisher.serves(peer.connection)
        answers = publisher.publish([Content("nowhere", "1", b"\0\0", b"{}")])
        assert not answers.complete.done()
        publisher.spoil()
        assert answers.complete.done()
        assert answers.given == [None]
        assert not publisher.serves(peer.connection)
    finally:
        await rabbit_rig.thaw()
        await peer.close()


async def test_a_memory_alarm_is_a_retry_and_ends(rabbit_rig: RabbitRig) -> None:
    config = rabbit_rig.configured(timeout=1.0)
    sink = open_sink(config, rabbit_rig.context)
    assert await sink.send([a_message()]) == [Delivered()]
    await control(rabbit_rig.server, "set_vm_memory_high_watermark", "0.0000001")
    try:
        [outcome] = await sink.send([a_message(an_event(2))])
        assert "short of memory or disk" in reason(outcome)
        assert sink.health().state == "blocked"
        async with asyncio.timeout(0.5):  # nobody waits for what is known
            again = await sink.send([a_message(an_event(i)) for i in range(3, 100)])
        assert {reason(outcome) for outcome in again} == {reason(outcome)}
    finally:
        await control(rabbit_rig.server, "set_vm_memory_high_watermark", "0.4")
    await until_delivered(sink, 100)
    assert sink.health().state == "ok"
    await sink.close()


async def test_confirms_that_never_come_spoil_nothing_later(rabbit_rig: RabbitRig) -> None:
    """Every batch in flight on a silent broker fails in time, and later ones are counted anew."""
    sink = open_sink(rabbit_rig.configured(timeout=1.0), rabbit_rig.context)
    assert await sink.send([a_message(an_event(1))]) == [Delivered()]
    await rabbit_rig.freeze()
    try:
        async with asyncio.timeout(5):
            outcomes = await send_all(sink, [a_message(an_event(i)) for i in range(2, 502)])
    finally:
        await rabbit_rig.thaw()
    assert len(outcomes) == 500
    assert {reason(outcome).partition(": ")[2] for outcome in outcomes} == {"no confirm within 1 s"}
    assert sink._publisher is None  # type: ignore[attr-defined]  # whether the channel is used again
    await until_delivered(sink, 2)
    again = await send_all(sink, [a_message(an_event(i)) for i in range(2, 502)])
    assert again == [Delivered()] * 500
    await sink.close()
    found = {message.message_id for message in await rabbit_rig.drain(rabbit_rig.queue())}
    assert found == {an_event(i).id for i in range(1, 502)}


async def test_a_line_cut_under_load_loses_nothing(rabbit_rig: RabbitRig) -> None:
    port = rabbit_rig.server.port
    async with passing(port, cut_after=300_000) as outer:
        uri = rabbit_rig.uri.replace(f":{port}/", f":{outer}/")
        sink = open_sink(rabbit_rig.configured(uri=uri), rabbit_rig.context)
        left = [a_message(an_event(i)) for i in range(1000)]
        outcomes = await send_all(sink, left)
        pairs = zip(left, outcomes, strict=True)
        left = [message for message, outcome in pairs if outcome != Delivered()]
        assert 0 < len(left) < 1000
        assert await send_all(sink, left) == [Delivered()] * len(left)
        await sink.close()
    lost = {reason(outcome) for outcome in outcomes if outcome != Delivered()}
    assert lost == {f"RabbitMQ at 127.0.0.1:{outer}: the connection was lost"}
    found = {message.message_id for message in await rabbit_rig.drain(rabbit_rig.queue())}
    assert found == {an_event(i).id for i in range(1000)}


async def test_an_operator_may_close_connections(rabbit_rig: RabbitRig) -> None:
    async with opened(rabbit_rig) as sink:
        assert await sink.send([a_message(an_event(1))]) == [Delivered()]
        words = ["close_all_connections", "--vhost", VHOST, "bye"]
        closing = asyncio.create_task(control(rabbit_rig.server, *words))
        await until(lambda: sink.health().state == "connecting")
        assert "CONNECTION_FORCED - bye" in sink.health().detail["error"]
        await closing
        assert await sink.send([a_message(an_event(2))]) == [Delivered()]


async def test_a_full_queue_refuses_its_own_messages_only(rabbit_rig: RabbitRig) -> None:
    policy = '{"max-length": 3, "overflow": "reject-publish"}'
    pattern = f"^{rabbit_rig.queue('order.paid')}$"
    await control(rabbit_rig.server, "set_policy", "-p", VHOST, "full", pattern, policy)
    try:
        async with opened(rabbit_rig) as sink:
            for i in range(10):  # a quorum queue may take a few more than it should
                await sink.send([a_message(an_event(i))])
            batch = [a_message(an_event(20)), a_message(an_event(21, name="order.created"))]
            full, other = await sink.send(batch)
    finally:
        await control(rabbit_rig.server, "clear_policy", "-p", VHOST, "full")
    assert "the queue is full" in reason(full)
    assert other == Delivered()


async def test_who_may_only_write_uses_what_is_there(rabbit_rig: RabbitRig) -> None:
    assert await open_and_send(rabbit_rig.configured(), rabbit_rig.context) == Delivered()
    permissions = ["set_permissions", "-p", VHOST, USER]
    await control(rabbit_rig.server, *permissions, "", ".*", ".*")
    try:
        async with opened(rabbit_rig) as sink:
            batch = [a_message(an_event(1)), a_message(an_event(2, name="order.created"))]
            there, missing = await sink.send(batch)
    finally:
        await control(rabbit_rig.server, *permissions, ".*", ".*", ".*")
    assert there == Delivered()
    assert "routed to no queue, and making one: ACCESS_REFUSED" in reason(missing)


async def open_and_send(config: object, context: Context) -> Outcome:
    sink = open_sink(config, context)  # type: ignore[arg-type]  # a configuration of any kind
    try:
        [outcome] = await sink.send([a_message()])
        return outcome
    finally:
        await sink.close()


async def test_a_tenants_uri_goes_where_the_guard_says(rabbit_rig: RabbitRig) -> None:
    asked = []

    async def guard(host: str, port: int) -> tuple[str, ...]:
        asked.append((host, port))
        return ("127.0.0.2", "127.0.0.1")  # nobody listens on the first

    context = a_context(NoHttp(), guard=guard)
    port = rabbit_rig.server.port
    uri = rabbit_rig.uri.replace("127.0.0.1", "broker.invalid")
    assert await open_and_send(rabbit_rig.configured(uri=uri), context) == Delivered()
    assert asked == [("broker.invalid", port)]


@pytest.mark.parametrize(
    ("error", "told", "counts"),
    [
        (HttpError("blocked", "10.0.0.1 is not public"), "ssrf_blocked: 10.0.0.1 is not", True),
        (HttpError("dns", "the resolver is dead", ours=True), "dns: the resolver", False),
    ],
)
async def test_a_refused_address_is_not_tried(
    rabbit_rig: RabbitRig, error: HttpError, told: str, counts: bool
) -> None:
    async def guard(host: str, port: int) -> tuple[str, ...]:
        raise error

    context = a_context(NoHttp(), guard=guard)
    outcome = await open_and_send(rabbit_rig.config, context)
    assert told in reason(outcome)
    assert isinstance(outcome, Retry)
    assert outcome.counts is counts


@asynccontextmanager
async def tls_rig(
    rig: RabbitRig, folder: Path
) -> AsyncIterator[tuple[str, Path, list[str | None]]]:
    """The URI of `broker.example`, its authority, and the names that clients asked for."""
    context, authority = self_signed(folder, "broker.example")
    names: list[str | None] = []

    def asked(_socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        names.append(name)

    context.sni_callback = asked
    async with passing(rig.server.port, context=context) as port:
        uri = rig.uri.replace("amqp://", "amqps://")
        yield (
            uri.replace(f"127.0.0.1:{rig.server.port}", f"broker.example:{port}"),
            authority,
            names,
        )


async def loopback(host: str, port: int) -> tuple[str, ...]:
    return ("127.0.0.1",)


async def test_tls_asks_for_the_name_at_the_checked_address(
    rabbit_rig: RabbitRig, tmp_path: Path
) -> None:
    async with tls_rig(rabbit_rig, tmp_path) as (uri, authority, names):
        context = a_context(NoHttp(), guard=loopback, ca_file=str(authority))
        assert await open_and_send(rabbit_rig.configured(uri=uri), context) == Delivered()
        assert names == ["broker.example"]


async def test_a_certificate_nobody_vouches_for_is_refused(
    rabbit_rig: RabbitRig, tmp_path: Path
) -> None:
    """Even if the tenant's URI says that it need not be checked."""
    async with tls_rig(rabbit_rig, tmp_path) as (uri, authority, _):
        context = a_context(NoHttp(), guard=loopback)
        for query in ("", "?verify=verify_none&no_verify_ssl=1", f"?cacertfile={authority}"):
            config = rabbit_rig.configured(uri=uri + query)
            assert "tls: certificate refused" in reason(await open_and_send(config, context))


async def test_an_operators_uri_may_name_its_authority(
    rabbit_rig: RabbitRig, tmp_path: Path
) -> None:
    async with tls_rig(rabbit_rig, tmp_path) as (uri, authority, _):
        local = uri.replace("broker.example", "localhost")
        for query, good in (
            (f"?cacertfile={authority}", False),  # of broker.example, and this is localhost
            ("?verify=verify_none", True),
            ("?cacertfile=/nowhere", False),
        ):
            wide = {"rabbitmq": {"uri": local + query}}
            context = a_context(NoHttp(), wide)
            outcome = await open_and_send(rabbit_rig.configured(uri=""), context)
            assert (outcome == Delivered()) is good, outcome


async def test_something_else_at_the_port_is_told(rabbit_rig: RabbitRig, tmp_path: Path) -> None:
    uri = rabbit_rig.uri.replace("amqp://", "amqps://")  # but the port speaks in clear
    outcome = await open_and_send(rabbit_rig.configured(uri=uri), rabbit_rig.context)
    assert "tls: " in reason(outcome)
    async with tls_rig(rabbit_rig, tmp_path) as (encrypted, _, _):
        port = encrypted.partition("@broker.example:")[2].partition("/")[0]
        uri = f"amqp://{USER}:x@127.0.0.1:{port}/"
        outcome = await open_and_send(rabbit_rig.configured(uri=uri), rabbit_rig.context)
    assert f"RabbitMQ at 127.0.0.1:{port}: " in reason(outcome)


async def test_a_sink_cancelled_in_mid_send_leaves_nothing_behind(rabbit_rig: RabbitRig) -> None:
    before = asyncio.all_tasks()
    sink = open_sink(rabbit_rig.config, rabbit_rig.context)
    assert await sink.send([a_message(an_event(1))]) == [Delivered()]
    await rabbit_rig.freeze()
    sending = asyncio.ensure_future(sink.send([a_message(an_event(i)) for i in range(2, 130)]))
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    async with asyncio.timeout(10):
        await sink.close()
    await rabbit_rig.thaw()
    await until(lambda: asyncio.all_tasks() <= before)


def test_the_password_is_worth_hiding() -> None:
    assert PASSWORD not in VHOST + USER
