"""A bulk job is followed to its end, whatever that is."""

from typing import Any

import pytest

from gateway.following import EVERY, follow


def job(status: str, done: int, failed: int = 0) -> Any:
    return {"data": {"status": status, "done": done, "failed": failed, "matched": 5}}


@pytest.mark.parametrize(("ending", "exit_status"), [("done", 0), ("canceled", 1)])
def test_each_change_is_told_once(ending: str, exit_status: int) -> None:
    answers = iter([job("running", 0), job("running", 2), job("running", 2), job(ending, 4, 1)])
    told: list[str] = []
    paused: list[float] = []

    assert follow(lambda: next(answers), told.append, paused.append) == exit_status

    assert told == [
        "running: 0 of 5",
        "running: 2 of 5",
        f"{ending}: 5 of 5, 1 of them left alone",
    ]
    assert paused == [EVERY] * 3
