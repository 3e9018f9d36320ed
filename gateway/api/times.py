"""Times as the API shows them: ISO 8601, UTC, microseconds."""

from __future__ import annotations

from datetime import UTC, datetime


def api_time(micros: int | None) -> str | None:
    """`2024-01-15T10:45:00.000000Z` for microseconds since 1970."""
    if micros is None:
        return None
    moment = datetime.fromtimestamp(micros // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{micros % 1_000_000:06d}Z"
