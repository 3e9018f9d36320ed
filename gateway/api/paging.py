"""Lists: pages with numbers and links for what is configured, cursors for what happened.

Nothing in a query is ignored in silence: a limit out of range, a filter or an order that does not
exist is an error that names the parameter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from aiohttp import web
from pydantic import BaseModel, Field

from gateway.api.route import Call, respond
from schemas.errors import Detail, InvalidError

MAX_LIMIT, DEFAULT_LIMIT = 100, 10
PAGE_QUERY = ("limit", "page")
T = TypeVar("T")
_FILTER = re.compile(r"filter\[([^\]]*)\]")
FLAGS = {"true": True, "1": True, "false": False, "0": False}


class Data(BaseModel, Generic[T]):
    """A single answer."""

    data: T


class Links(BaseModel):
    """Absolute URLs of other pages, None where there is none."""

    first: str
    last: str
    prev: str | None
    next: str | None


class Meta(BaseModel):
    """Where in the list a page stands; `from` and `to` count from 1, None when it is empty."""

    current_page: int
    from_: int | None = Field(alias="from")
    last_page: int
    path: str
    per_page: int
    to: int | None
    total: int


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    data: list[T]
    links: Links
    meta: Meta


class CursorMeta(BaseModel):
    """`next_cursor`: what to send as `cursor` for older ones, None at the end."""

    next_cursor: str | None
    per_page: int


class Slice(BaseModel, Generic[T]):
    """One slice of a list that grows at its head."""

    data: list[T]
    meta: CursorMeta


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a caller wants next. `before`: the id that the last slice ended with."""

    limit: int
    before: str | None


def refuse(path: str, message: str) -> InvalidError:
    """The error of one parameter."""
    return InvalidError(f"{path}: {message}", details=(Detail(path, message),))


def whole(call: Call, name: str, default: int, most: int | None = None) -> int:
    """A positive whole number of the query. Raises InvalidError."""
    text = call.query(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise refuse(name, "must be a whole number from 1 on")
    if most is not None and int(text) > most:
        raise refuse(name, f"must be at most {most}")
    return int(text)


def filters(call: Call, known: Iterable[str]) -> dict[str, str]:
    """The `filter[name]=value` of the query. Raises InvalidError for a filter that does not exist.

    An empty one filters nothing.
    """
    known, found = tuple(known), {}
    for parameter, value in call.request.query.items():
        match = _FILTER.fullmatch(parameter)
        if match is None:
            continue
        if match[1] not in known:
            raise refuse(parameter[:80], f"there is no such filter (there are {', '.join(known)})")
        if value:
            found[match[1]] = value
    return found


def flag(name: str, value: str) -> bool:
    """A yes or no of the query."""
    found = FLAGS.get(value.lower())
    if found is None:
        raise refuse(f"filter[{name}]", "must be true or false")
    return found


def one_of(path: str, value: str, words: Iterable[str]) -> str:
    """A word of a closed list."""
    words = tuple(words)
    if value not in words:
        raise refuse(path, f"must be one of {', '.join(words)}")
    return value


def in_order(
    call: Call, items: Iterable[T], keys: Mapping[str, Callable[[T], Any]], default: str
) -> list[T]:
    """Items by the query's `sort`: names separated by commas, `-` before one for descending."""
    chosen = list(items)
    for word in reversed((call.query("sort") or default).split(",")):
        name = word.strip()
        key = keys.get(name.removeprefix("-"))
        if key is None:
            raise refuse("sort", f"must be one of {', '.join(keys)}, `-` in front for descending")
        chosen.sort(key=key, reverse=name.startswith("-"))
    return chosen


def paged(
    call: Call, items: Sequence[T], shape: Callable[[T], BaseModel], default: int = DEFAULT_LIMIT
) -> web.Response:
    """The page of `items` that the query asks for, each as `shape` shows it."""
    limit, page = whole(call, "limit", default, MAX_LIMIT), whole(call, "page", 1)
    total = len(items)
    last = max(1, -(-total // limit))
    start = (page - 1) * limit
    shown = [shape(item).model_dump() for item in items[start : start + limit]]
    path = call.services.settings.base_url + call.request.path.rstrip("/")
    kept = [(k, v) for k, v in call.request.query.items() if k != "page"]

    def link(number: int) -> str:
        return f"{path}?{urlencode([*kept, ('page', str(number))])}"

    links = {
        "first": link(1),
        "last": link(last),
        "prev": link(min(page - 1, last)) if page > 1 else None,
        "next": link(page + 1) if page < last else None,
    }
    meta = {
        "current_page": page,
        "from": start + 1 if shown else None,
        "last_page": last,
        "path": path,
        "per_page": limit,
        "to": start + len(shown) if shown else None,
        "total": total,
    }
    return respond({"data": shown, "links": links, "meta": meta})
