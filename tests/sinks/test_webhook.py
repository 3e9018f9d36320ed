"""What only webhooks do: signatures, answers, by-events paths, templates, gzip."""

import asyncio
import base64
import gzip
import hmac
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from gateway.egress import Egress
from schemas.delivery import Delivered, Outcome, Rejected, Retry
from schemas.sink_config import RabbitmqConfig, WebhookConfig
from schemas.target import AllowList
from sinks import open_sink
from sinks.http_outcome import retry_after
from sinks.signing import new_secret, secret_key, signature
from sinks.webhook import open_webhook
from tests.sinks.given import a_context, a_message, an_event, wall_clock
from tests.sinks.receiver import Got, Receiver, talking

OLD, NEW = new_secret(b"o" * 32), new_secret(b"n" * 24)
LOOPBACK = AllowList.parse(["127.0.0.0/8"])


class Bench:
    """A receiver and the sink that posts to it."""

    def __init__(self, receiver: Receiver, egress: Egress) -> None:
        self.receiver, self.egress = receiver, egress

    async def send(
        self, *, message: dict[str, Any] | None = None, now: int | None = None, **config: Any
    ) -> Outcome:
        settings = {"url": self.receiver.url, "secrets": ((NEW, None),)} | config
        sink = open_sink(
            WebhookConfig(id="s", tenant="default", instance="loja-1", **settings),
            a_context(self.egress, now=lambda: now or wall_clock()),
        )
        [outcome] = await sink.send([a_message(**(message or {}))])
        await sink.close()
        return outcome

    async def got(self, **options: Any) -> Got:
        outcome = await self.send(**options)
        assert isinstance(outcome, Delivered), outcome
        return self.receiver.got[-1]


@pytest.fixture
async def bench(receiver: Receiver) -> AsyncIterator[Bench]:
    async with Egress(allow=LOOPBACK) as egress:
        yield Bench(receiver, egress)


async def test_a_receiver_can_verify_us(bench: Bench) -> None:
    got = await bench.got()
    assert Webhook(NEW).verify(got.body, dict(got.headers))["event"] == "order.paid"
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(OLD).verify(got.body, dict(got.headers))


async def test_while_a_secret_rotates_both_verify(bench: Bench) -> None:
    later = wall_clock() + 60_000_000
    got = await bench.got(secrets=((NEW, None), (OLD, later)))
    assert len(got.headers["webhook-signature"].split(" ")) == 2
    for secret in (NEW, OLD):
        assert Webhook(secret).verify(got.body, dict(got.headers))
    got = await bench.got(secrets=((NEW, None), (OLD, wall_clock() - 1)))
    assert len(got.headers["webhook-signature"].split(" ")) == 1


async def test_without_a_secret_nothing_is_signed(bench: Bench) -> None:
    assert "webhook-signature" not in (await bench.got(secrets=())).headers


async def test_the_id_stays_and_the_timestamp_moves(bench: Bench) -> None:
    first = await bench.got(now=1_700_000_000_999_999)
    second = await bench.got(now=1_700_000_300_000_000, message={"attempt": 2})
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == an_event().id
    assert first.headers["webhook-timestamp"] == "1700000000"
    assert second.headers["webhook-timestamp"] == "1700000300"
    assert first.headers["X-Timestamp"] == "1700000000999"
    assert (first.headers["X-Attempt"], second.headers["X-Attempt"]) == ("1", "2")
    assert first.headers["traceparent"][:35] == second.headers["traceparent"][:35]
    assert first.headers["traceparent"] != second.headers["traceparent"]


async def test_the_headers_of_the_contract(bench: Bench) -> None:
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    got = await bench.got(message={"traceparent": trace, "hop": 2}, headers={"X-Mine": "ç"})
    assert got.method == "POST"
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["User-Agent"] == "Comporta/0.0-test"
    assert got.headers["X-Instance-Name"] == "loja-1"
    assert got.headers["X-Event-Type"] == "order.paid"
    assert got.headers["X-Mine"] == "ç"
    assert got.headers["traceparent"] == trace
    assert got.headers["comporta-hop"] == "3"


async def test_custom_headers_replace_what_they_may(bench: Bench) -> None:
    headers = {"content-type": "application/vnd.api+json", "USER-AGENT": "mine"}
    got = await bench.got(headers=headers)
    assert got.headers.getall("Content-Type") == ["application/vnd.api+json"]
    assert got.headers.getall("User-Agent") == ["mine"]


