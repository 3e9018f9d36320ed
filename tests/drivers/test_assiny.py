"""The places where Assiny's merchants put their secret; what samples cannot show."""

from __future__ import annotations

import pytest

from drivers.assiny import DRIVER, Bearer, SharedSecret
from drivers.claim import Draft
from schemas.request import Grant

SECRET = "ns_inventado"  # an invented secret


def draft() -> Draft:
    return Draft(headers={}, query={}, body=b"{}", secret=SECRET, now=0)


def test_a_signed_draft_is_accepted() -> None:
    told = draft()
    DRIVER.scheme.sign(told)
    assert told.headers == {"x-assiny-token": SECRET}
    DRIVER.scheme.check(told.claim(), Grant(secrets=(SECRET,)))


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_token_is_read_in_any_case(kind: str) -> None:
    told = draft()
    Bearer().write(told, SECRET)
    assert told.headers == {"authorization": f"Bearer {SECRET}"}
    told.headers = {"Authorization": f"{kind} {SECRET}"}
    SharedSecret().check(told.claim(), Grant(secrets=(SECRET,)))
