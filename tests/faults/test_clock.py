"""Somebody sets the machine's clock: row 25."""

import sys
import time
from pathlib import Path

import pytest

from gateway import samples
from tests.e2e.deliveries import Delivery
from tests.e2e.program import Program
from tests.faults.conftest import Scene
from tests.faults.launcher import set_clock
from tests.faults.ledger import Arrival
from tests.faults.provider import INSTANCE
from tests.sinks.receiver import until

STEPS = (600, -600)
DELAY = 2.0  # seconds until the second try
STRIPE = "whsec_of-the-clock"


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    path = tmp_path / "clock"
    set_clock(path, 0)
    return path


@pytest.mark.fault(25)
async def test_a_clock_that_is_set_moves_nothing(node: Program, scene: Scene, clock: Path) -> None:
    """A retry comes when its time has passed: not at once, and not ten minutes later."""
    node.command = (sys.executable, "-m", "tests.faults.launcher")
    node.variables["FAULTS_CLOCK"] = str(clock)
    await node.start(RETRY_SCHEDULE=f"{DELAY},{DELAY},{DELAY}")
    provider = await scene.provider(node)
    first_tries: dict[str, float] = {}

    async def refuse_the_first(arrival: Arrival) -> int:
        if arrival.event_id in first_tries:
            return 200
        first_tries[arrival.event_id] = time.monotonic()
        return 500

    scene.witness.behave = refuse_the_first
    stripe = await node.install("stripe", INSTANCE, STRIPE)
    recovery = 0.0
    for number, seconds in enumerate(STEPS):
        await provider.insist(number)
        await until(lambda n=number: len(first_tries) > n)  # type: ignore[misc]  # a default that binds
        set_clock(clock, seconds)
        set_at = time.monotonic()
        await scene.all_arrived(patience=30)
        recovery = max(recovery, time.monotonic() - set_at)
        # What was signed by an honest clock is too old or too new for this one.
        assert await told(node, stripe["ingest_url"]) == 401
    set_clock(clock, 0)
    assert await told(node, stripe["ingest_url"]) == 200
    waited = [a.at - first_tries[a.event_id] for a in scene.witness.arrivals]
    assert min(waited) >= DELAY
    assert await node.metric("comporta_lease_lost_total") == 0
    found = await scene.audit(node)
    assert not found.duplicates
    note = f"±10 min; a retry after {DELAY:.0f} s came after {max(waited):.1f} s"
    scene.report("clock set", found, tries=len(STEPS), note=note)


async def told(node: Program, ingest_url: str) -> int:
    """The answer to a Stripe event that is signed now."""
    draft = samples.load("stripe/charge_dispute_created").signed(STRIPE, int(time.time()))
    return (await Delivery(draft.body, draft.headers).post(node, ingest_url)).status
