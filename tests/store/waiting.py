"""Waiting for what nobody tells us: a condition, and a deadline."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 10) -> None:
    """Wait for a condition that has to be asked for."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def until_true(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait for a condition of this process."""

    async def asked() -> object:
        return condition()

    await until(asked, seconds)
