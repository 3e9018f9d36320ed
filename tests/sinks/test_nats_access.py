"""Who may connect to NATS, where to, and how that is kept from strangers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import nats as nats_client
import orjson
import pytest

from schemas.delivery import Delivered, Outcome, Retry
from schemas.sink_config import NatsConfig
from sinks import open_sink
from sinks.base import Context, HttpError
from tests.services import Nats, free_port
from tests.sinks.given import a_context, a_message, an_event
from tests.sinks.natskeys import Key, account_of, credentials
from tests.sinks.natsrig import NatsRig, NatsWith
from tests.sinks.proxy import passing
from tests.sinks.rabbit import NoHttp
from tests.sinks.receiver import talking, until
from tests.sinks.tls import self_signed

USER = Key("user")


def reason(outcome: Outcome) -> str:
    assert isinstance(outcome, Retry), outcome
    return outcome.reason


def configured(**changes: Any) -> NatsConfig:
    fields: dict[str, Any] = {"id": "s", "tenant": "t", "instance": "loja-1", "jetstream": False}
    return NatsConfig(**(fields | changes))


async def tried(config: NatsConfig, context: Context | None = None) -> Outcome:
    sink = open_sink(config, context or a_context(NoHttp()))
    try:
        [outcome] = await sink.send([a_message()])
        shown = f"{outcome} {sink.health()} {sink} {config}"
        assert "hidden" not in shown
        assert USER.seed not in shown
        return outcome
    finally:
        await sink.close()


@contextmanager
def serving(configuration: str, *, jetstream: bool = False) -> Iterator[NatsWith]:
    server = NatsWith(configuration, jetstream=jetstream)
    try:
        yield server.start()
    finally:
        server.close()


async def loopback(host: str, port: int) -> tuple[str, ...]:
    return ("127.0.0.1",)


async def test_passwords_in_fields_and_urls() -> None:
    with serving('authorization { user: "loja", password: "hidden@/:%" }') as server:
        url = server.url
        encoded = url.replace("//", "//loja:hidden%40%2F%3A%25@")
        assert await tried(configured(url=encoded)) == Delivered()
        good = configured(url=url, user="loja", password="hidden@/:%")
        assert await tried(good) == Delivered()
        for bad in (
            configured(url=url),
            configured(url=url, user="loja", password="hidden"),
            configured(url=encoded.replace("%25", "")),
        ):
            told = reason(await tried(bad))
            assert told == f"NATS at 127.0.0.1:{server.port}: Authorization Violation"


async def test_tokens_in_fields_and_urls() -> None:
    with serving('authorization { token: "hidden@token" }') as server:
        assert await tried(configured(url=server.url, token="hidden@token")) == Delivered()
        encoded = server.url.replace("//", "//hidden%40token@")
        assert await tried(configured(url=encoded)) == Delivered()
        told = reason(await tried(configured(url=server.url, token="hidden")))
        assert "Authorization Violation" in told


async def test_nkeys() -> None:
    with serving(f"authorization {{ users: [ {{ nkey: {USER.public} }} ] }}") as server:
        assert await tried(configured(url=server.url, nkey_seed=USER.seed)) == Delivered()
        other = configured(url=server.url, nkey_seed=Key("user").seed)
        assert "Authorization Violation" in reason(await tried(other))


async def test_credentials_files() -> None:
    operator, account = Key("operator"), Key("account")
    token = account.vouch(USER, pub={}, sub={}, subs=-1, data=-1, payload=-1)
    configuration = f"""
        operator: {operator.vouch(operator)}
        resolver: MEMORY
        resolver_preload: {{ {account.public}: {account_of(operator, account)} }}
    """
    with serving(configuration) as server:
        creds = credentials(token, USER.seed)
        assert await tried(configured(url=server.url, creds=creds)) == Delivered()
        wrong = credentials(token, Key("user").seed)
        told = reason(await tried(configured(url=server.url, creds=wrong)))
        assert "Authorization Violation" in told


BROKEN = {
    "not base32!": "not base32",
    USER.seed[:9] + ("A" if USER.seed[9] != "A" else "B") + USER.seed[10:]: "damaged",
    "SU": "damaged",
    Key("account").seed: "not a user's",
}


@pytest.mark.parametrize("seed", BROKEN, ids=range(len(BROKEN)))
async def test_a_broken_seed_is_told_in_time(nats: Nats, seed: str) -> None:
    async with asyncio.timeout(5):
        outcomes = [
            await tried(configured(url=nats.url, nkey_seed=seed)),
            await tried(configured(url=nats.url, creds=credentials("x.y.z", seed))),
        ]
    assert BROKEN[seed] in reason(outcomes[0])
    assert isinstance(outcomes[1], Retry)
    assert seed not in reason(outcomes[1])


@pytest.mark.parametrize(
    "creds", ["nonsense", credentials("x.y.z", ""), credentials("", "SUABC")], ids=range(3)
)
async def test_credentials_without_a_token_are_told_in_time(nats: Nats, creds: str) -> None:
    """nats-py itself would read them for ever."""
    async with asyncio.timeout(5):
        outcome = await tried(configured(url=nats.url, creds=creds))
    assert "hold no user JWT and seed" in reason(outcome)


async def test_a_forbidden_subject_is_told_in_both_ways() -> None:
    configuration = """authorization { users: [
        { user: u, password: p, permissions: { publish: ["t.loja-1.order.*", "$JS.>"] } } ] }"""
    with serving(configuration, jetstream=True) as server:
        batch = [a_message(an_event(1)), a_message(an_event(2, name="checkout.abandoned"))]
        for jetstream in (False, True):
            config = configured(url=server.url, user="u", password="p", jetstream=jetstream)
            sink = open_sink(config, a_context(NoHttp()))
            async with asyncio.timeout(4):  # sooner than any acknowledgement would be missed
                good, refused = await sink.send(batch)
            await sink.close()
            assert good == Delivered()
            assert "t.loja-1.checkout.abandoned" in reason(refused)


async def test_who_may_not_look_for_streams_can_name_one() -> None:
    configuration = """authorization { users: [
        { user: u, password: p, permissions: { publish: ["t.>"], subscribe: ["_INBOX.>"] } },
        { user: admin, password: p } ] }"""
    with serving(configuration, jetstream=True) as server:
        config = configured(url=server.url, user="u", password="p", jetstream=True, timeout=1.0)
        admin = await nats_client.connect(server.url, user="admin", password="p")
        await admin.jetstream().add_stream(name="shop", subjects=["t.>"])
        await admin.close()
        assert isinstance(await tried(config), Retry)
        assert await tried(config.model_copy(update={"stream": "shop"})) == Delivered()


async def test_a_server_without_jetstream_is_told() -> None:
    with serving("") as server:
        told = reason(await tried(configured(url=server.url, jetstream=True)))
    assert "JetStream" in told
    assert "`jetstream: false`" in told


async def test_one_dead_server_of_two_costs_one_try(nats: Nats) -> None:
    dead = f"nats://127.0.0.1:{free_port()}"
    sink = open_sink(configured(url=f"{dead}, {nats.url}"), a_context(NoHttp()))
    [first] = await sink.send([a_message()])
    assert "Connection refused" in reason(first)
    assert await sink.send([a_message()]) == [Delivered()]
    await sink.close()


async def test_a_tenants_url_goes_where_the_guard_says(nats: Nats) -> None:
    asked = []

    async def guard(host: str, port: int) -> tuple[str, ...]:
        asked.append((host, port))
        return ("127.0.0.1",)

    config = configured(url=f"nats://broker.invalid:{nats.port}")
    assert await tried(config, a_context(NoHttp(), guard=guard)) == Delivered()
    assert asked == [("broker.invalid", nats.port)]


async def test_a_refused_address_is_not_tried(nats: Nats) -> None:
    async def guard(host: str, port: int) -> tuple[str, ...]:
        raise HttpError("blocked", f"{host} is not public")

    outcome = await tried(configured(url=nats.url), a_context(NoHttp(), guard=guard))
    assert "ssrf_blocked: 127.0.0.1 is not public" in reason(outcome)


async def test_servers_that_a_server_speaks_of_are_not_visited() -> None:
    visits = 0

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visits
        visits += 1

    async with talking(visited) as trap:
        routes = [free_port(), free_port()]
        cluster = 'cluster {{ name: c, listen: "127.0.0.1:{}", routes: ["nats://127.0.0.1:{}"] }}'
        other = cluster.format(*routes) + f'\nclient_advertise: "127.0.0.1:{trap}"'
        with serving(other), serving(cluster.format(*reversed(routes))) as server:
            async with asyncio.timeout(10):
                while str(trap) not in await greeting(server.port):
                    await asyncio.sleep(0.05)
            sink = open_sink(configured(url=server.url), a_context(NoHttp()))
            assert await sink.send([a_message()]) == [Delivered()]
            for _ in range(3):
                await asyncio.to_thread(server.stop)
                await until(lambda: sink.health().state == "connecting")
                assert isinstance((await sink.send([a_message()]))[0], Retry)
                await asyncio.to_thread(server.start)
                async with asyncio.timeout(20):
                    while await sink.send([a_message()]) != [Delivered()]:
                        await asyncio.sleep(0.05)
            await sink.close()
    assert visits == 0


async def greeting(port: int) -> str:
    """The servers that a server says there are."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    line = await reader.readline()
    writer.close()
    return str(orjson.loads(line.removeprefix(b"INFO ")).get("connect_urls"))


