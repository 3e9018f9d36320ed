"""What waits costs no memory: a small form of `python -m tests.bench.backlog`."""

from pathlib import Path

import pytest

from tests.bench.backlog import measure

WAITING = 30_000


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest) -> str:
    """Empty for the embedded store."""
    if request.param == "sqlite":
        return ""
    made: str = request.getfixturevalue("postgres_db")
    return made


async def test_a_long_backlog_is_sent_in_bounded_memory(tmp_path: Path, store_url: str) -> None:
    found = await measure(tmp_path, WAITING, 1.5, store_url)

    # Half of the sinks hang: the others get what is theirs. As Python objects, the events that wait
    # would take more than this.
    assert found["sent"] > 500
    assert found["rss_most_mb"] < found["rss_empty_mb"] + 60
    assert found["rss_most_mb"] < 300
