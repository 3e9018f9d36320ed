"""Messages as AMQP writes them: a method frame, a frame of properties, and the body in slices.

pamqp does this for any message there can be; ours are all alike, and it is what a sink does most.
https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf (2.3.5, 4.2)
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from pamqp import commands, constants, frame
from pamqp.encode import table_integer

_FRAME = Struct(">BHI")  # type, channel, size
_HEADER = Struct(">HxxQ")  # class, size of the body
_LONG, _TIME = Struct(">I"), Struct(">Q")
_PERSISTENT = b"\x02"


class Content(NamedTuple):
    """A message. `properties`: as they are written."""

    routing_key: str
    message_id: str
    properties: bytes
    body: bytes


class Frames:
    """Of messages to one exchange on one channel. `most`: bytes that one frame may carry."""

    def __init__(self, exchange: str, channel: int, most: int) -> None:
        self._exchange, self._channel, self._most = exchange, channel, most
        self._method = lru_cache(256)(self._publish)  # one per event name: they are few

    def of(self, content: Content) -> Iterator[bytes]:
        """The bytes of one message, in pieces."""
        _, _, properties, body = content
        size = len(body)
        yield self._method(content.routing_key)
        yield _FRAME.pack(constants.FRAME_HEADER, self._channel, _HEADER.size + len(properties))
        yield _HEADER.pack(commands.Basic.frame_id, size)
        yield properties
        for start in range(0, size, self._most):
            piece = body if size <= self._most else body[start : start + self._most]
            yield constants.FRAME_END_CHAR
            yield _FRAME.pack(constants.FRAME_BODY, self._channel, len(piece))
            yield piece
        yield constants.FRAME_END_CHAR

    def _publish(self, routing_key: str) -> bytes:
        method = commands.Basic.Publish(
            exchange=self._exchange, routing_key=routing_key, mandatory=True
        )
        return frame.marshal(method, self._channel)


class Properties:
    """Of messages that differ only in these: which event, which attempt."""

    def __init__(self, event: str, instance: str, app_id: str) -> None:
        given = commands.Basic.Properties
        flags = (
            given.flags[name]
            for name in (
                "content_type", "headers", "delivery_mode", "message_id", "timestamp", "app_id"
            )
        )  # fmt: skip  # in their order
        self._start = sum(flags).to_bytes(2, "big") + _short("application/json")
        self._event = b"\x05eventS" + _long(event) + b"\x02idS"
        self._instance = b"\x08instanceS" + _long(instance) + b"\x0btraceparentS"
        self._app_id = _short(app_id)

    def written(
        self, *, ident: str, attempt: int, trace: str, message_id: str, second: int
    ) -> bytes:
        """Headers in the order of their names. `ident`: the event's. `second`: since 1970."""
        headers = b"\x07attempt%b%b%b%b%b" % (
            table_integer(attempt),
            self._event,
            _long(ident),
            self._instance,
            _long(trace),
        )
        return b"%b%b%b%b%b%b%b" % (
            self._start,
            _LONG.pack(len(headers)),
            headers,
            _PERSISTENT,
            _short(message_id),
            _TIME.pack(second),
            self._app_id,
        )


def _short(text: str) -> bytes:
    """Raises ValueError beyond 255 bytes."""
    raw = text.encode()
    return bytes((len(raw),)) + raw


def _long(text: str) -> bytes:
    raw = text.encode()
    return _LONG.pack(len(raw)) + raw
