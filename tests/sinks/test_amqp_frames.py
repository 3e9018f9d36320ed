"""What we write ourselves is, byte for byte, what pamqp would write."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis.strategies import integers, text
from pamqp import frame
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.common import FieldValue
from pamqp.header import ContentHeader

from sinks.amqp_frames import Content, Frames, Properties

names = text(min_size=1, max_size=60)


@given(
    event=names,
    instance=names,
    ident=names,
    trace=names,
    attempt=integers(1, 2**31),
    second=integers(0, 2**32),
)
def test_properties(
    *, event: str, instance: str, ident: str, trace: str, attempt: int, second: int
) -> None:
    written = Properties(event, instance, "Comporta/1").written(
        ident=ident,
        attempt=attempt,
        trace=trace,
        message_id=ident,
        second=second,
    )
    headers: dict[str, FieldValue] = {
        "event": event,
        "instance": instance,
        "id": ident,
        "attempt": attempt,
        "traceparent": trace,
    }
    assert (
        written
        == Basic.Properties(
            content_type="application/json",
            delivery_mode=2,
            message_id=ident,
            timestamp=datetime.fromtimestamp(second, UTC),
            app_id="Comporta/1",
            headers=headers,
        ).marshal()
    )


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 200, 250])
def test_frames(size: int) -> None:
    """Of a body that fits into one, and of one that does not."""
    properties = Basic.Properties(message_id="m", app_id="a")
    body = bytes(i % 251 for i in range(size))
    content = Content("order.paid", "m", properties.marshal(), body)
    pieces = [ContentBody(body[at : at + 100]) for at in range(0, size, 100)]
    expected: list[Frame | ContentHeader | ContentBody] = [
        Basic.Publish(exchange="loja", routing_key="order.paid", mandatory=True),
        ContentHeader(properties=properties, body_size=size),
        *pieces,
    ]
    assert b"".join(Frames("loja", 7, 100).of(content)) == b"".join(
        frame.marshal(one, 7) for one in expected
    )


def test_an_id_too_long_for_its_field_is_refused() -> None:
    properties = Properties("e", "i", "a")
    longest = properties.written(ident="1", attempt=1, trace="", message_id="x" * 255, second=0)
    assert b"\xff" + b"x" * 255 in longest
    with pytest.raises(ValueError, match="range"):
        properties.written(ident="1", attempt=1, trace="", message_id="x" * 256, second=0)
