"""Connections: how long they are kept, who shares them, what is tried again, what is let go."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway import http_pool
from gateway.egress import Egress, _tls
from gateway.http1 import Connection
from gateway.http_pool import FAIR_SHARE, Place, Pool
from gateway.resolver import GuardedResolver
from sinks.base import HttpAnswer, HttpError
from tests.gateway.talk import LAST, LOOPBACK, OK, get, saying
from tests.sinks.receiver import talking, until


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress(allow=LOOPBACK, per_host=2) as egress:
        yield egress


@asynccontextmanager
async def a_pool(per_host: int) -> AsyncIterator[Pool]:
    resolver = GuardedResolver(lambda _: False)
    pool = Pool(lambda _: False, resolver, _tls(""), per_host)
    yield pool
    pool.close()
    await resolver.close()


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """Of two connections to each place, as many as a user may have in any case."""
    async with a_pool(FAIR_SHARE) as pool:
        yield pool


async def there(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that never says anything."""
    await reader.read()


def at(port: int) -> Place:
    return Place("127.0.0.1", port, tls=False)


def keep(connection: Connection) -> Connection:
    """As after an exchange that ended well."""
    connection.reusable = True
    return connection


async def test_a_kept_connection_that_was_hung_up_on_costs_a_delivery_nothing(
    egress: Egress,
) -> None:
    peers = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")  # and hangs up on the second request

    async with talking(once) as port:
        for _ in range(3):
            answer = await get(egress, port, **{"webhook-id": "1"})
            assert answer.body == b"ok"
        with pytest.raises(HttpError, match="closed without an answer"):
            await get(egress, port)  # nothing says that it may be repeated
    assert len(peers) == 3


async def test_hanging_up_on_a_new_connection_is_an_answer_of_a_kind(egress: Egress) -> None:
    asked = 0

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1

    async with talking(never) as port:
        with pytest.raises(HttpError, match="closed without an answer"):
            await get(egress, port, **{"webhook-id": "1"})
    assert asked == 1


async def test_the_second_try_goes_out_on_a_connection_that_nobody_used(egress: Egress) -> None:
    both = asyncio.Barrier(2)

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"x-first" in head:
            await both.wait()
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")  # and hangs up on the second request

    async with talking(once) as port:
        first = {"x-first": "1"}
        await asyncio.gather(get(egress, port, **first), get(egress, port, **first))
        assert (await get(egress, port, **{"webhook-id": "1"})).body == b"ok"


async def test_connections_to_a_host_are_bounded_and_shared(egress: Egress) -> None:
    open_now, most, served = 0, 0, 0
    go = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most, served
        open_now, most = open_now + 1, max(most, open_now + 1)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await go.wait()
                writer.write(OK)
                served += 1
        finally:
            open_now -= 1

    async with talking(slow) as port:
        waiting = [asyncio.create_task(get(egress, port)) for _ in range(20)]
        await until(lambda: open_now == 2)
        waiting[5].cancel()  # one in the queue gives up its turn
        go.set()
        done = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(one, HttpAnswer) for one in done) == 19
    assert (most, served) == (2, 19)


async def test_those_that_hang_keep_nobody_else_at_their_host_from_being_served(
    egress: Egress,
) -> None:
    """One host has room for two at once, and others take more than that."""
    hung = 0

    async def some_hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal hung
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b"/hung" in head:
                hung += 1
                await reader.read()
                return
            writer.write(OK)

    async with talking(some_hang) as port:
        url = f"http://127.0.0.1:{port}"
        waiting = [
            asyncio.create_task(egress.request("POST", f"{url}/hung/{number}", headers={}))
            for number in (1, 2, 3)
            for _ in range(5)
        ]
        await until(lambda: hung == 3 * FAIR_SHARE)
        answers = await asyncio.gather(
            *(egress.request("POST", f"{url}/well", headers={}, timeout=10) for _ in range(20))
        )
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert (await get(egress, port)).body == b"ok"  # what they held is free
    assert [answer.body for answer in answers] == [b"ok"] * 20
    assert hung == 3 * FAIR_SHARE


async def test_who_waits_hears_of_a_connection_that_was_let_go() -> None:
    async with talking(saying(LAST)) as port, Egress(allow=LOOPBACK, per_host=2) as egress:
        answers = await asyncio.gather(*(get(egress, port) for _ in range(6)))
    assert [answer.body for answer in answers] == [b"ok"] * 6


async def test_the_wait_for_a_connection_is_part_of_the_deadline(egress: Egress) -> None:
    async with talking(there) as port:

        def ask(timeout: float) -> asyncio.Task[HttpAnswer]:
            url = f"http://127.0.0.1:{port}/"
            return asyncio.create_task(egress.request("POST", url, headers={}, timeout=timeout))

        hung = [ask(60) for _ in range(2)]
        await until(lambda: at(port) in egress._pool._sites)
        site = egress._pool._sites[at(port)]
        await until(lambda: site.busy == 2)
        with pytest.raises(HttpError, match=r"within 0\.1 s"):
            await ask(0.1)
        assert not any(one.done() for one in hung)
        for one in hung:
            one.cancel()
        await asyncio.gather(*hung, return_exceptions=True)


async def test_places_that_refuse_stop_nobody_who_waits() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    async with Egress(allow=LOOPBACK, per_host=2) as egress:
        tries = (get(egress, port) for _ in range(6))
        failed = await asyncio.gather(*tries, return_exceptions=True)
        assert [getattr(one, "kind", one) for one in failed] == ["connect"] * 6
        assert not egress._pool._sites


