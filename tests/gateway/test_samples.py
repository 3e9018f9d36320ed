"""The bundled deliveries: every one can be named, loaded and made genuine."""

import pytest

from drivers import BY_SLUG
from drivers.verify import verify
from gateway.samples import Sample, UnknownSampleError, load, names
from schemas.request import Grant, Inbound
from tests.sinks.given import RECEIVED


def test_every_driver_with_samples_is_listed() -> None:
    listed = names()

    assert "shopify/orders_paid" in listed
    assert {name.partition("/")[0] for name in listed} <= BY_SLUG.keys()
    assert listed == sorted(listed)
    assert names("kiwify") == [name for name in listed if name.startswith("kiwify/")]
    assert not [name for name in listed if ".events" in name]


@pytest.mark.parametrize("name", names())
def test_every_sample_that_is_listed_can_be_loaded_and_signed(name: str) -> None:
    sample = load(name)
    draft = sample.signed("another-secret", 1_700_000_000)

    assert f"{sample.driver}/{sample.case}" == name
    assert sample.body or sample.query or sample.method == "GET" or sample.case == "url_check"
    assert draft.secret == "another-secret"


def test_what_is_signed_verifies_with_that_secret_and_no_other() -> None:
    sample = load("shopify/orders_paid")
    draft = sample.signed("mine", int(RECEIVED.timestamp()))
    headers = {k.lower(): (v,) for k, v in draft.headers.items()}
    inbound = Inbound("POST", headers, {}, draft.body, RECEIVED)
    driver = BY_SLUG["shopify"]

    verify(driver.scheme, inbound, Grant(secrets=("mine",)), driver.parse)
    with pytest.raises(Exception, match="signature"):
        verify(driver.scheme, inbound, Grant(secrets=("other",)), driver.parse)


def test_signing_leaves_the_sample_as_it_was() -> None:
    sample = load("shopify/orders_paid")
    before = dict(sample.headers)

    sample.signed("mine", 0).headers["X-New"] = "1"

    assert sample.headers == before


@pytest.mark.parametrize(
    "name",
    "|shopify|shopify/|shopify/nothing|nobody/orders_paid|shopify/../kiwify/x|../../etc/passwd"
    "|shopify/orders_paid.json".split("|"),
)
def test_an_unknown_sample_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnknownSampleError, match="send --list"):
        load(name)


def test_a_sample_without_a_secret_is_sent_as_it_is() -> None:
    sample = Sample("shopify", "x", "", "POST", {"A": "1"}, {}, b"{}", "", {})

    assert sample.signed("", 0).headers == {"A": "1"}
