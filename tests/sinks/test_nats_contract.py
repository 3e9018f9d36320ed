"""The NATS sink against a real NATS with JetStream, read by nats-py as its users would."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.sinks.contract import SinkContract
from tests.sinks.natsrig import NatsRig, SecuredNats


@pytest.fixture(scope="module")
def server() -> Iterator[SecuredNats]:
    server = SecuredNats()
    yield server
    server.close()


@pytest.fixture
async def rig(server: SecuredNats) -> AsyncIterator[NatsRig]:
    rig = NatsRig(server.start())
    yield rig
    await rig.close()


class TestNats(SinkContract):
    pass
