"""Forty bad inputs and the exact answer to each; none of them is ever a 500."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e import bad_callers, bad_deliveries, bad_targets
from tests.e2e.bad_inputs import Case, Stage, staged

TABLE = (*bad_targets.CASES, *bad_deliveries.CASES, *bad_callers.CASES)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("stage")
    async with staged(folder) as stage:
        yield stage


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.ident)
async def test_a_bad_input_gets_its_answer(stage: Stage, case: Case) -> None:
    answer = await case.ask(stage)

    assert answer.status == case.status, answer.body
    if case.said is not None:
        told = answer.body
        assert told["code"] == case.said, told
        assert told["error"]
        assert told["message"]
    if case.also is not None:
        assert case.also(answer), answer.body


def test_every_row_is_there() -> None:
    rows = {case.row for case in TABLE}

    assert rows == set(range(1, 41))
    assert len({case.ident for case in TABLE}) == len(TABLE)
