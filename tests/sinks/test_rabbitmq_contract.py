"""The RabbitMQ sink against a real RabbitMQ, read by aio-pika as its users would."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.services import RabbitMQ
from tests.services.fixtures import Services
from tests.sinks.contract import SinkContract
from tests.sinks.rabbit import RabbitRig, make_account


@pytest.fixture(scope="module")
def broker(services: Services) -> Iterator[RabbitMQ]:
    server = services.own(RabbitMQ)
    make_account(server)
    yield server
    services.own(RabbitMQ)


@pytest.fixture
async def rig(broker: RabbitMQ) -> AsyncIterator[RabbitRig]:
    rig = RabbitRig(broker.start())
    yield rig
    await rig.close()


class TestRabbitmq(SinkContract):
    pass
