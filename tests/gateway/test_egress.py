"""The guarded way out, against real servers on the loopback."""

import asyncio
import errno
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web

from gateway.egress import Egress, _tls, _translated
from gateway.hops import HOP_HEADER
from gateway.http_pool import Place, Pool
from gateway.resolver import BlockedAddressError, GuardedResolver
from schemas.target import AllowList, is_blocked
from sinks.base import HttpAnswer, HttpError
from tests.sinks.receiver import Receiver, receiving, talking, until
from tests.sinks.tls import self_signed

LOOPBACK = AllowList.parse(["127.0.0.0/8"])


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress(allow=LOOPBACK) as egress:
        yield egress


async def post(egress: Egress, url: str, **more: Any) -> HttpAnswer:
    return await egress.request("POST", url, headers={}, body=b"{}", **more)


async def failure(egress: Egress, url: str, **more: Any) -> HttpError:
    with pytest.raises(HttpError) as failed:
        await post(egress, url, **more)
    return failed.value


TRICKS = """
http://127.0.0.1:{p} http://localhost:{p} http://localhost.:{p} http://[::1]:{p}
http://[::ffff:127.0.0.1]:{p} http://[::ffff:7f00:1]:{p} http://2130706433:{p} http://0x7f.1:{p}
http://017700000001:{p} http://127.1:{p} http://0:{p} http://0.0.0.0:{p} http://127.0.0.1.:{p}
http://①②⑦.⓪.⓪.①:{p} http://127。0。0。1:{p} http://good.example@127.0.0.1:{p}
http://127.0.0.1:{p}@good.example http://good.example:{p} https://good.example:{p}
http://sub.localhost:{p} http://good.example.:{p} http://GOOD.example:{p} http://%31%32%37.0.0.1:{p}
""".split()


async def no_trick_reaches() -> None:
    async with (
        receiving() as receiver,
        Egress(require_https=False, lookup=lambda _: ["127.0.0.1"]) as egress,
    ):
        for trick in TRICKS:
            assert (await failure(egress, trick.format(p=receiver.port))).kind == "blocked", trick
        assert receiver.got == []


async def test_no_spelling_reaches_the_loopback() -> None:
    await no_trick_reaches()


def test_no_spelling_reaches_the_loopback_under_uvloop() -> None:
    uvloop.run(no_trick_reaches())


async def test_the_socket_itself_is_guarded(receiver: Receiver) -> None:
    """Were everything before it to fail, the address is still judged where it is dialled."""
    careless = GuardedResolver(lambda _: False, lambda _: ["127.0.0.1"])
    pool = Pool(is_blocked, careless, _tls(""), 8)
    for host in ("127.0.0.1", "good.example"):
        with pytest.raises(BlockedAddressError):
            await pool.take(Place(host, receiver.port, tls=False))
    pool.close()
    assert receiver.got == []


async def test_a_name_that_changes_its_mind_is_refused(receiver: Receiver) -> None:
    answers = [["8.8.8.8"], ["127.0.0.1"]]
    async with Egress(require_https=False, lookup=lambda _: answers.pop(0)) as egress:
        assert await egress.guard("rebinding.example", 8080) == ("8.8.8.8",)
        failed = await failure(egress, f"http://rebinding.example:{receiver.port}/")
    assert failed.kind == "blocked"
    assert not failed.ours
    assert "127.0.0.1" in failed.message
    assert receiver.got == []


async def test_one_bad_address_condemns_a_name() -> None:
    async with Egress(require_https=False, lookup=lambda _: ["8.8.8.8", "10.0.0.1"]) as egress:
        assert (await failure(egress, "http://mixed.example/")).kind == "blocked"
        with pytest.raises(HttpError, match=r"10\.0\.0\.1"):
            await egress.guard("mixed.example", 5672)


async def test_a_listed_name_may_be_private_but_lends_nothing(receiver: Receiver) -> None:
    allow = AllowList.parse(["hooks.internal"])
    async with Egress(allow=allow, require_https=False, lookup=lambda _: ["127.0.0.1"]) as egress:
        url = "http://{}:" + f"{receiver.port}/"
        assert (await post(egress, url.format("hooks.internal"))).status == 200
        assert (await failure(egress, url.format("other.example"))).kind == "blocked"
        assert (await failure(egress, url.format("127.0.0.1"))).kind == "blocked"
        assert await egress.guard("hooks.internal", 4222) == ("127.0.0.1",)
    async with Egress(allow=allow, lookup=lambda _: ["169.254.169.254"]) as egress:
        assert (await failure(egress, "http://hooks.internal/")).kind == "blocked"


