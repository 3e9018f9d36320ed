"""Every row of the ingress table, and the bad inputs that reach it, on the running program."""

import asyncio
import gzip
import json
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway import samples
from tests.e2e.deliveries import SECRET, Delivery, kiwify, shopify
from tests.e2e.program import Answer, Program
from tests.sinks.receiver import Receiver

JSON = {"Content-Type": "application/json"}


async def stored(program: Program) -> list[Any]:
    answer = await program.call("GET", "/processing/webhooks")
    inbounds: list[Any] = answer.json["data"]
    return inbounds


async def started(program: Program, driver: str = "shopify", **environ: str) -> str:
    """The ingest URL of a fresh installation."""
    await program.start(**environ)
    made = await program.install(driver, "loja-1", SECRET)
    return str(made["ingest_url"])


def refused(answer: Answer, status: int) -> None:
    assert answer.status == status, answer.body
    assert answer.json["error"]
    assert answer.json["message"]


async def test_an_unsigned_ping_is_answered_and_not_stored(embedded: Program) -> None:
    url = await started(embedded, "woocommerce")
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    answer = await embedded.post(url, b"webhook_id=17", form)

    assert answer.status == 200
    assert await stored(embedded) == []


async def test_what_is_of_no_interest_is_kept_as_ignored(embedded: Program) -> None:
    url = await started(embedded)
    draft = samples.load("shopify/orders_paid").signed(SECRET, 0)
    headers = draft.headers | {"X-Shopify-Topic": "orders/delete"}

    answer = await embedded.post(url, draft.body, headers)

    assert answer.status == 200
    assert answer.json["events"] == []
    (inbound,) = await stored(embedded)
    assert inbound["outcome"] == "ignored"


@pytest.mark.parametrize(
    "body",
    [b"not json", b"{", b"\xff\xfe{\x00}\x00", b"[" * 3000, b'{"a":1,"a":2}', b'{"a":NaN}', b"{}"],
)
async def test_signed_nonsense_is_quarantined(embedded: Program, body: bytes) -> None:
    from drivers import BY_SLUG
    from drivers.claim import Draft

    url = await started(embedded)
    headers = dict(shopify().headers)
    draft = Draft(headers, {}, body, SECRET, 0)
    BY_SLUG["shopify"].scheme.sign(draft)

    answer = await embedded.post(url, body, headers)

    assert answer.status == 200, answer.body
    assert answer.json["quarantined"] is True
    (inbound,) = await stored(embedded)
    assert inbound["outcome"] == "quarantined"
    assert inbound["reason"]


@pytest.mark.parametrize(
    "change",
    [
        {"X-Shopify-Hmac-Sha256": "AAAA"},
        {"X-Shopify-Hmac-Sha256": "é" * 10},
        {"X-Shopify-Hmac-Sha256": ""},
        {"X-Shopify-Hmac-Sha256": "x" * 7000},
    ],
)
async def test_a_wrong_signature_is_refused_and_nothing_kept(
    embedded: Program, change: dict[str, str]
) -> None:
    url = await started(embedded)
    delivery = shopify()

    answer = await embedded.post(url, delivery.body, delivery.headers | change)

    refused(answer, 401)
    assert await stored(embedded) == []


async def test_a_missing_signature_or_changed_body_is_refused(embedded: Program) -> None:
    url = await started(embedded)
    delivery = shopify()
    bare = {k: v for k, v in delivery.headers.items() if "Hmac" not in k}

    refused(await embedded.post(url, delivery.body, bare), 401)
    refused(await embedded.post(url, delivery.body + b" ", delivery.headers), 401)
    other = shopify(secret="somebody else's")
    refused(await embedded.post(url, other.body, other.headers), 401)
    assert await stored(embedded) == []


