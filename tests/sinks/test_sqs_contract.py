"""The SQS sink against a moto server, by the road of a tenant and by that of the operator."""

from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.egress import Egress
from schemas.target import AllowList
from tests.services import Sqs
from tests.services.fixtures import Services
from tests.sinks.contract import SinkContract
from tests.sinks.queues import KEY_ID, REGION, SECRET, SqsRig
from tests.sinks.rabbit import NoHttp


@pytest.fixture(scope="module")
def server(services: Services) -> Iterator[Sqs]:
    yield services.own(Sqs)
    services.own(Sqs)


@pytest.fixture
async def rig(server: Sqs) -> AsyncIterator[SqsRig]:
    """The sink names its endpoint: everything goes through the guarded client."""
    async with Egress(allow=AllowList.parse(["127.0.0.0/8"])) as egress:
        rig = SqsRig(server.start(), egress)
        yield rig
        await rig.close()


class TestSqs(SinkContract):
    pass


class TestServerWideSqs(SinkContract):
    @pytest.fixture
    async def rig(self, server: Sqs) -> AsyncIterator[SqsRig]:
        """The server names it: AWS's own client connects, wherever that is."""
        wide = {
            "endpoint_url": server.url,
            "region": REGION,
            "access_key_id": KEY_ID,
            "secret_access_key": SECRET,
        }
        rig = SqsRig(server.start(), NoHttp(), wide)
        rig.config = rig.configured(
            endpoint_url="", region="", access_key_id="", secret_access_key=""
        )
        yield rig
        await rig.close()