async def test_who_is_cancelled_when_its_turn_comes_passes_it_on(pool: Pool) -> None:
    async with talking(there) as port:
        other, held = await pool.take(at(port)), await pool.take(at(port))
        first, second = (asyncio.create_task(pool.take(at(port))) for _ in range(2))
        site = pool._sites[at(port)]
        await until(lambda: len(site.waiting.get("", ())) == 2)
        pool.give(at(port), keep(held))
        first.cancel()
        async with asyncio.timeout(5):
            assert await second is held
        for connection in (other, held):
            pool.give(at(port), connection)


async def test_who_gave_up_waiting_has_no_turn(pool: Pool) -> None:
    async with talking(there) as port:
        held = [await pool.take(at(port)) for _ in range(FAIR_SHARE)]
        first, second = (asyncio.create_task(pool.take(at(port))) for _ in range(2))
        site = pool._sites[at(port)]
        await until(lambda: len(site.waiting.get("", ())) == 2)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        pool.give(at(port), keep(held[0]))
        async with asyncio.timeout(5):
            assert await second is held[0]
        for connection in held:
            pool.give(at(port), connection)


async def test_those_who_wait_at_a_place_take_turns() -> None:
    turns: list[str] = []

    async def wait(pool: Pool, port: int, user: str) -> None:
        held[user].append(await pool.take(at(port), user))
        turns.append(user)

    async with talking(there) as port, a_pool(2 * FAIR_SHARE) as pool:
        held = {user: [await pool.take(at(port), user) for _ in range(FAIR_SHARE)] for user in "ab"}
        waiting = [asyncio.create_task(wait(pool, port, user)) for user in "aab"]
        await until(lambda: sum(map(len, pool._sites[at(port)].waiting.values())) == 3)
        for user, heard in (("a", 1), ("b", 2), ("a", 3)):
            pool.give(at(port), keep(held[user].pop(0)), user)
            await until(lambda heard=heard: len(turns) == heard)  # type: ignore[misc]  # a default that binds
        await asyncio.gather(*waiting)
        assert turns == ["a", "b", "a"]
        for user, connections in held.items():
            for connection in connections:
                pool.give(at(port), connection, user)


async def test_a_fresh_connection_takes_the_room_of_an_idle_one(pool: Pool) -> None:
    async with talking(there) as port:
        idle = [await pool.take(at(port)) for _ in range(FAIR_SHARE)]
        for connection in idle:
            pool.give(at(port), keep(connection))
        fresh = await pool.take(at(port), fresh=True)
        assert fresh not in idle
        assert [connection.is_open for connection in idle] == [False, True]
        pool.give(at(port), fresh)


async def test_what_was_used_last_is_used_again(pool: Pool) -> None:
    async with talking(there) as port:
        older, newer = await pool.take(at(port)), await pool.take(at(port))
        for connection in (older, newer):
            pool.give(at(port), keep(connection))
        assert await pool.take(at(port)) is newer
        pool.give(at(port), newer)


async def test_nobody_reuses_more_than_its_share_of_a_full_place(pool: Pool) -> None:
    async with talking(there) as port:
        held = [await pool.take(at(port), "many") for _ in range(FAIR_SHARE)]
        free = await pool.take(at(port), "few")
        pool.give(at(port), keep(free), "few")
        assert pool.reuse(at(port), "many") is None
        assert pool.reuse(at(port), "few") is free
        for connection, user in ((free, "few"), *((one, "many") for one in held)):
            pool.give(at(port), connection, user)


async def test_a_place_is_forgotten_with_its_last_connection(pool: Pool) -> None:
    async with talking(there) as port:
        only = await pool.take(at(port))
        pool.give(at(port), keep(only))
        assert pool.reuse(at(port)) is only
        only.close()
        pool.give(at(port), only)
        assert not pool._sites


async def test_what_was_hung_up_on_is_not_used_again(egress: Egress) -> None:
    async with talking(saying(OK, hang_up=True)) as port:
        for _ in range(3):
            assert (await get(egress, port)).body == b"ok"
            [(kept, _)] = egress._pool._sites[at(port)].idle
            await until(lambda kept=kept: not kept.is_open)  # type: ignore[misc]  # default arguments bind it


async def test_what_idled_too_long_is_not_used_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_pool, "KEEP_ALIVE", 0.0)
    async with talking(there) as port:
        kept = await pool.take(at(port))
        pool.give(at(port), keep(kept))
        other = await pool.take(at(port))
        assert other is not kept
        pool.give(at(port), other)


async def test_idle_connections_are_let_go(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_pool, "KEEP_ALIVE", 0.1)
    gone = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal gone
        await reader.read()
        gone += 1

    async with talking(talk) as port:
        early, late = await pool.take(at(port)), await pool.take(at(port))
        pool.give(at(port), keep(early))
        pool.give(at(port), keep(late))
        site = pool._sites[at(port)]
        site.idle[1] = (late, site.idle[1][1] + 0.1)  # given back a moment later
        await until(lambda: gone == 2)
    await until(lambda: not pool._sites)


async def test_after_the_end_nothing_is_kept(pool: Pool) -> None:
    async with talking(there) as port:
        last = await pool.take(at(port))
        pool.close()
        pool.give(at(port), keep(last))
        assert not last.is_open


async def test_who_gives_up_leaves_no_half_read_answer_behind(egress: Egress) -> None:
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b"x-slow" in head:
                await reader.read()
                return
            writer.write(OK)

    async with talking(late) as port:
        given_up = asyncio.create_task(get(egress, port, **{"x-slow": "1"}))
        await asyncio.sleep(0)
        given_up.cancel()
        assert (await get(egress, port)).body == b"ok"
        await asyncio.gather(given_up, return_exceptions=True)
