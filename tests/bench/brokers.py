"""The brokers' sinks against what their client libraries reach by themselves."""

import time
from typing import Any

from schemas.delivery import Delivered
from schemas.sink_config import NatsConfig, RabbitmqConfig, SinkConfig
from sinks import open_sink
from tests.bench import goals
from tests.bench.ceilings import bare_nats, bare_rabbitmq, rate
from tests.bench.figures import Figures
from tests.e2e.deliveries import SECRET, kiwify
from tests.services import Nats, RabbitMQ
from tests.sinks.given import a_context, a_message, an_event
from tests.sinks.rabbit import NoHttp

TENANT: dict[str, Any] = {"id": "01hm6sink", "tenant": "default", "instance": "bench"}


async def against_nats(figures: Figures, server: Nats, count: int) -> None:
    body = kiwify(1, SECRET).body
    figures.note(goals.N, await bare_nats(server.url, body, count))
    config = NatsConfig(**TENANT, url=server.url)
    figures.note("NATS sink, messages/s", await _through(config, body, count))


async def against_rabbitmq(figures: Figures, server: RabbitMQ, count: int) -> None:
    body = kiwify(1, SECRET).body
    figures.note(goals.R, await bare_rabbitmq(server.url, body, count))
    config = RabbitmqConfig(**TENANT, uri=server.url)
    figures.note("RabbitMQ sink, messages/s", await _through(config, body, count))


async def _through(config: SinkConfig, data: bytes, count: int) -> float:
    """Messages a second through an open sink, by batches as its lane makes them: beforehand, for
    what a lane does is none of the sink's work.
    """
    sink = open_sink(config, a_context(NoHttp()))
    stamp = time.time_ns() // 1000 % 10**12
    size = sink.batch_size
    count = -(-count // size) * size
    messages = [a_message(an_event(stamp + n, data=data)) for n in range(count + size)]

    async def send(batch: int) -> None:
        outcomes = await sink.send(messages[batch * size : (batch + 1) * size])
        assert all(isinstance(outcome, Delivered) for outcome in outcomes), outcomes[0]

    try:
        await send(count // size)  # connects, and makes what is not there
        return await rate(send, count // size, sink.parallel) * size
    finally:
        await sink.close()
