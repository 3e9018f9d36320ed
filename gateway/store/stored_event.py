"""A stored event, from a row of its table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.store.keys import moment
from schemas.events import StoredEvent

COLUMNS = tuple(
    "id seq tenant instance installation_id driver name key occurred_at received_at provider_event"
    " provider_event_id inbound_id dedupe_key test superseded data version hop trace".split()
)
# What is shown for data that is no longer kept. The space tells it from a null that somebody sent.
GONE = b"null "


def stored_event_from(row: Sequence[Any]) -> StoredEvent:
    """The event in a row of COLUMNS."""
    return StoredEvent(
        id=row[0],
        seq=row[1],
        tenant=row[2],
        instance=row[3],
        installation_id=row[4],
        driver=row[5],
        name=row[6],
        key=row[7],
        occurred_at=moment(row[8]),
        received_at=moment(row[9]),
        provider_event=row[10],
        provider_event_id=row[11],
        inbound_id=row[12],
        dedupe_key=row[13],
        test=bool(row[14]),
        superseded=bool(row[15]),
        data=row[16] or GONE,
        version=row[17],
        hop=row[18],
        trace=row[19],
    )
