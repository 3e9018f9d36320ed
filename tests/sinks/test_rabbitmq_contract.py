"""The RabbitMQ sink against a real RabbitMQ, read by aio-pika as its users would."""

import pytest

from tests.sinks.contract import SinkContract
from tests.sinks.rabbit import RabbitRig


@pytest.fixture
async def rig(rabbit_rig: RabbitRig) -> RabbitRig:
    return rabbit_rig


class TestRabbitmq(SinkContract):
    pass
