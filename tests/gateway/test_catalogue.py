"""The catalogue of drivers, for people and for programs."""

import json

import pytest

from drivers import BY_SLUG, DRIVERS
from drivers.verify import Hmac, UrlOnly
from gateway.catalogue import as_json_text, as_table, proofs

# From the dossiers, and not from the code: what each provider can prove.
PROOFS = {
    "kiwify": ("signed",),
    "shopify": ("signed",),
    "stripe": ("signed",),
    "woocommerce": ("signed", "url"),
    "cakto": ("signed", "token"),
    "eduzz": ("signed", "token"),
    "bling": ("signed", "token"),
    "assiny": ("signed", "token", "url"),
    "pagarme": ("signed", "token", "url"),
    "hotmart": ("token",),
    "monetizze": ("token",),
    "ticto": ("token",),
    "digital_manager_guru": ("token",),
    "bagy": ("token", "url"),
    "irroba": ("url",),
}


@pytest.mark.parametrize("slug", sorted(PROOFS))
def test_the_proof_is_what_the_provider_gives(slug: str) -> None:
    assert proofs(BY_SLUG[slug].scheme) == PROOFS[slug]


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda d: d.slug)
def test_no_driver_is_shown_stronger_than_its_scheme(driver: object) -> None:
    scheme = BY_SLUG[getattr(driver, "slug", "")].scheme
    words = proofs(scheme)

    assert words
    assert scheme.binds_body <= (words == ("signed",))
    assert isinstance(scheme, UrlOnly) <= (words == ("url",))
    assert ("token" in words) == scheme.reveals_secret or not isinstance(scheme, Hmac)


def test_every_driver_has_a_line() -> None:
    head, *lines = as_table().splitlines()

    assert head.split() == ["SLUG", "NAME", "PROOF", "STATUS", "EVENTS"]
    assert [line.split()[0] for line in lines] == [d.slug for d in DRIVERS]
    assert [line for line in lines if line != line.rstrip()] == []


def test_programs_get_json() -> None:
    catalogue = json.loads(as_json_text())

    by_slug = {entry["slug"]: entry for entry in catalogue}
    assert by_slug.keys() == BY_SLUG.keys()
    assert by_slug["kiwify"]["proof"] == "signed"
    assert by_slug["eduzz"]["proofs"] == ["signed", "token"]
    assert "order.paid" in by_slug["shopify"]["supported_events"]
