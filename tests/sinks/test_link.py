"""A link keeps one connection up, for as long as anybody uses it and no longer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from sinks import link as link_module
from sinks.dial import dial
from sinks.link import Link, LinkError, Links
from tests.sinks.receiver import talking, until


class Wire:
    """A bare TCP connection as a peer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def lost(self) -> str:
        await self._reader.read()
        return "the far side hung up"

    async def close(self) -> None:
        self._writer.close()


class FarSide:
    """A TCP server that counts connections and can hang up on them."""

    def __init__(self) -> None:
        self.port = 0
        self.made = 0
        self.open = 0
        self.hang_up_at_once = False
        self._hang_up = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        self.made += 1
        if self.hang_up_at_once:
            return
        self.open += 1
        gone = [asyncio.ensure_future(w) for w in (reader.read(), self._hang_up.wait())]
        await asyncio.wait(gone, return_when=asyncio.FIRST_COMPLETED)
        for task in gone:
            task.cancel()
        self.open -= 1

    def hang_up(self) -> None:
        self._hang_up.set()
        self._hang_up = asyncio.Event()

    async def dial(self) -> Wire:
        return Wire(*await dial("127.0.0.1", self.port, guard=None))


@pytest.fixture
async def far() -> AsyncIterator[FarSide]:
    side = FarSide()
    async with talking(side.talk) as side.port:
        yield side


async def refused() -> Wire:
    raise LinkError("nobody is there", ours=True)


async def test_users_share_one_connection_until_the_last_leaves(far: FarSide) -> None:
    before = asyncio.all_tasks()
    links = Links()
    first, second = links.take("a", far.dial), links.take("a", far.dial)
    assert await first.ready() is await second.ready()
    await links.leave(first)
    assert far.open == 1
    await links.leave(second)
    await until(lambda: far.open == 0)
    await until(lambda: asyncio.all_tasks() <= before)
    assert far.made == 1


async def test_other_keys_and_later_users_get_their_own(far: FarSide) -> None:
    links = Links()
    one, other = links.take("a", far.dial), links.take("b", far.dial)
    assert await one.ready() is not await other.ready()
    await links.leave(one)
    later = links.take("a", far.dial)
    assert later is not one
    await later.ready()
    assert far.made == 3
    await links.leave(later)
    await links.leave(other)


async def test_a_crowd_is_spread_over_connections(
    far: FarSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "MOST_USERS", 2)
    links = Links()
    taken = [links.take("a", far.dial) for _ in range(5)]
    await asyncio.gather(*(link.ready() for link in taken))
    assert far.made == 3
    for link in taken:
        await links.leave(link)


async def test_nobody_connects_before_it_is_needed(far: FarSide) -> None:
    links = Links()
    link = links.take("a", far.dial)
    await links.leave(link)
    assert far.made == 0


async def test_all_who_wait_hear_how_the_next_try_went() -> None:
    link: Link[Wire] = Link(refused)
    outcomes = await asyncio.gather(*(link.ready() for _ in range(50)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {LinkError}
    assert {(str(outcome), outcome.ours) for outcome in outcomes} == {("nobody is there", True)}  # type: ignore[union-attr]  # the line above
    assert link.error is not None
    await link.close()


async def test_a_lost_connection_is_made_again_unasked(far: FarSide) -> None:
    link = Link(far.dial)
    await link.ready()
    far.hang_up()
    await until(lambda: far.made == 2)
    await until(lambda: link.peer is not None)
    assert link.error is not None
    assert link.error.reason == "the far side hung up"
    await link.close()


async def test_a_try_is_not_put_off_when_somebody_needs_it() -> None:
    tries = 0

    async def dial() -> Wire:
        nonlocal tries
        tries += 1
        return await refused()

    link: Link[Wire] = Link(dial, jitter=lambda: 1.0)
    async with asyncio.timeout(link_module.LEAST_PAUSE * 6 + 2):  # far less than the pauses grow
        for _ in range(6):
            with pytest.raises(LinkError):
                await link.ready()
    assert tries == 6
    await link.close()


async def test_a_far_side_that_hangs_up_at_once_is_not_pestered(far: FarSide) -> None:
    far.hang_up_at_once = True
    link = Link(far.dial, jitter=lambda: 0.5)

    async def pester() -> None:
        while True:
            with suppress(LinkError):
                await link.ready()
            await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pester(), 1.5)
    await link.close()
    assert 1 <= far.made <= 5


async def test_closing_while_dialling_ends_both() -> None:
    before = asyncio.all_tasks()
    dialling = asyncio.Event()

    async def dial() -> Wire:
        dialling.set()
        await asyncio.Event().wait()
        return await refused()

    link: Link[Wire] = Link(dial)
    waiting = asyncio.ensure_future(link.ready())
    await dialling.wait()
    await link.close()
    waiting.cancel()
    await until(lambda: asyncio.all_tasks() <= before)
