"""The kinds of destination, each in a module of its own that is imported when a sink of its kind is
first opened. To add one: its module, its line here, its rig in tests/sinks.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from schemas.sink_config import SinkConfig
from sinks.base import Context, Opener, Sink

OPENERS: Mapping[str, str] = MappingProxyType(
    {
        "webhook": "sinks.webhook:open_webhook",
        "websocket": "sinks.websocket:open_websocket",
        "rabbitmq": "sinks.rabbitmq:open_rabbitmq",
        "sqs": "sinks.sqs:open_sqs",
        "nats": "sinks.nats:open_nats",
        "pusher": "sinks.pusher:open_pusher",
    }
)


def open_sink(config: SinkConfig, context: Context) -> Sink:
    """The sink of a configuration. It connects when it first sends: a dead broker fails then."""
    module, _, name = OPENERS[config.kind].partition(":")
    opener: Opener = getattr(import_module(module), name)
    return opener(config, context)
