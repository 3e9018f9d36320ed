"""Rows 19 to 34, and 13 where it runs: deliveries that are forged, broken, too much or too slow."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

from gateway import samples
from tests.api.rig import Answer
from tests.e2e.bad_inputs import SECRET, Ask, Case, Stage, shopify

REFUSED = "verification_failed"
PAID = shopify()[0]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


async def kept(stage: Stage, hook: Any) -> list[Any]:
    """The deliveries stored of an installation."""
    found = await stage.api.get(f"/processing/webhooks?filter[installation_id]={hook['id']}")
    return list(found.data)


def refused(body: bytes, headers: Any, driver: str = "shopify", query: str = "") -> Ask:
    """A delivery of which nothing must be kept."""

    async def ask(stage: Stage) -> Answer:
        hook = await stage.hook(driver)
        answer = await stage.deliver(hook["path"], body, headers, query)
        assert await kept(stage, hook) == []
        return answer

    return ask


def stored(body: bytes, headers: Any) -> Ask:
    """A delivery that is kept, once, whatever can be made of it."""

    async def ask(stage: Stage) -> Answer:
        hook = await stage.hook()
        answer = await stage.deliver(hook["path"], body, headers)
        (inbound,) = await kept(stage, hook)
        assert inbound["id"] == answer.body["inbound_id"]
        return answer

    return ask


def is_quarantined(answer: Answer) -> bool:
    return answer.body["quarantined"] is True and answer.body["events"] == []


def stripe(stamp: str | None = None, ago: int = 0, signature: str | None = None) -> Ask:
    """A Stripe delivery, signed so long `ago` (seconds), perhaps with another header then."""

    async def ask(stage: Stage) -> Answer:
        hook = await stage.hook("stripe")
        now = stage.api.services.now() // 1_000_000
        draft = samples.load("stripe/charge_refunded_full").signed(SECRET, now - ago)
        header = draft.headers["Stripe-Signature"]
        if stamp is not None:
            header = f"t={stamp},{header.partition(',')[2]}"
        draft.headers["Stripe-Signature"] = signature or header
        answer = await stage.deliver(hook["path"], draft.body, draft.headers)
        assert await kept(stage, hook) == []
        return answer

    return ask


async def with_a_neighbours_secret(stage: Stage) -> Answer:
    """The same answer, to the byte, as to a signature that is plainly wrong."""
    mine, theirs = await stage.hook(), await stage.hook(secret="the secret of another instance")
    body, headers = shopify()
    answer = await stage.deliver(theirs["path"], body, headers)
    wrong = await stage.deliver(mine["path"], body, headers | {"X-Shopify-Hmac-Sha256": "AAAA"})
    assert (answer.status, answer.body) == (wrong.status, wrong.body)
    return answer


def after_rotation(overlap: int) -> Ask:
    """A delivery signed with the secret before, while it still counts or when it does no more."""

    async def ask(stage: Stage) -> Answer:
        hook = await stage.hook()
        wish = {"secret": "a-newer-signing-secret", "overlap_seconds": overlap}
        assert (await stage.api.post(f"/installations/{hook['id']}/rotate-credentials", wish)).data
        return await stage.deliver(hook["path"], *shopify())

    return ask


async def twice(stage: Stage) -> Answer:
    hook = await stage.hook()
    first = await stage.deliver(hook["path"], *shopify())
    again = await stage.deliver(hook["path"], *shopify())
    assert again.body["inbound_id"] == first.body["inbound_id"]
    assert [e["id"] for e in again.body["events"]] == [e["id"] for e in first.body["events"]]
    assert len(await kept(stage, hook)) == 1
    return again


def exact(ident: bytes) -> Ask:
    """An id that comes out as it went in."""

    async def ask(stage: Stage) -> Answer:
        hook = await stage.hook()
        answer = await stage.deliver(hook["path"], *shopify(b'{"id": %b}' % ident))
        event = (await stage.api.get(f"/processing/events/{answer.body['events'][0]['id']}")).data
        assert event["data"]["order"]["id"] == str(json.loads(ident))
        return answer

    return ask


def head(path: str, *lines: str, host: str = "Host: x\r\n", method: str = "POST") -> bytes:
    """The head of a request, with these lines, to be closed when it is answered."""
    told = "".join(f"{line}\r\n" for line in ("Content-Type: application/json", *lines))
    return f"{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{told}\r\n".encode("latin-1")


def raw(*lines: str, body: bytes = b"{}", **more: str) -> Ask:
    """A request whose shape is wrong: refused, and the connection closed."""

    async def ask(stage: Stage) -> Answer:
        hook = await stage.hook()
        return await stage.raw(head(hook["path"], *lines, **more) + body)

    return ask


async def bare_line_feeds(stage: Stage) -> Answer:
    request = head((await stage.hook())["path"], "Content-Length: 2") + b"{}"
    return await stage.raw(request.replace(b"\r\n", b"\n"))


async def hopped(stage: Stage) -> Answer:
    hook = await stage.hook()
    body, headers = shopify()
    return await stage.deliver(hook["path"], body, headers | {"comporta-hop": "4"})


async def too_slow(stage: Stage) -> Answer:
    """A body that is announced and does not come; meanwhile, a head that does not end."""
    path = (await stage.hook())["path"]
    body = head(path, "Content-Length: 100") + b"{"
    answer, silence = await asyncio.gather(stage.raw(body), stage.trickle(head(path)[:-2]))
    assert silence == b""
    return answer


def forged() -> Iterator[Case]:
    body, good = shopify()
    bare = {k: v for k, v in good.items() if "Hmac" not in k}
    yield Case(13, "an event that went round", hopped, 508, "loop")
    yield Case(19, "no signature", refused(body, bare), 401, REFUSED)
    yield Case(20, "another's secret", with_a_neighbours_secret, 401, REFUSED)
    yield Case(20, "another body", refused(body + b" ", good), 401, REFUSED)
    many = ",".join(["t=1", *["v1=0"] * 1000])
    for header in ("garbage", "v1,a,b", "t=1,v1=%%%", "t=1,v1=\xe9", many):
        yield Case(21, header[:20], stripe(signature=header), 401, REFUSED)
    yield Case(22, "ten minutes old", stripe(ago=600), 401, REFUSED)
    yield Case(22, "ten minutes ahead", stripe(ago=-600), 401, REFUSED)
    for stamp in ("nan", "1.5", "9" * 400, "", "-1", "\u0661"):
        yield Case(22, f"time {stamp[:9]!r}", stripe(stamp), 401, REFUSED)
    yield Case(23, "the secret before, in its grace", after_rotation(60), 200)
    yield Case(23, "the secret before, too late", after_rotation(0), 401, REFUSED)
    is_known = Case(
        24, "the same again", twice, 200, also=lambda a: a.body["events"][0]["duplicate"]
    )
    yield is_known
    for name, value in (("X-Shopify-Hmac-Sha256", "AAAA"), ("X-Shopify-Webhook-Id", "1")):
        doubled = [*good.items(), (name, value)]
        yield Case(25, f"two of {name}", refused(body, doubled), 400, "repeated_header")
    typed_twice = [*good.items(), ("Content-Type", "text/plain")]
    yield Case(25, "two content types", refused(body, typed_twice), 400)


NONSENSE = (
    (26, "not JSON", b"not json"),
    (26, "an unknown shape", b'{"surprise": true}'),
    (27, "nothing", b""),
    (27, "a byte order mark", b"\xef\xbb\xbf{"),
    (27, "UTF-16", '{"a": 1}'.encode("utf-16")),
    (27, "invalid UTF-8", b'{"a": "\xff\xfe"}'),
    (28, "NaN", b'{"id": NaN}'),
    (28, "1e999", b'{"id": 1, "total_price": 1e999}'),
    (28, "a key twice", b'{"id": 1, "id": 2}'),
    (28, "2000 deep", b'{"a":' * 2000 + b"1" + b"}" * 2000),
)


def broken() -> Iterator[Case]:
    for row, name, body in NONSENSE:
        yield Case(row, f"{name}, signed", stored(*shopify(body)), 200, also=is_quarantined)
        if row == 27:
            yield Case(row, f"{name}, unsigned", refused(body, JSON), 401, REFUSED)
            in_body = refused(body, JSON, driver="ticto")
            yield Case(row, f"{name}, with the token inside", in_body, 400, "unparsable_body")
    digits = b"123456789012345678901234567890"
    for name, ident in (
        ("an id of 30 digits", digits),
        ("a lone surrogate", b'"a\\ud800b"'),
        ("a NUL", b'"a\\u0000b"'),
    ):
        yield Case(28, name, exact(ident), 200)
    over = b" " * 100_001
    yield Case(29, "announced too large", raw("Content-Length: 100001", body=over), 413)
    chunked = b"186a1\r\n" + over + b"\r\n0\r\n\r\n"
    yield Case(29, "chunked too large", raw("Transfer-Encoding: chunked", body=chunked), 413)
    bomb = gzip.compress(b" " * 20_000_000)
    for name, encoding, packed, status in (
        ("a bomb", "gzip", bomb, 413),
        ("truncated", "gzip", gzip.compress(PAID)[:-20], 400),
        ("a bad checksum", "gzip", gzip.compress(PAID)[:-8] + b"\0" * 8, 400),
        ("no deflate", "deflate", b"\0garbage", 400),
        ("a deflate bomb", "deflate", zlib.compress(b" " * 20_000_000), 413),
        ("unknown", "x", PAID, 415),
        ("twice", "gzip, gzip", gzip.compress(gzip.compress(PAID)), 415),
    ):
        headers = shopify()[1] | {"Content-Encoding": encoding}
        yield Case(30, f"{encoding}: {name}", refused(packed, headers), status)
    for kind in ("application/xml", "image/png", "text/html; charset=x", "multipart/form-data"):
        headers = shopify()[1] | {"Content-Type": kind}
        yield Case(33, kind, refused(PAID, headers), 415, "unsupported_media_type")


def misshapen() -> Iterator[Case]:
    yield Case(31, "gzip, chunked", raw("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 400)
    both = ("Content-Length: 5", "Transfer-Encoding: chunked")
    yield Case(32, "length and chunks", raw(*both, body=b"0\r\n\r\n"), 400)
    yield Case(32, "two lengths", raw("Content-Length: 2", "Content-Length: 3"), 400)
    for length in ("+5", "-1", "0x2", "2, 2", "2_0", "\xb2"):
        yield Case(32, f"length {length}", raw(f"Content-Length: {length}"), 400)
    for bad in (b"zz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}0\r\n\r\n", b"2;\n\r\n{}\r\n0\r\n\r\n"):
        yield Case(32, f"chunk {bad[:4]!r}", raw("Transfer-Encoding: chunked", body=bad), 400)
    yield Case(32, "a folded header", raw("X-A: b\r\n c", "Content-Length: 2"), 400)
    yield Case(32, "a space before the colon", raw("Content-Length : 2"), 400)
    yield Case(32, "bare line feeds", bare_line_feeds, 400)
    hosts = raw("Content-Length: 2", host="Host: a\r\nHost: b\r\n")
    yield Case(32, "two hosts", hosts, 400)
    lines = [f"X-{n}: 1" for n in range(200)]
    yield Case(32, "200 headers", raw("Content-Length: 2", *lines), 400)
    yield Case(32, "a header of 9 KB", raw("Content-Length: 2", "X-A: " + "a" * 9000), 400)
    yield Case(34, "a body or a head that stops", too_slow, 408, "request_timeout")


CASES = (*forged(), *broken(), *misshapen())
