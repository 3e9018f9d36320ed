"""Rows 35 to 40: names that are none, keys that open nothing, and sockets that ask for too much."""

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

import aiohttp
from aiohttp import web

from tests.api.owner import REDIRECT, Owner
from tests.api.rig import Answer
from tests.e2e.bad_deliveries import head
from tests.e2e.bad_inputs import Ask, Case, Stage
from tests.provider_apis.oauth import Bling, authority
from tests.sinks.receiver import answer_ok, until

LONG = "a" * 300
NAMES = ("..", ".", "a%2fb", "%00", "%ff%fe", "a%20b", "-a", LONG, "%2e%2e")


def at(method: str, path: str, *, body: bytes = b"") -> Ask:
    """A path to the byte: no client tidies it up on its way."""

    async def ask(stage: Stage) -> Answer:
        lines = (f"apikey: {stage.api.key}", f"Content-Length: {len(body)}")
        return await stage.raw(head(path, *lines, method=method) + body)

    return ask


def with_key(key: str | None, method: str = "GET", path: str = "/webhook/find/loja") -> Ask:
    async def ask(stage: Stage) -> Answer:
        return await stage.api.with_key(key).call(method, path)

    return ask


async def expired(stage: Stage) -> Answer:
    """A key that worked a moment ago."""
    made = (await stage.api.post("/api-keys", {"name": "brief", "permissions": ["*"]})).data
    holder, directory = stage.api.with_key(made["key"]), stage.api.services.directory
    assert (await holder.get("/drivers")).status == 200
    key = directory.api_key(made["id"])
    assert key
    await directory.save("api_key", key.model_copy(update={"expires_at": 1}))
    return await holder.get("/drivers")


def of_another_tenant(method: str, path: str, body: Any = None) -> Ask:
    """What is there, asked for with a key of another tenant."""

    async def ask(stage: Stage) -> Answer:
        hook = await stage.hook()
        where = path.format(**hook)
        mine = await stage.api.call(method, where, body)
        assert mine.status < 400, mine.body
        return await stage.stranger.call(method, where, body)

    return ask


def lacking(permission: str, method: str, path: str) -> Ask:
    """A key with every permission but one."""
    from gateway.security import PERMISSIONS

    async def ask(stage: Stage) -> Answer:
        limited = await stage.api.limited(*(p for p in PERMISSIONS if p != permission))
        answer = await limited.call(method, path)
        assert permission in answer.body["message"]
        return answer

    return ask


NEW_KEY = {"name": "twice", "permissions": []}


def with_idempotency_key(key: str, body: Any) -> Ask:
    """A request with the key of one that was carried out."""

    async def ask(stage: Stage) -> Answer:
        name = key.format(n=next(stage.numbers))
        headers = {"Idempotency-Key": name}
        first = await stage.api.post("/api-keys", NEW_KEY, headers=headers)
        assert first.status == (201 if len(name) < 256 else 400)
        return await stage.api.post("/api-keys", body, headers=headers)

    return ask


async def while_it_runs(stage: Stage) -> Answer:
    """The same request twice at once, the first of which takes its time: it asks a receiver."""
    instance, go = f"loja-{next(stage.numbers)}", asyncio.Event()

    async def slowly(_: Any) -> web.StreamResponse:
        await go.wait()
        return web.Response()

    headers, path = {"Idempotency-Key": instance}, f"/webhook/test/{instance}"
    before, stage.receiver.answer = len(stage.receiver.got), slowly
    assert (await stage.api.post(f"/webhook/set/{instance}", {"url": stage.receiver.url})).status
    first = asyncio.create_task(stage.api.post(path, headers=headers))
    await until(lambda: len(stage.receiver.got) > before)
    answer = await stage.api.post(path, headers=headers)
    go.set()
    assert (await first).status == 200
    stage.receiver.answer = answer_ok
    return answer


def returns(change: str) -> Ask:
    """An owner who comes back from a provider with something else than what was agreed on:
    `{state}` and `{code}` are those that would be right.
    """

    async def ask(stage: Stage) -> Answer:
        async with authority(Bling) as provider:
            owner = Owner(stage.api, provider)
            await owner.configures()
            made, other = await owner.installs(), await owner.installs()
            right = dict(parse_qsl(provider.grant(made["auth_url"])))
            wrong = f"{other['id']}{right['state'][26:]}"
            if change == "used":
                assert (await owner.comes_back(urlencode(right))).status == 302
            query = urlencode(right) if change == "used" else change.format(foreign=wrong, **right)
            answer = await owner.comes_back(query)
        assert "evil" not in str(answer.headers)
        return answer

    return ask


def leads_home(answer: Answer) -> bool:
    """To the registered address, whatever the query wishes."""
    return bool(answer.headers["Location"].startswith(REDIRECT))


async def listened(stage: Stage) -> str:
    """An instance to whose events somebody may listen."""
    instance = f"loja-{next(stage.numbers)}"
    assert (await stage.api.post(f"/websocket/set/{instance}", {"enabled": True})).status == 201
    return instance


