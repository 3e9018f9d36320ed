"""Whatever arrives, a driver answers with a receipt or with one of our two refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from drivers import DRIVERS
from drivers.base import Driver, Receipt, interpret, receive
from drivers.verify import restore
from schemas import codec
from schemas.errors import UnparsableError, VerificationError
from schemas.request import Inbound
from tests.drivers.forge import redressed
from tests.drivers.mangle import garbled, header_text, mangled
from tests.drivers.samples import SAMPLES, Sample, exact, pick
from tests.drivers.test_samples import CANONICAL, COMMERCE, proven_by

PLENTY = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
# pydantic reads no lone surrogates; we carry them through as JSON escapes.
SURROGATE = re.compile(rb"\\ud[89a-f][0-9a-f]{2}")
every_driver = pytest.mark.parametrize("driver", DRIVERS, ids=lambda d: d.slug)


def sample_of(driver: Driver) -> st.SearchStrategy[Sample]:
    mine = [s for s in SAMPLES if s.driver is driver and not s.is_poll]
    return st.sampled_from([s for s in mine if not s.content["expect"].get("http_status")])


def parsed(sample: Sample) -> Any:
    try:
        return sample.driver.parse(sample.inbound)
    except UnparsableError:
        return None


def storable(receipt: Receipt) -> None:
    """What comes of a mangled delivery is still canonical, and can be stored."""
    for text in (receipt.delivery_key, receipt.reason or "", *receipt.settles):
        assert "\x00" not in text
        assert len(text.encode()) <= 1200
    for event in receipt.events:
        for text in (event.key, event.dedupe_key, event.provider_event, *event.drift):
            assert "\x00" not in text
            assert len(text.encode()) <= 1200
        written = codec.dumps(event.data)
        json.loads(written)
        if event.name in COMMERCE:
            CANONICAL.validate_json(SURROGATE.sub(b"?", written), strict=True, extra="forbid")


@every_driver
@PLENTY
@given(data=st.data())
def test_a_mangled_payload_is_normalized_or_quarantined(
    driver: Driver, data: st.DataObject
) -> None:
    sample = data.draw(sample_of(driver))
    payload = data.draw(mangled(parsed(sample)))
    verified = restore(sample.inbound, sample.settings, payload, {})
    for has_api in (False, True):
        storable(interpret(driver, verified, has_api=has_api, body=b"", headers={}))


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.answers], ids=lambda s: s.id)
@PLENTY
@given(data=st.data())
def test_a_mangled_answer_is_normalized_or_quarantined(sample: Sample, data: st.DataObject) -> None:
    driver, found = sample.driver, dict[str, Any]()
    verified = restore(sample.inbound, sample.settings, driver.parse(sample.inbound), found)
    answers = st.sampled_from(list(sample.answers.values()))
    for _ in range(3):
        receipt = interpret(driver, verified, has_api=True, body=b"", headers={})
        for fetch in receipt.fetches:
            found[fetch.name] = data.draw(mangled(exact(data.draw(answers))))
    storable(interpret(driver, verified, has_api=True, body=b"", headers={}))


@every_driver
@PLENTY
@given(data=st.data())
def test_a_garbled_body_is_received_or_refused(driver: Driver, data: st.DataObject) -> None:
    sample = data.draw(sample_of(driver))
    body = data.draw(garbled(sample.body))
    inbound = replace(sample.inbound, body=body)
    signed = redressed(sample, body)
    assume(body != sample.body)
    if driver.handshake:
        driver.handshake(inbound, sample.grant)
    for copy in (inbound, signed):
        try:
            storable(receive(driver, copy, sample.grant))
        except (VerificationError, UnparsableError):
            continue
        assert copy is signed or not pick(driver, copy, sample.grant).binds_body


@every_driver
@PLENTY
@given(data=st.data())
def test_random_headers_are_received_or_refused(driver: Driver, data: st.DataObject) -> None:
    sample = data.draw(sample_of(driver))
    names = st.sampled_from([*sample.inbound.headers, *sample.inbound.query, "content-type", "x"])
    pairs = st.dictionaries(names, st.lists(header_text, max_size=2).map(tuple), max_size=4)
    headers = {**sample.inbound.headers, **data.draw(pairs)}
    query = {**sample.inbound.query, **data.draw(pairs)}
    inbound = replace(sample.inbound, headers=headers, query=query)
    if driver.handshake:
        driver.handshake(inbound, sample.grant)
    try:
        storable(receive(driver, inbound, sample.grant))
    except (VerificationError, UnparsableError):
        return


def is_signed(sample: Sample) -> bool:
    scheme = proven_by(sample)
    return scheme is not None and scheme.binds_body


@pytest.mark.parametrize("slug", sorted({s.driver.slug for s in SAMPLES if is_signed(s)}))
@PLENTY
@given(data=st.data())
def test_no_mangled_signature_is_accepted(slug: str, data: st.DataObject) -> None:
    signed = [s for s in SAMPLES if s.driver.slug == slug and is_signed(s)]
    sample = data.draw(st.sampled_from(signed))
    driver, scheme = sample.driver, pick(sample.driver, sample.inbound, sample.grant)
    genuine = redressed(sample, sample.body)
    receive(driver, genuine, sample.grant)
    for forged in one_off(genuine, data):
        if pick(driver, forged, sample.grant) is scheme:
            with pytest.raises(VerificationError):
                receive(driver, forged, sample.grant)


def one_off(genuine: Inbound, data: st.DataObject) -> Iterator[Inbound]:
    """Copies whose signature, in a header or in the query, is not quite right."""
    for name, (value,) in genuine.headers.items():
        if looks_signed(name):
            for wrong in nearly(value, data):
                yield replace(genuine, headers={**genuine.headers, name: (wrong,)})
    for name, (value,) in genuine.query.items():
        if looks_signed(name):
            for wrong in nearly(value, data):
                yield replace(genuine, query={**genuine.query, name: (wrong,)})


def looks_signed(name: str) -> bool:
    return "sign" in name or "hmac" in name


def nearly(value: str, data: st.DataObject) -> tuple[str, ...]:
    at = data.draw(st.integers(0, len(value) - 1))
    flipped = value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :]
    return flipped, value[:at], data.draw(header_text)