async def test_jwt_key_becomes_a_fresh_token(bench: Bench) -> None:
    headers = {"jwt_key": "k3y", "authorization": "Basic x"}
    got = await bench.got(headers=headers, now=1_700_000_000_000_000)
    assert "jwt_key" not in got.headers
    [token] = got.headers.getall("Authorization")
    head, claims, seal = token.removeprefix("Bearer ").split(".")
    expected = hmac.digest(b"k3y", f"{head}.{claims}".encode(), "sha256")
    assert base64.urlsafe_b64decode(seal + "=") == expected
    assert json.loads(base64.urlsafe_b64decode(claims + "==")) == {
        "iat": 1_700_000_000,
        "exp": 1_700_000_600,
        "app": "evolution",
        "action": "webhook",
    }
    later = await bench.got(headers=headers, now=1_700_000_900_000_000)
    assert later.headers["Authorization"] != token
    outcome = await bench.send(headers=headers)
    assert outcome.exchange
    assert outcome.exchange.request_headers["Authorization"] == "[redacted]"


@pytest.mark.parametrize(
    ("path", "naming", "query", "expected"),
    [
        ("/hook", "canonical", {}, "/hook/messages_upsert"),
        ("/hook/", "canonical", {}, "/hook/messages_upsert"),
        ("/hook", "evolution", {}, "/hook/messages-upsert"),
        ("", "canonical", {}, "/messages_upsert"),
        ("/a%2Fb?t=%26#x", "evolution", {"k": "a b&c"}, "/a%2Fb/messages-upsert?t=%26&k=a+b%26c"),
    ],
)
async def test_by_events_paths(
    bench: Bench, path: str, naming: str, query: dict[str, str], expected: str
) -> None:
    url = bench.receiver.url.removesuffix("/hook") + path
    message = {"event": an_event(name="messages.upsert")}
    got = await bench.got(
        url=url, naming=naming, webhook_by_events=True, query=query, message=message
    )
    assert got.target == expected
    assert json.loads(got.body)["destination"] == url


async def test_gzip_is_applied_after_signing(bench: Bench) -> None:
    got = await bench.got(gzip=True)
    assert got.headers["Content-Encoding"] == "gzip"
    plain = gzip.decompress(got.body)
    assert Webhook(NEW).verify(plain, dict(got.headers))["event"] == "order.paid"


async def test_another_method(bench: Bench) -> None:
    assert (await bench.got(method="PUT")).method == "PUT"


async def test_the_apikey_is_sent_only_when_asked_for(bench: Bench) -> None:
    assert json.loads((await bench.got(apikey="cmp_k")).body)["apikey"] is None
    shown = await bench.got(include_apikey=True, apikey="cmp_k")
    assert json.loads(shown.body)["apikey"] == "cmp_k"


async def test_a_template_gives_the_body(bench: Bench) -> None:
    event = an_event(data=b'{"order":{"id":123456789012345678901234567890,"total":10.50}}')
    template = "{text: join(' ', [event, instance]), id: data.order.id, total: data.order.total}"
    got = await bench.got(template=template, message={"event": event})
    assert got.body == (
        b'{"text":"order.paid loja-1","id":123456789012345678901234567890,"total":10.50}'
    )
    Webhook(NEW).verify(got.body, dict(got.headers))


async def test_a_template_that_cannot_be_filled_is_a_dead_letter(bench: Bench) -> None:
    outcome = await bench.send(template="sum(event)")
    assert isinstance(outcome, Rejected)
    assert outcome.reason.startswith("template: ")
    assert not outcome.disable
    assert bench.receiver.got == []


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_2xx_is_delivered(bench: Bench, status: int) -> None:
    bench.receiver.answer = lambda _: web.Response(status=status)
    assert isinstance(await bench.send(), Delivered)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 409, 422, 500, 502])
async def test_everything_else_may_do_better_later(bench: Bench, status: int) -> None:
    where = {"Location": bench.receiver.url, "Retry-After": "9"}
    bench.receiver.answer = lambda _: web.Response(status=status, headers=where)
    outcome = await bench.send()
    assert isinstance(outcome, Retry)
    assert f"HTTP {status}" in outcome.reason
    assert (outcome.after, outcome.counts) == (None, True)
    assert len(bench.receiver.got) == 1