async def test_a_stale_or_future_signature_is_refused(embedded: Program) -> None:
    url = await started(embedded, "stripe")
    now = int(time.time())
    for at in (now - 600, now + 600):
        draft = samples.load("stripe/charge_refunded_full").signed(SECRET, at)
        refused(await embedded.post(url, draft.body, draft.headers), 401)
    draft = samples.load("stripe/charge_refunded_full").signed(SECRET, now)
    for stamp in ("nan", "1.5", "9" * 400, ""):
        headers = draft.headers | {"Stripe-Signature": f"t={stamp},v1={'0' * 64}"}
        refused(await embedded.post(url, draft.body, headers), 401)
    assert (await embedded.post(url, draft.body, draft.headers)).status == 200


async def test_nobody_learns_which_urls_exist(embedded: Program) -> None:
    url = await started(embedded)
    delivery = shopify()
    wrong_token = url[:-1] + ("0" if url[-1] != "0" else "1")
    answers = [
        await embedded.post(wrong_token, delivery.body, delivery.headers),
        await embedded.post(url.replace("/shopify/", "/kiwify/"), delivery.body, delivery.headers),
        await embedded.post(url.replace("/shopify/", "/nope/"), delivery.body, delivery.headers),
        await embedded.post(f"{embedded.url}/hooks/shopify/a%2fb%00", b"{}", JSON),
    ]
    for answer in answers:
        refused(answer, 404)
    assert len({a.body for a in answers}) == 1


async def test_a_disabled_installation_is_not_there(embedded: Program) -> None:
    await embedded.start()
    made = await embedded.install("shopify", "loja-1", SECRET)
    await embedded.call("POST", f"/installations/{made['id']}/disable")
    refused(await shopify().post(embedded, made["ingest_url"]), 404)
    await embedded.call("POST", f"/installations/{made['id']}/enable")
    assert (await shopify().post(embedded, made["ingest_url"])).status == 200


async def test_an_unreadable_body_with_the_token_inside_is_a_bad_request(embedded: Program) -> None:
    url = await started(embedded, "ticto")
    refused(await embedded.post(url, b'{"token": ', JSON), 400)
    refused(await embedded.post(url, b"", JSON), 400)
    assert await stored(embedded) == []


async def test_types_and_encodings_nobody_sends_are_refused(embedded: Program) -> None:
    url = await started(embedded)
    delivery = shopify()
    for change in (
        {"Content-Type": "application/xml"},
        {"Content-Type": "image/png"},
        {"Content-Encoding": "br"},
        {"Content-Encoding": "gzip, gzip"},
    ):
        refused(await embedded.post(url, delivery.body, delivery.headers | change), 415)


async def test_compressed_bodies_are_understood(embedded: Program) -> None:
    url = await started(embedded)
    delivery = shopify()
    for encoding, packed in (
        ("gzip", gzip.compress(delivery.body)),
        ("deflate", zlib.compress(delivery.body)),
    ):
        headers = delivery.headers | {"Content-Encoding": encoding}
        answer = await embedded.post(url, packed, headers)
        assert answer.status == 200, answer.body
        assert answer.json["events"][0]["event"] == "order.paid"


async def test_broken_compression_is_a_bad_request(embedded: Program) -> None:
    url = await started(embedded)
    delivery = shopify()
    gzipped = delivery.headers | {"Content-Encoding": "gzip"}
    deflated = delivery.headers | {"Content-Encoding": "deflate"}
    refused(await embedded.post(url, gzip.compress(delivery.body)[:-20], gzipped), 400)
    refused(await embedded.post(url, b"\x00garbage", deflated), 400)


async def test_what_is_too_large_is_told_so(embedded: Program) -> None:
    url = await started(embedded, MAX_BODY="100000")
    delivery = shopify()
    gzipped = delivery.headers | {"Content-Encoding": "gzip"}
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 100_000

    refused(await embedded.post(url, b" " * 100_001, delivery.headers), 413)
    refused(await embedded.post(url, bomb, gzipped), 413)

    async def chunks() -> Any:
        for _ in range(30):
            yield b" " * 10_000

    async with embedded.session.post(url, data=chunks(), headers=delivery.headers) as answer:
        assert answer.status == 413