@asynccontextmanager
async def encrypted(folder: Path) -> AsyncIterator[tuple[str, Path]]:
    """The URL of `broker.example`, which insists on TLS, and its authority."""
    _, authority = self_signed(folder, "broker.example")
    files = f'cert_file: "{authority}", key_file: "{folder / "key.pem"}"'
    with serving(f"tls {{ {files} }}") as server:
        yield f"tls://broker.example:{server.port}", authority


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_tls_asks_for_the_name_at_the_checked_address(tmp_path: Path, scheme: str) -> None:
    async with encrypted(tmp_path) as (url, authority):
        config = configured(url=url.replace("tls", scheme, 1))
        trusting = a_context(NoHttp(), guard=loopback, ca_file=str(authority))
        assert await tried(config, trusting) == Delivered()
        told = reason(await tried(config, a_context(NoHttp(), guard=loopback)))
        assert "certificate" in told
        elsewhere = config.model_copy(update={"url": config.url.replace("broker", "other")})
        told = reason(await tried(elsewhere, trusting))
        assert "certificate" in told


async def test_tls_is_not_talked_out_of() -> None:
    """A server, or somebody on the way, that offers no TLS hears nothing of ours."""
    heard = b""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        writer.write(b'INFO {"server_id":"x","max_payload":1048576,"auth_required":true}\r\n')
        heard += await reader.read()

    async with talking(talk) as port:
        config = configured(url=f"tls://127.0.0.1:{port}", user="u", password="hidden")
        told = reason(await tried(config))
    assert "offers no TLS" in told
    assert heard == b""