def socket(instance: str = "", **headers: str) -> Ask:
    """A websocket that must not be opened."""

    async def ask(stage: Stage) -> Answer:
        path = f"/ws/{instance or await listened(stage)}"
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        sent = upgrade | {name.replace("_", "-"): text for name, text in headers.items()}
        async with stage.api.session.get(stage.api.url + path, headers=sent) as got:
            return Answer(got.status, await got.json(), got.headers)

    return ask


async def strange_room(stage: Stage) -> Answer:
    """Another tenant's room is one that is not there, though its name is right."""
    instance = await listened(stage)
    return await socket(instance, apikey=str(stage.stranger.key))(stage)


def closed(answer: Answer, code: int) -> bool:
    return bool(answer.body == {"closed": code})


async def cut(stage: Stage, key: str, then: Any) -> Answer:
    """The code with which an open websocket is closed after what `then` does."""
    url = f"{stage.api.url}/ws/{await listened(stage)}"
    async with stage.api.session.ws_connect(url, headers={"apikey": key}) as websocket:
        await then(websocket)
        async with asyncio.timeout(20):
            message = await websocket.receive()
        return Answer(101, {"closed": message.data}, {})


async def revoked(stage: Stage) -> Answer:
    made = (await stage.api.post("/api-keys", {"name": "gone", "permissions": ["*"]})).data

    async def revoke(_: aiohttp.ClientWebSocketResponse) -> None:
        assert (await stage.api.delete(f"/api-keys/{made['id']}")).status == 204

    return await cut(stage, made["key"], revoke)


async def flooded(stage: Stage) -> Answer:
    """It is enough to announce such a frame."""

    async def flood(websocket: aiohttp.ClientWebSocketResponse) -> None:
        size = (5 * 1024 * 1024).to_bytes(8)
        websocket._writer.transport.write(b"\x82\xff" + size + b"mask" + b"x" * 1024)

    return await cut(stage, str(stage.api.key), flood)


def cases() -> Iterator[Case]:
    for name in NAMES:
        yield Case(35, f"set {name[:20]}", at("POST", f"/webhook/set/{name}", body=b"{}"), 400)
        yield Case(35, f"find {name[:20]}", at("GET", f"/webhook/find/{name}"), 400)
    yield Case(36, "no key", with_key(None), 401, "unauthorized")
    yield Case(36, "an unknown key", with_key("cmp_" + "x" * 40), 401, "unauthorized")
    yield Case(36, "odd characters", with_key("\u00e9" * 20), 401, "unauthorized")
    yield Case(36, "an expired key", expired, 401, "unauthorized")
    for path in ("/installations/{id}", "/instances/{instance}"):
        yield Case(36, f"another tenant's {path}", of_another_tenant("GET", path), 404, "not_found")
    lacks = lacking("DRIVERS_MANAGE", "GET", "/drivers/shopify/settings")
    yield Case(37, "no DRIVERS_MANAGE", lacks, 403, "forbidden")
    other = {"name": "another", "permissions": []}
    reused = with_idempotency_key("reused-{n}", other)
    yield Case(38, "reused with another body", reused, 422, "idempotency_key_reused")
    again = with_idempotency_key("again-{n}", NEW_KEY)
    same = Case(38, "the same again", again, 201, also=lambda a: "key" in a.body["data"])
    yield same
    long = with_idempotency_key("a" * 300, NEW_KEY)
    yield Case(38, "300 characters", long, 400, "invalid_idempotency_key")
    yield Case(38, "while the first runs", while_it_runs, 409, "still_running")
    yield Case(39, "no state", returns("code={code}"), 400, "invalid_state")
    foreign_state = returns("state={foreign}&code={code}")
    yield Case(39, "another's state", foreign_state, 400, "invalid_state")
    yield Case(39, "a used state", returns("used"), 400, "state_used")
    two = returns("state={state}&code={code}&code=x")
    yield Case(39, "two codes", two, 400, "invalid_callback")
    denied = returns("state={state}&error=access_denied&next=https://evil.example")
    yield Case(39, "the owner said no", denied, 302, also=leads_home)
    onward = returns("state={state}&code={code}&next=https://evil.example")
    yield Case(39, "another way home", onward, 302, also=leads_home)
    yield Case(40, "no key", socket(), 401, "unauthorized")
    foreign = socket(Origin="https://evil.example", apikey="cmp_the_admin_of_these_tests")
    yield Case(40, "a foreign page", foreign, 403, "origin_not_allowed")
    yield Case(40, "another tenant's room", strange_room, 404, "not_found")
    yield Case(40, "a revoked key", revoked, 101, also=lambda a: closed(a, 4401))
    yield Case(40, "a frame of 5 MiB", flooded, 101, also=lambda a: closed(a, 1009))


CASES = tuple(cases())
