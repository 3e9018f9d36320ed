"""Reading a stored delivery again, with the driver as it is now.

It was verified when it came; what the driver makes of it today goes through the same intake, so
that facts already told are not told twice.
"""

from __future__ import annotations

from drivers import BY_SLUG
from drivers.base import Receipt, can_call, interpret
from drivers.verify import restore
from gateway.deferral import inbound_of
from gateway.directory import Directory
from gateway.intake import Intake
from gateway.models import Installation
from gateway.store.base import Appended
from gateway.store.prune import EXPIRED
from gateway.store.rows import InboundRow
from schemas.errors import ConflictError, MalformedError, UnparsableError
from schemas.request import Grant


async def renormalize(directory: Directory, intake: Intake, found: InboundRow) -> Appended:
    """Store what the driver makes of an inbound now, and send what is new.

    Raises ConflictError when its installation or driver is gone, or its payload.
    """
    installation = directory.installation(found.installation_id or "")
    if installation is None or installation.driver not in BY_SLUG:
        raise ConflictError("the installation that received this delivery is gone")
    if found.size == 0 and (found.row.reason or "").startswith(EXPIRED):
        raise ConflictError(EXPIRED)
    return await intake.again(installation, found.row, _receipt(installation, found))


def _receipt(installation: Installation, found: InboundRow) -> Receipt:
    driver, inbound = BY_SLUG[installation.driver], inbound_of(found.row)
    grant = Grant(credentials=installation.known_credentials, settings=installation.settings)
    try:
        verified = restore(inbound, installation.settings, driver.parse(inbound), {})
    except (UnparsableError, MalformedError) as error:
        return Receipt(
            outcome="quarantined",
            delivery_key=found.row.delivery_key,
            body=inbound.body,
            headers=inbound.headers,
            reason=error.message,
        )
    return interpret(
        driver,
        verified,
        has_api=can_call(driver, grant),
        body=inbound.body,
        headers=inbound.headers,
    )