async def test_above_the_rate_it_says_when_to_come_back(embedded: Program) -> None:
    await embedded.start(INGEST_RATE="2")
    made = await embedded.install("kiwify", "loja-1", SECRET)
    answers = [await kiwify(n).post(embedded, made["ingest_url"]) for n in range(10)]
    limited = [a for a in answers if a.status == 429]
    assert {a.status for a in answers} == {200, 429}
    assert all(int(a.headers["Retry-After"]) >= 1 for a in limited)


async def tried(
    ask: Callable[[], Awaitable[list[Answer]]], good: Callable[[list[Answer]], bool]
) -> list[Answer]:
    """Ask until the answers are good; fails when that takes too long."""
    async with asyncio.timeout(20):
        for _ in range(1000):
            answers = await ask()
            if good(answers):
                return answers
            await asyncio.sleep(0.1)
    raise AssertionError("never")


async def test_a_full_backlog_is_refused_until_it_has_gone(
    embedded: Program, receiver: Receiver
) -> None:
    from aiohttp import web

    go = asyncio.Event()

    async def slowly(_: Any) -> web.StreamResponse:
        await go.wait()
        return web.Response()

    receiver.answer = slowly
    await embedded.start(MAX_BACKLOG="5")
    await embedded.webhook("loja-1", receiver.url, concurrency=1)
    made = await embedded.install("kiwify", "loja-1", SECRET)

    async def statuses() -> list[Answer]:
        return [await kiwify(n).post(embedded, made["ingest_url"]) for n in range(300, 310)]

    for number in range(200):
        await kiwify(number).post(embedded, made["ingest_url"])
    answers = await tried(statuses, lambda got: any(a.status == 503 for a in got))
    refusal = next(a for a in answers if a.status == 503)
    refused(refusal, 503)
    assert int(refusal.headers["Retry-After"]) >= 1
    assert (await embedded.call("GET", "/webhook/find/loja-1")).status == 200
    go.set()
    await tried(statuses, lambda got: all(a.status == 200 for a in got))


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("Transfer-Encoding: gzip, chunked", 400),
        ("Content-Length: +5", 400),
        ("Content-Length: 5\r\nContent-Length: 6", 400),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
        ("Host: other\r\nContent-Length: 2", 400),
    ],
)
async def test_smuggling_shapes_are_refused(embedded: Program, head: str, status: int) -> None:
    url = await started(embedded)
    path = url.removeprefix(embedded.url)
    request = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}\r\n\r\n{{}}"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", embedded.port)
    writer.write(request.encode())
    line = await asyncio.wait_for(reader.readline(), 15)
    writer.close()
    assert line.split()[1] == str(status).encode(), line


async def test_long_numbers_and_strange_text_survive(embedded: Program) -> None:
    """30-digit ids, NUL and lone surrogates are stored as they came, or quarantined; never 500."""
    url = await started(embedded, "kiwify")
    value = json.loads(kiwify(1).body)
    oddities: tuple[Any, ...] = (10**30, "a\u0000b", "\ud800", "9" * 5000, {"deep": [[[[]]]]})
    for oddity in oddities:
        value["order_ref"] = oddity
        value["order_id"] = f"odd-{str(oddity)[:8]!r}"
        answer = await signed(value).post(embedded, url)
        assert answer.status == 200, answer.body
    assert len(await stored(embedded)) == 5


def signed(value: Any) -> Delivery:
    """A Kiwify body of our own, signed."""
    from drivers import BY_SLUG

    draft = samples.load("kiwify/order_approved").signed(SECRET, 0)
    draft.body = json.dumps(value).encode()
    BY_SLUG["kiwify"].scheme.sign(draft)
    return Delivery(draft.body, draft.headers, f"?signature={draft.query['signature']}")
