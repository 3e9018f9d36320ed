"""A full run of the program, and then a search of everything it wrote and said for every secret."""

import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from aiohttp import web

from gateway import samples
from tests.e2e.deliveries import SECRET, kiwify
from tests.e2e.program import KEY, SECRET_KEYS, Answer, Program, program
from tests.sinks.receiver import Receiver, until

NUMBERS = count(1)


class Secrets:
    """Makes secrets, and looks for them."""

    def __init__(self) -> None:
        self.known: list[str] = []

    def new(self, shape: str = "s3cr3t-{n}-of-this-run") -> str:
        self.known.append(shape.format(n=f"{next(NUMBERS):04}"))
        return self.known[-1]

    def learn(self, secret: str) -> str:
        self.known.append(secret)
        return secret

    def found_in(self, text: bytes) -> Iterator[str]:
        for secret in self.known:
            raw = secret.encode()
            spellings = {raw, quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode()}
            # Wherever it begins, two of three alignments of its base64 do not depend on neighbours.
            for shift in range(3):
                packed = base64.b64encode(b"\0" * shift + raw)
                spellings.add(packed[4 * bool(shift) : len(packed) - 4])
            if any(s in text for s in spellings):
                yield secret


class Run:
    """The program, with every answer it gave."""

    def __init__(self, server: Program, secrets: Secrets) -> None:
        self.server, self.secrets = server, secrets
        self.said = b""

    async def asks(
        self, method: str, path: str, body: Any = None, *, shown: tuple[str, ...] = (), **more: Any
    ) -> Answer:
        """A call. `shown`: the secrets that this answer may tell, because it made them."""
        answer = await self.server.call(method, path, body, **more)
        text = answer.body + json.dumps(answer.headers).encode()
        for secret in shown:
            text = text.replace(secret.encode(), b"")
        self.said += text
        return answer


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    secrets = Secrets()
    secrets.learn(KEY)
    secrets.learn(SECRET_KEYS)
    async with program(tmp_path, LOG_LEVEL="debug") as server:
        yield Run(server, secrets)


async def sinks(run: Run, receiver: Receiver) -> None:
    """Every kind, with every secret it takes."""
    new = run.secrets.new
    signing = run.secrets.learn(
        "whsec_" + base64.b64encode(b"the signing key of a sink, 32 b").decode()
    )
    bodies: dict[str, dict[str, Any]] = {
        "webhook": {
            "url": receiver.url,
            "secret": signing,
            "headers": {"Authorization": f"Bearer {new()}", "X-Api-Key": new()},
            "query": {"token": new()},
            "retry": [0.05],
        },
        "rabbitmq": {"uri": f"amqp://user:{new()}@127.0.0.1:1029/v"},
        "nats": {"url": "nats://127.0.0.1:1028", "token": new()},
        "sqs": {
            "region": "sa-east-1",
            "endpoint_url": "http://127.0.0.1:1027",
            "access_key_id": "AKIAEXAMPLE",
            "secret_access_key": new(),
        },
        "pusher": {
            "app_id": "1",
            "key": "k",
            "secret": new(),
            "host": "127.0.0.1:1026",
            "use_tls": False,
        },
        "websocket": {"enabled": True},
    }
    for kind, body in bodies.items():
        shown = (signing,) if kind == "webhook" else ()
        made = await run.asks("POST", f"/{kind}/set/loja", body, shown=shown)
        assert made.status == 201, made.body
        found = await run.asks("GET", f"/{kind}/find/loja")
        again = await run.asks("POST", f"/{kind}/set/loja", found.json, shown=shown)
        assert again.status == 201, again.body
        await run.asks("GET", f"/{kind}/list/loja")
        await run.asks("POST", f"/{kind}/test/loja")
        await run.asks("GET", f"/{kind}/status/loja")
    jwt = {"url": receiver.url, "headers": {"jwt_key": new()}, "secret": signing}
    await run.asks("POST", "/webhook/set/loja/signed", jwt, shown=(signing,))
    rotated = await run.server.call("POST", "/webhook/rotate-secret/loja", {})
    run.secrets.learn(rotated.json["secret"])


async def installations(run: Run) -> list[Any]:
    """What providers present: in a header, a signature, the query, the body; and API tokens."""
    new, made = run.secrets.new, []
    for driver, case in (
        ("hotmart", "purchase_approved"),
        ("shopify", "orders_paid"),
        ("kiwify", "order_approved"),
        ("ticto", ""),
        ("stripe", "charge_refunded_full"),
    ):
        secret = new()
        credentials = {"secret": secret}
        if driver == "shopify":
            credentials["access_token"] = new()
        wish = {"driver": driver, "instance": "loja", "credentials": credentials}
        answer = await run.asks("POST", "/installations", wish)
        assert answer.status == 201, answer.body
        one = answer.json["data"]
        name = case or samples.names(driver)[0].partition("/")[2]
        made.append((one, samples.load(f"{driver}/{name}"), secret))
        newer = {"secret": new(), "overlap_seconds": 600}
        await run.asks("POST", f"/installations/{one['id']}/rotate-credentials", newer)
        await run.asks("GET", f"/installations/{one['id']}")
    oauth = {"redirect_url": "https://a.example/cb", "client_id": "id", "client_secret": new()}
    await run.asks("PUT", "/drivers/bling/settings", {"oauth_settings": oauth})
    await run.asks("GET", "/drivers/bling/settings")
    return made