@pytest.mark.parametrize(
    ("host", "port"),
    [("10.0.0.1", 5672), ("169.254.169.254", 80), ("::1", 4222), ("localhost", 5672), ("a b", 5672),
     ("8.8.8.8", 25), ("8.8.8.8", 0), ("2130706433", 5672)],
)  # fmt: skip  # one case a line would hide the table
async def test_brokers_are_guarded_alike(egress: Egress, host: str, port: int) -> None:
    with pytest.raises(HttpError) as refused:
        await egress.guard(host, port)
    assert refused.value.kind == "blocked"


async def test_a_brokers_address_is_given_to_connect_to(egress: Egress) -> None:
    assert await egress.guard("127.0.0.1", 5672) == ("127.0.0.1",)
    assert await egress.guard("8.8.8.8", 443) == ("8.8.8.8",)


async def test_a_redirect_is_an_answer(egress: Egress, receiver: Receiver) -> None:
    where = "http://169.254.169.254/latest/meta-data"
    receiver.answer = lambda _: web.Response(status=302, headers={"Location": where})
    answer = await post(egress, receiver.url)
    assert (answer.status, answer.headers["location"]) == (302, where)
    assert len(receiver.got) == 1


async def test_requests_go_out_bare(
    egress: Egress, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9/")
    url = receiver.url + "?a=%2F&b=+"
    await egress.request("PUT", url, headers={"X-One": "1"}, body=b"x")
    last = receiver.got[-1]
    assert (last.method, last.target, last.body) == ("PUT", "/hook?a=%2F&b=+", b"x")
    assert last.headers["Accept-Encoding"] == "identity"
    assert "Content-Type" not in last.headers
    assert last.headers[HOP_HEADER] == "1"
    await egress.request("POST", receiver.url, headers={HOP_HEADER: "3"}, body=b"")
    assert receiver.got[-1].headers.getall(HOP_HEADER) == ["3"]


async def test_cookies_are_not_kept(receiver: Receiver) -> None:
    receiver.answer = lambda _: web.Response(headers={"Set-Cookie": "a=b"})
    async with Egress(
        allow=LOOPBACK, require_https=False, lookup=lambda _: ["127.0.0.1"]
    ) as egress:
        for _ in range(2):  # by a name: an address would get no cookie anyway
            await post(egress, f"http://hooks.example:{receiver.port}/")
    assert len(receiver.got) == 2
    assert "Cookie" not in receiver.got[-1].headers


async def test_small_answers_keep_the_connection(egress: Egress, receiver: Receiver) -> None:
    receiver.answer = lambda _: web.Response(body=b"a" * 4096)
    for _ in range(3):
        assert (await post(egress, receiver.url)).body == b"a" * 4096
    assert len({got.peer for got in receiver.got}) == 1


async def test_large_answers_are_cut_and_hung_up_on(egress: Egress) -> None:
    sent = 0
    over = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        try:
            for _ in range(16384):
                writer.write(b"x" * 65536)
                await writer.drain()
                sent += 65536
        finally:
            over.set()

    async with talking(talk) as port:
        answer = await post(egress, f"http://127.0.0.1:{port}/", limit=4096)
        assert answer.body == b"x" * 4096
        async with asyncio.timeout(20):
            await over.wait()
    assert sent < 32 * 1024 * 1024  # what the kernel's buffers took, not the gigabyte


async def test_compressed_answers_are_not_inflated(egress: Egress, receiver: Receiver) -> None:
    receiver.answer = lambda _: web.Response(
        body=b"\x1f\x8b garbage", headers={"Content-Encoding": "gzip", "X-A": "1"}
    )
    answer = await post(egress, receiver.url)
    assert answer.body == b"\x1f\x8b garbage"
    assert answer.headers["content-encoding"] == "gzip"


HEAD = b"HTTP/1.1 200 OK\r\n"


async def endless_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HEAD)
    while True:
        writer.write(b"X-A: " + b"b" * 4000 + b"\r\n")
        await writer.drain()


async def one_byte_at_a_time(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    for byte in HEAD + b"Content-Length: 100000\r\n\r\n" + b"x" * 100000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.01)


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HEAD + b"Content-Length: 100\r\n\r\nonly")


async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.transport.abort()


@pytest.mark.parametrize(
    ("talk", "kind"),
    [
        (slam, "connect"),
        (endless_headers, "protocol"),
        (one_byte_at_a_time, "timeout"),
        (silence, "timeout"),
        (nonsense, "protocol"),
        (hang_up, "protocol"),
        (break_off, "protocol"),
    ],
)
async def test_a_misbehaving_server_ends_as_an_error(egress: Egress, talk: Any, kind: str) -> None:
    started = asyncio.get_running_loop().time()
    async with talking(talk) as port:
        with pytest.raises(HttpError) as raised:
            await egress.request(
                "POST",
                f"http://127.0.0.1:{port}/?secret=1",
                headers={},
                body=b"x" * 4_000_000 if talk is slam else b"",
                timeout=1.0,
            )
    failed = raised.value
    assert (failed.kind, failed.ours) == (kind, False)
    assert "secret" not in failed.message
    assert asyncio.get_running_loop().time() - started < 5


