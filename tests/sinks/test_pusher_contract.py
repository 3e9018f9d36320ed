"""The Pusher sink against a server that verifies by the official package's rules."""

from collections.abc import AsyncIterator

import pytest

from gateway.egress import Egress
from schemas.target import AllowList
from tests.sinks.channels import PusherRig
from tests.sinks.contract import SinkContract
from tests.sinks.receiver import receiving


@pytest.fixture
async def rig() -> AsyncIterator[PusherRig]:
    async with (
        receiving() as receiver,
        Egress(allow=AllowList.parse(["127.0.0.0/8"])) as egress,
    ):
        yield PusherRig(receiver, egress)


class TestPusher(SinkContract):
    pass
