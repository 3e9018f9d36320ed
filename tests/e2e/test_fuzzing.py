"""The short form of `make fuzz`: the same few hundred requests each time."""

import pytest

from tests.e2e.fuzzing import fuzz
from tests.e2e.program import Program


@pytest.mark.timeout(300)
async def test_any_request_is_answered_as_the_document_says(embedded: Program) -> None:
    await embedded.start()
    fuzzed = await fuzz(embedded, "--phases", "fuzzing", "--max-examples", "4", "--seed", "1")

    assert fuzzed.status == 0, fuzzed.said
    assert fuzzed.cases > 400
    assert "request.failed" not in embedded.log
    assert (await embedded.call("GET", "/readyz")).status == 200