async def test_nobody_listening(egress: Egress) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    failed = await failure(egress, f"http://127.0.0.1:{port}/")
    assert (failed.kind, failed.ours) == ("connect", False)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS])
def test_running_out_of_sockets_is_our_trouble(number: int) -> None:
    assert _translated(OSError(number, "x")).ours
    assert not _translated(OSError(errno.ECONNREFUSED, "x")).ours


@pytest.mark.parametrize("headers", [{"X-A": "b\r\nHost: c"}, {"X\r\nA": "b"}, {"X-A": "b\0"}])
async def test_a_header_cannot_smuggle_another(
    egress: Egress, receiver: Receiver, headers: dict[str, str]
) -> None:
    with pytest.raises(HttpError) as failed:
        await egress.request("POST", receiver.url, headers=headers, body=b"")
    assert failed.value.kind == "protocol"
    assert receiver.got == []


async def test_a_dead_resolver_is_our_trouble_and_stops_nobody(receiver: Receiver) -> None:
    stuck, asked = threading.Event(), []

    def lookup(host: str) -> list[str]:
        asked.append(host)
        if host == "dead.example":
            stuck.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        if host == "missing.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ["127.0.0.1"]

    async with Egress(allow=LOOPBACK, require_https=False, lookup=lookup) as egress:
        dead = [asyncio.create_task(failure(egress, "http://dead.example/")) for _ in range(50)]
        await until(lambda: bool(asked))
        answer = await post(egress, f"http://alive.example:{receiver.port}/", timeout=5)
        assert answer.status == 200
        missing = await failure(egress, "http://missing.example/")
        assert (missing.kind, missing.ours) == ("dns", False)
        stuck.set()
        for failed in await asyncio.gather(*dead):
            assert (failed.kind, failed.ours) == ("dns", True)
    assert asked.count("dead.example") == 1


async def test_a_name_is_looked_up_once_at_a_time() -> None:
    asked: list[str] = []
    free = threading.Event()

    def lookup(host: str) -> list[str]:
        asked.append(host)
        free.wait(30)
        return ["8.8.8.8"]

    async with Egress(lookup=lookup) as egress:
        waiting = [asyncio.create_task(egress.guard("mq.example", 5672)) for _ in range(50)]
        await until(lambda: bool(asked))
        free.set()
        assert await asyncio.gather(*waiting) == [("8.8.8.8",)] * 50
    assert asked == ["mq.example"]


async def test_a_lookup_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.resolver.LONGEST", 0.05)
    stuck = threading.Event()
    async with Egress(lookup=lambda _: [str(stuck.wait(30))]) as egress:
        failed = await failure(egress, "https://dead.example/")
        assert (failed.kind, failed.ours) == ("dns", True)
        stuck.set()


async def test_certificates_are_verified(receiver: Receiver, tmp_path: Path) -> None:
    server_side, ca_file = self_signed(tmp_path, "hooks.example")
    await receiver.stop()
    await receiver.start(server_side)
    for trusted, url in ((False, "hooks.example"), (True, "hooks.example"), (True, "else.example")):
        bundle = str(ca_file) if trusted else ""
        async with Egress(allow=LOOPBACK, lookup=lambda _: ["127.0.0.1"], ca_file=bundle) as egress:
            where = f"https://{url}:{receiver.port}/"
            if trusted and url == "hooks.example":
                assert (await post(egress, where)).status == 200
            else:
                assert (await failure(egress, where)).kind == "tls"
    assert len(receiver.got) == 1


def test_old_tls_is_not_spoken() -> None:
    assert _tls("").minimum_version == ssl.TLSVersion.TLSv1_2
    assert _tls("").verify_mode == ssl.CERT_REQUIRED
    assert _tls("").check_hostname


async def test_plain_http_is_for_allowed_places_only() -> None:
    async with Egress(allow=LOOPBACK, lookup=lambda _: ["8.8.8.8"]) as egress:
        failed = await failure(egress, "http://good.example/")
    assert failed.kind == "blocked"
    assert "https" in failed.message


async def test_closing_twice_leaves_nothing(receiver: Receiver) -> None:
    before = asyncio.all_tasks()
    egress = Egress(allow=LOOPBACK)
    await post(egress, receiver.url)
    await egress.close()
    await egress.close()
    await until(lambda: asyncio.all_tasks() <= before)
