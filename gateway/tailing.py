"""`comporta tail`: the newest events of every instance, and those that follow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

PAGE = 100
EVERY = 1.0  # seconds between looks
Ask = Callable[[str], Any]  # a path to what the gateway answers


class Tail:
    """Reads the record of events. `wanted`: filters as the API names them, without brackets."""

    def __init__(self, ask: Ask, wanted: dict[str, str | None]) -> None:
        self._ask = ask
        self._filters = {f"filter[{name}]": value for name, value in wanted.items() if value}
        self._last = 0

    def newest(self, count: int) -> list[Any]:
        """The last so many, oldest first."""
        found: list[Any] = []
        for event in self._backwards():
            if len(found) == count:
                break
            found.append(event)
        newest = found[0] if found else next(self._backwards(), None)
        self._last = newest["seq"] if newest else 0
        return found[::-1]

    def following(self) -> list[Any]:
        """What came since, oldest first."""
        found: list[Any] = []
        for event in self._backwards():
            if event["seq"] <= self._last:
                break
            found.append(event)
        if found:
            self._last = found[0]["seq"]
        return found[::-1]

    def _backwards(self) -> Iterator[Any]:
        """Every event, newest first."""
        query = self._filters | {"limit": str(PAGE)}
        while True:
            page = self._ask(f"/processing/events?{urlencode(query)}")
            yield from page["data"]
            cursor = page["meta"]["next_cursor"]
            if not cursor:
                return
            query = self._filters | {"limit": str(PAGE), "cursor": cursor}


def as_line(event: Any, *, as_json: bool) -> str:
    """One event for people, or for programs."""
    if as_json:
        return json.dumps(event, ensure_ascii=False)
    last = event.get("last_dispatch") or {}
    sent = f"{last['sink']} {last['status']}" if last else ""
    parts = (
        f"{event['created_at'][:19]}Z  {event['name']:<24}",
        f"{event['instance']:<20} {event['driver'] or '-':<16} {event['key'] or '-':<20}",
        f"{event['status']:<10} {sent}",
    )
    return " ".join(parts).rstrip()