async def test_gone_switches_the_sink_off(bench: Bench) -> None:
    bench.receiver.answer = lambda _: web.Response(status=410)
    outcome = await bench.send()
    assert isinstance(outcome, Rejected)
    assert outcome.disable


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "after"),
    [
        ("120", 120),
        ("0", None),
        ("999999999999999999999", 86_400),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("1.5", None),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60),
        ("Tue, 14 Nov 2023 22:10:00 GMT", None),
        ("Sun, 14 Nov 2100 22:10:00 GMT", 86_400),
    ],
)
async def test_retry_after_is_heeded(
    bench: Bench, status: int, value: str, after: float | None
) -> None:
    bench.receiver.answer = lambda _: web.Response(status=status, headers={"Retry-After": value})
    outcome = await bench.send(now=1_700_000_000_000_000)
    assert isinstance(outcome, Retry)
    assert outcome.after == after


@pytest.mark.parametrize("value", ["١٢", "1e3", "Tue, 99 Nov 2023", "\x00", "9" * 5000, None])
def test_any_retry_after_can_be_read(value: str | None) -> None:
    assert retry_after(value, datetime(2024, 1, 1, tzinfo=UTC)) in {None, 86_400.0}


async def test_the_exchange_is_kept_without_secrets(bench: Bench) -> None:
    bench.receiver.answer = lambda _: web.Response(
        status=500, body=b"e" * 9000, headers={"Set-Cookie": "sid=1", "X-Reason": "why"}
    )
    headers = {"Authorization": "Bearer s3cret", "X-Api-Key": "s3cret", "X-Shop": "loja"}
    outcome = await bench.send(headers=headers)
    assert outcome.exchange
    kept = outcome.exchange
    assert kept.status == 500
    assert kept.response_body == b"e" * 4096
    assert kept.response_headers["x-reason"] == "why"
    assert "set-cookie" not in kept.response_headers
    assert kept.request_headers["Authorization"] == "[redacted]"
    assert kept.request_headers["X-Api-Key"] == "[redacted]"
    assert kept.request_headers["X-Shop"] == "loja"
    assert kept.request_headers["webhook-signature"].startswith("v1,")
    assert "s3cret" not in repr(outcome)


async def test_a_blocked_address_is_a_failed_attempt(receiver: Receiver) -> None:
    async with Egress(require_https=False) as egress:
        outcome = await Bench(receiver, egress).send()
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("ssrf_blocked: ")
    assert outcome.counts
    assert outcome.exchange
    assert outcome.exchange.status is None
    assert receiver.got == []


async def test_our_own_trouble_burns_no_try(receiver: Receiver) -> None:
    def dead(_: str) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    async with Egress(lookup=dead) as egress:
        outcome = await Bench(receiver, egress).send(url="https://hooks.example/")
    assert isinstance(outcome, Retry)
    assert not outcome.counts
    assert outcome.reason.startswith("dns: ")


async def test_a_slow_receiver_is_cut_at_the_total_timeout(bench: Bench) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + b"x" * 9999:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    started = asyncio.get_running_loop().time()
    async with talking(drip) as port:
        outcome = await bench.send(url=f"http://127.0.0.1:{port}/", timeout=0.5)
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("timeout: ")
    assert outcome.counts
    assert asyncio.get_running_loop().time() - started < 3


async def test_a_batch_gets_its_outcomes_in_order(bench: Bench) -> None:
    bench.receiver.answer = lambda got: web.Response(
        status=500 if got.headers["webhook-id"].endswith("2") else 200
    )
    config = WebhookConfig(id="s", tenant="default", instance="loja-1", url=bench.receiver.url)
    sink = open_sink(config, a_context(bench.egress))
    outcomes = await sink.send([a_message(an_event(i)) for i in (1, 2, 3)])
    await sink.close()
    assert [type(outcome) for outcome in outcomes] == [Delivered, Retry, Delivered]


def test_a_configuration_of_another_kind_is_refused() -> None:
    config = RabbitmqConfig(id="s", tenant="default", instance="loja-1")
    with pytest.raises(TypeError):
        open_webhook(config, a_context(None))  # type: ignore[arg-type]  # never used


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_!!", "whsec_YWJj", "abc", "whpk_" + "a" * 32]
)
def test_a_bad_secret_is_told(secret: str) -> None:
    with pytest.raises(ValueError, match="signing secret"):
        secret_key(secret)


def test_secrets_have_a_length() -> None:
    assert len(secret_key(new_secret(b"x" * 32))) == 32
    with pytest.raises(ValueError, match="24 to 64"):
        new_secret(b"x" * 8)


def test_a_known_signature() -> None:
    """The example of the specification's libraries."""
    key = secret_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_replay_keeps_the_id(bench: Bench) -> None:
    message = replace(a_message(), dedupe_id="replay-1")
    got = await bench.got(message={"dedupe_id": message.dedupe_id})
    assert got.headers["webhook-id"] == message.event.id
