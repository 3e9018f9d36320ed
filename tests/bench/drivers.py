"""What normalizing costs, per driver: parsed and verified beforehand, the median sample."""

import statistics
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from drivers import DRIVERS
from drivers.base import Driver, receive
from drivers.verify import verify
from gateway import samples
from schemas.errors import ComportaError
from schemas.request import Grant, Verified

REPEATS = 20


def normalizing() -> dict[str, float]:
    """Slug -> microseconds of the best of several runs, median over the driver's samples."""
    return {d.slug: statistics.median(_costs(d)) for d in DRIVERS}


def _costs(driver: Driver) -> list[float]:
    costs = []
    for name in samples.names(driver.slug):
        with suppress(ComportaError):
            verified = _verified(driver, name)
            if verified is not None:
                costs.append(min(_once(driver, verified) for _ in range(REPEATS)) * 1e6)
    return costs or [0.0]


def _verified(driver: Driver, name: str) -> Verified | None:
    sample, now = samples.load(name), int(time.time())
    claim = sample.signed(sample.secret, now).claim()
    inbound = replace(claim.inbound, received_at=datetime.fromtimestamp(now, UTC))
    grant = Grant(secrets=(sample.secret,) if sample.secret else (), settings=sample.settings)
    if receive(driver, inbound, grant).outcome != "accepted":
        return None
    return verify(driver.scheme, inbound, grant, driver.parse)


def _once(driver: Driver, verified: Verified) -> float:
    started = time.perf_counter()
    driver.normalize(verified)
    return time.perf_counter() - started
