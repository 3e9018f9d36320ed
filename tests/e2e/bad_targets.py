"""Rows 1 to 18: sinks that lead where they must not, or are not what they should be."""

from collections.abc import Iterator
from typing import Any

from aiohttp import web

from tests.api.rig import Answer
from tests.e2e.bad_inputs import Ask, Case, Stage

BLOCKED, INVALID = "ssrf_blocked", "validation_failed"


def is_told_twice(answer: Answer) -> bool:
    """In our words, and in those that Evolution API's clients read: an array in an array."""
    ((told, *_),) = answer.body["response"]["message"]
    return answer.body["error"] == "Bad request" and answer.body["status"] == 400 and bool(told)


def sets(kind: str, body: Any, *, allowed: bool = False) -> Ask:
    """Configure a sink, on a server that allows private addresses or on one that does not."""

    async def ask(stage: Stage) -> Answer:
        api = stage.api if allowed else stage.shut
        return await api.post(f"/{kind}/set/loja-{next(stage.numbers)}", body)

    return ask


def tried(url: str, **resolves: list[list[str]]) -> Ask:
    """Configure a webhook, which must work, and have it tried: nothing may arrive."""

    async def ask(stage: Stage) -> Answer:
        stage.names |= {name.replace("_", "."): answers for name, answers in resolves.items()}
        instance, before = f"loja-{next(stage.numbers)}", len(stage.receiver.got)
        where = url.format(port=stage.receiver.port)
        assert (await stage.shut.post(f"/webhook/set/{instance}", {"url": where})).status == 201
        answer = await stage.shut.post(f"/webhook/test/{instance}")
        assert len(stage.receiver.got) == before, "something was sent"
        return answer

    return ask


def is_blocked(answer: Answer) -> bool:
    told = answer.body.get("data", answer.body)
    return told["success"] is False and told["reason"].startswith(BLOCKED)


async def redirected(stage: Stage) -> Answer:
    """A receiver that sends us to the metadata service: its answer is the result."""
    instance, before = f"loja-{next(stage.numbers)}", len(stage.receiver.got)
    to = {"Location": "http://169.254.169.254/latest/meta-data"}
    stage.receiver.answer = lambda _: web.Response(status=302, headers=to)
    try:
        made = await stage.api.post(f"/webhook/set/{instance}", {"url": stage.receiver.url})
        assert made.status == 201, made.body
        answer = await stage.api.post(f"/webhook/test/{instance}")
    finally:
        del stage.receiver.answer
        stage.receiver.answer = lambda _: web.Response(text="ok")
    assert len(stage.receiver.got) == before + 1
    return answer


def is_redirect(answer: Answer) -> bool:
    told = answer.body.get("data", answer.body)
    return told["success"] is False and "302 (redirects are not followed)" in told["reason"]


URLS: dict[int, tuple[str, ...]] = {
    1: ("http://127.0.0.1", "http://localhost", "http://localhost.", "http://[::1]"),
    3: ("http://2130706433", "http://017700000001", "http://0x7f.1", "http://127.1", "http://0"),
    4: ("http://[::ffff:7f00:1]", "http://[::127.0.0.1]", "http://[64:ff9b::7f00:1]",
        "http://[2002:7f00:1::]", "http://[fec0::1]"),
    5: ("http://①②⑦.⓪.⓪.①", "http://127。0。0。1"),
    9: ("file:///etc/passwd", "gopher://a.example/", "ftp://a.example", "ws://a.example",
        "a.example"),
    10: ("https://user:pw@a.example/", "http://good@127.0.0.1"),
    11: ("https://a.example/\r\nX: y", "https://a.ex\nample", "https://a.example/\t",
         "https://a.example/\0", "https://a.example/a b", "https://a.example\\@b.example"),
    12: ("https://a.example:0", "https://a.example:22", "https://a.example:25",
         "https://a.example:6379", "https://a.example:65536",
         "https://a.example/" + "a" * 2048, "https://" + "a." * 130 + "example"),
    13: ("https://hooks.example.com/gw/hooks/x/y", "https://HOOKS.example.com:443/gw"),
}  # fmt: skip  # one row a line
METADATA = ("http://169.254.169.254", "http://metadata.google.internal",
            "http://[fd00:ec2::254]", "http://100.100.100.200")  # fmt: skip  # one row
