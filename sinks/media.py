"""Media of messaging events: taken out of a payload, or fetched into it.

Upstream puts it into `data.message.base64`; `mediaUrl` is where the plain file lies. The `url`
inside an `imageMessage` with a `mediaKey` leads to an encrypted file and is left alone.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from schemas import codec
from schemas.errors import UnparsableError
from schemas.events import StoredEvent, is_messaging
from sinks.base import Http, HttpError

MAX_MEDIA = 8 * 1024 * 1024
MAX_FILES = 4
_WITH_MEDIA = ("messages.", "send.")


class MediaUnavailableError(Exception):
    """The file may be there later."""


def without_base64(event: StoredEvent) -> bytes | None:
    """The event's data without base64 media; None when there is none to take out."""
    if not _may_hold(event) or b'"base64"' not in event.data:
        return None
    data = _read(event)
    found = [part for message in _messages(data) for part in _parts(message) if "base64" in part]
    for part in found:
        del part["base64"]
    return codec.dumps(data) if found else None


async def with_base64(
    event: StoredEvent,
    http: Http,
    *,
    user_agent: str,
    timeout: float,  # noqa: ASYNC109 - handed on to the client
) -> bytes | None:
    """The event's data with the media its URLs lead to; None when there is nothing to fetch.

    A file that is too large, gone, or not to be reached keeps its URL. Raises MediaUnavailableError
    when another try may get it.
    """
    if not _may_hold(event) or b"rl" not in event.data:
        return None
    data = _read(event)
    fetched = False
    for message in list(_messages(data))[:MAX_FILES]:
        parts = list(_parts(message))
        url = next(filter(None, map(_plain_url, parts)), None)
        if url is None or any(part.get("base64") for part in parts):
            continue
        file = await _fetch(url, http, user_agent, timeout)
        if file is not None:
            parts[min(1, len(parts) - 1)]["base64"] = base64.b64encode(file).decode()
            fetched = True
    return codec.dumps(data) if fetched else None


def _may_hold(event: StoredEvent) -> bool:
    return is_messaging(event.name) and event.name.startswith(_WITH_MEDIA)


def _read(event: StoredEvent) -> Any:
    try:
        return codec.loads(event.data)
    except UnparsableError:
        return None  # nested deeper than we read: it goes out as it is


def _messages(data: Any) -> Iterator[dict[str, Any]]:
    """The messages of an event: itself, a list of them, or its `messages`."""
    if isinstance(data, dict) and isinstance(data.get("messages"), list):
        data = data["messages"]
    for message in data if isinstance(data, list) else [data]:
        if isinstance(message, dict):
            yield message


def _parts(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Where a message may hold media: itself, its `message`, the `imageMessage` (…) in that."""
    yield message
    inner = message.get("message")
    if isinstance(inner, dict):
        yield inner
        for name, part in inner.items():
            if isinstance(part, dict) and name.endswith("Message"):
                yield part


def _plain_url(part: dict[str, Any]) -> str | None:
    url = part.get("mediaUrl") or (part.get("url") if "mediaKey" not in part else None)
    return url if isinstance(url, str) and url.startswith(("http://", "https://")) else None


async def _fetch(url: str, http: Http, user_agent: str, seconds: float) -> bytes | None:
    try:
        answer = await http.request(
            "GET",
            url,
            headers={"User-Agent": user_agent},
            timeout=seconds,
            limit=MAX_MEDIA + 1,
        )
    except HttpError as error:
        if error.kind == "blocked":
            return None
        raise MediaUnavailableError(f"{error.kind}: {error.message}") from None
    if answer.status >= 500 or answer.status in {408, 429}:
        raise MediaUnavailableError(f"HTTP {answer.status}")
    return answer.body if answer.status == 200 and len(answer.body) <= MAX_MEDIA else None