async def deliveries(run: Run, made: list[Any]) -> None:
    """Good ones and forged ones; the secret is in some of them as it is."""
    server = run.server
    now = int(time.time())
    for one, sample, secret in made:
        draft = sample.signed(secret, now)
        url = one["ingest_url"]
        if draft.query:
            url += "?" + "&".join(f"{k}={quote(v)}" for k, v in draft.query.items())
        good = await server.post(url, draft.body, draft.headers)
        assert good.status == 200, (one["driver"], good.body)
        for body, headers in (
            (draft.body + b" ", {k: v + "x" for k, v in draft.headers.items() if "Type" not in k}),
            (b"{", draft.headers),
        ):
            run.said += (await server.post(url, body, headers)).body


async def everything_is_looked_at(run: Run) -> None:
    for path in (
        "/installations?limit=100",
        "/instances",
        "/api-keys",
        "/audit",
        "/drivers?limit=100",
        "/tenants",
        "/metrics",
        "/openapi.json",
    ):
        await run.asks("GET", path)
    for kind in ("events", "webhooks", "dispatches"):
        listed = await run.asks("GET", f"/processing/{kind}?limit=100")
        for item in listed.json["data"]:
            await run.asks("GET", f"/processing/{kind}/{item['id']}")


async def misuse(run: Run) -> None:
    """Secrets where they do not belong come back in no error."""
    new = run.secrets.new
    bad = {"url": f"https://user:{new()}@a.example/", "secret": new(), "headers": {"Host": new()}}
    assert (await run.asks("POST", "/webhook/set/bad", bad)).status == 400
    bad = {"uri": f"amqp://u:{new()}@localhost/"}
    assert (await run.asks("POST", "/rabbitmq/set/bad", bad)).status == 400
    wish = {"driver": "shopify", "instance": "loja", "credentials": {"secret": 5, "x": new()}}
    assert (await run.asks("POST", "/installations", wish)).status == 422
    assert (await run.asks("GET", "/drivers", key=new("cmp_{n}" + "x" * 36))).status == 401
    assert (await run.asks("GET", f"/ws/loja?apikey={new()}", key=None)).status == 401


async def test_no_secret_is_in_what_it_wrote_or_said(run: Run, receiver: Receiver) -> None:
    receiver.answer = lambda _: web.Response(text="ok", headers={"Set-Cookie": "a=b"})
    server, secrets = run.server, run.secrets
    await server.start()
    await sinks(run, receiver)
    made = await installations(run)
    fresh = await server.call("POST", "/api-keys", {"name": "k", "permissions": ["*"]})
    secrets.learn(fresh.json["data"]["key"])
    tenant = await server.call("POST", "/tenants", {"name": "acme"})
    secrets.learn(tenant.json["data"]["key"])
    await run.asks("GET", "/api-keys", key=fresh.json["data"]["key"])
    await deliveries(run, made)
    await until(lambda: len(receiver.got) > 4)
    await misuse(run)
    await everything_is_looked_at(run)
    await run.asks("POST", "/encryption/rotate")
    assert await server.end() == 0
    for one, *_ in made:  # shown to whoever may see the installation, and never written as it is
        secrets.learn(urlsplit(one["ingest_url"]).path.rpartition("/")[2])

    said = run.said
    for one, *_ in made:
        said = said.replace(one["ingest_url"].encode(), b"")
    assert list(secrets.found_in(said)) == []
    assert list(secrets.found_in(server.log.encode())) == []
    files = [path for path in (server.folder / "data").rglob("*") if path.is_file()]
    assert any(path.name == "comporta.db" for path in files)
    for path in files:
        assert list(secrets.found_in(path.read_bytes())) == [], path
    assert len(secrets.known) > 30


async def test_who_was_erased_is_in_no_file(embedded: Program) -> None:
    """Neither in the tables nor in what SQLite keeps of pages it no longer uses."""
    server = embedded
    await server.start()
    made = await server.install("kiwify", "loja", SECRET)
    sample = json.loads(kiwify(1).body)
    email = sample["Customer"]["email"]
    for number in range(40):
        assert (await kiwify(number).post(server, made["ingest_url"])).status == 200
    database = server.folder / "data" / "comporta.db"
    done = await server.data("POST", "/privacy/erase", {"email": email})
    assert (done["events"], done["inbounds"]) == (40, 40)
    assert await server.end() == 0

    assert database.stat().st_size > 100_000
    assert not database.with_name("comporta.db-wal").exists()
    assert email.encode() not in database.read_bytes().lower()