HEADERS: dict[int, tuple[dict[str, str], ...]] = {
    14: ({"Host": "a"}, {"Content-Length": "1"}, {"Transfer-Encoding": "chunked"},
         {"webhook-signature": "v1,x"}),
    15: ({"X-A": "a\r\nb"}, {"X-A": "a\nb"}, {"X-A": "a\0b"}, {"X\r\nA": "b"}, {"X\0": "b"}),
}  # fmt: skip  # one row a line
BODIES: tuple[tuple[int, str, str, dict[str, Any]], ...] = (
    (16, "a cluster with a path", "pusher", {"cluster": "x.evil.com/#"}),
    (17, "a subject with *", "nats", {"url": "nats://n.example", "subject_prefix": "a.*"}),
    (17, "a subject with >", "nats", {"url": "nats://n.example", "subject_prefix": "a.>"}),
    (17, "a subject with a space", "nats", {"url": "nats://n.example", "subject_prefix": "a b"}),
    (17, "a reserved exchange", "rabbitmq", {"uri": "amqp://m.example", "exchange": "amq.x"}),
    (17, "a long queue name", "sqs", {"region": "sa-east-1", "queue_name": "a" * 81}),
    (18, "no known event", "webhook", {"url": "https://a.example", "events": ["NOPE"]}),
    (18, "a wrong type", "webhook", {"url": "https://a.example", "events": "ORDER_PAID"}),
    (18, "a word for a switch", "webhook", {"url": "https://a.example", "enabled": "yes"}),
)
CODES = {1: BLOCKED, 3: BLOCKED, 4: BLOCKED, 5: BLOCKED, 13: BLOCKED}


def warns(answer: Answer) -> bool:
    """An unknown field is no error here: who moves over from Evolution API sends many."""
    return bool(answer.body["warnings"] == ["unknown field colour is ignored"])


def names_every_fault(answer: Answer) -> bool:
    paths = {detail["path"] for detail in answer.body["details"]}
    return paths == {"events.0", "enabled", "headers.Host"}


def cases() -> Iterator[Case]:
    for row, urls in URLS.items():
        for url in urls:
            ask = sets("webhook", {"url": url})
            yield Case(row, url[:60], ask, 400, CODES.get(row), is_told_twice)
    for url in METADATA:
        for allowed in (False, True):
            ask = sets("webhook", {"url": url}, allowed=allowed)
            yield Case(2, f"{url} {'in an allowed net' * allowed}", ask, 400, BLOCKED)
    for row, sent in HEADERS.items():
        for headers in sent:
            ask = sets("webhook", {"url": "https://a.example", "headers": headers})
            yield Case(row, str(headers), ask, 400, also=is_told_twice)
    for row, name, kind, body in BODIES:
        yield Case(row, name, sets(kind, body), 400, also=is_told_twice)
    many = {
        "url": "https://a.example",
        "events": ["NOPE"],
        "enabled": "yes",
        "headers": {"Host": ""},
    }
    yield Case(18, "several faults at once", sets("webhook", many), 400, also=names_every_fault)
    odd = {"url": "https://a.example", "colour": 1}
    yield Case(18, "an unknown field", sets("webhook", odd), 201, also=warns)
    own = tried("http://own.example:{port}/", own_example=[["127.0.0.1"]])
    yield Case(1, "a name for the loopback, at dial", own, 200, also=is_blocked)
    mixed = tried("http://mixed.example:{port}/", mixed_example=[["8.8.8.8", "127.0.0.1"]])
    yield Case(6, "a public and a private address", mixed, 200, also=is_blocked)
    rebound = tried("http://turn.example:{port}/", turn_example=[["127.0.0.1"], ["8.8.8.8"]])
    yield Case(7, "a name that changed its mind", rebound, 200, also=is_blocked)
    yield Case(8, "a redirect to the metadata", redirected, 200, also=is_redirect)


CASES = tuple(cases())
