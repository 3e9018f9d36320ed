"""Changing one configured thing: read, change, write; once more when somebody else was faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gateway.directory import Directory
from gateway.models import Stored
from schemas.errors import ConflictError, NotFoundError

TRIES = 4
T = TypeVar("T", bound=Stored)


async def change(
    directory: Directory,
    kind: str,
    read: Callable[[], T | None],
    made: Callable[[T], T],
) -> T:
    """Write what `made` turns the thing that `read` finds into. Both run again, on what is stored
    by then, when the thing changed meanwhile.

    Raises NotFoundError when it is gone, ConflictError when others do not stop changing it.
    """
    for tried in range(1, TRIES + 1):
        thing = read()
        if thing is None:
            raise NotFoundError
        try:
            return await directory.save(kind, made(thing))
        except ConflictError:
            if tried == TRIES:
                raise
            await directory.refresh(kind, thing.id)
    raise AssertionError("unreachable: the last try returns or raises")
