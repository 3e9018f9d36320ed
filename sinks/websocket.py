"""The websocket sink: says that there is news for whoever is connected.

Clients read from the store, each from where it is, so that nothing depends on which process took an
event in and a client that was away misses nothing. All that is left to do here is to wake them,
which cannot fail: an event that nobody was connected for is delivered, too.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.delivery import Delivered, Health, Message, Outcome
from schemas.sink_config import SinkConfig, WebsocketConfig
from sinks.base import Context, Sink
from sinks.flight import Flight, grounded


def open_websocket(config: SinkConfig, context: Context) -> Sink:
    """The sink of a websocket configuration."""
    if not isinstance(config, WebsocketConfig):
        raise TypeError(f"a {config.kind} configuration is not a websocket's")
    return WebsocketSink(config, context)


class WebsocketSink:
    """See `sinks.base.Sink`."""

    batch_size = 256
    parallel = 1

    def __init__(self, config: WebsocketConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._flight = Flight()

    def __repr__(self) -> str:
        return f"WebsocketSink({self._config.id})"

    async def send(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        """See `sinks.base.Sink.send`."""
        if self._flight.closed:
            return grounded(len(batch))
        with self._flight.one():
            for message in batch:
                # Replayed by hand: clients are past it by now.
                again = message.dedupe_id != message.event.id
                await self._context.publish(message.event, again)
        return [Delivered()] * len(batch)

    def health(self) -> Health:
        """There is no other side that could be down."""
        return Health(state="ok")

    async def close(self) -> None:
        """See `sinks.base.Sink.close`."""
        await self._flight.close()