STRANGERS = {
    b"HTTP/1.1 400 Bad Request\r\n\r\n": "expecting INFO",
    b"INFO nonsense\r\n": "json parse error",
    b"INFO {}\r\nsomething else\r\n": "",
    b"INFO " + b"x" * 100_000: "",
    b"": "",
}


@pytest.mark.parametrize("words", STRANGERS)
async def test_something_else_at_the_port_is_a_retry(words: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        await writer.drain()

    async with talking(talk) as port, asyncio.timeout(10):
        told = reason(await tried(configured(url=f"nats://127.0.0.1:{port}")))
    assert told.startswith(f"NATS at 127.0.0.1:{port}: ")
    assert STRANGERS[words] in told


async def test_a_line_cut_under_load_loses_nothing(nats: Nats) -> None:
    rig = NatsRig(nats)
    async with passing(nats.port, cut_after=300_000) as outer:
        sink = open_sink(rig.configured(url=f"nats://127.0.0.1:{outer}"), rig.context)
        left = [a_message(an_event(i)) for i in range(1000)]
        cut = 0
        while left:
            outcomes = [
                o for i in range(0, len(left), 100) for o in await sink.send(left[i : i + 100])
            ]
            pairs = zip(left, outcomes, strict=True)
            left = [message for message, outcome in pairs if outcome != Delivered()]
            cut += len(left)
        await sink.close()
    assert 0 < cut < 1000
    assert {arrival.id for arrival in await rig.arrived()} == {an_event(i).id for i in range(1000)}
    await rig.close()
