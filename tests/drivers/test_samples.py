"""What must hold for every sample of every driver. A new driver adds sample files and no test."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from drivers.base import Receipt
from drivers.jwks import Rs256
from drivers.verify import Scheme
from schemas import codec
from schemas.events import COMMERCE_NAMES, FAMILIES, Event, is_messaging
from schemas.order import CommerceData
from schemas.request import Grant, Inbound
from tests.drivers.expectations import unmet
from tests.drivers.forge import altered_bodies, is_json, retold, undressed, wrong_tokens
from tests.drivers.golden import dump
from tests.drivers.rules import broken
from tests.drivers.samples import SAMPLES, Run, Sample, golden_of, pick, run

CANONICAL: TypeAdapter[Any] = TypeAdapter(CommerceData)
# The names whose data is CommerceData.
COMMERCE = frozenset(COMMERCE_NAMES) - {
    *("provider.event", "installation.updated"),
    *FAMILIES["sink"],
}
NEW_SECRET = "nova:Qk9sZWlhIGRl/+segredo"

every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.id)


def every(applies: Callable[[Sample, Scheme], object]) -> pytest.MarkDecorator:
    """Parametrize over the samples that were proven by a scheme of which `applies` holds."""
    chosen = [s for s in SAMPLES if (scheme := proven_by(s)) and applies(s, scheme)]
    return pytest.mark.parametrize("sample", chosen, ids=lambda s: s.id)


def proven_by(sample: Sample) -> Scheme | None:
    """The scheme that decides about this sample; None for a polled page, and for what is no
    delivery or refused.
    """
    handshake = sample.driver.handshake
    is_refused = sample.content["expect"].get("http_status", 200) != 200
    if sample.is_poll or is_refused or (handshake and handshake(sample.inbound, sample.grant)):
        return None
    return pick(sample.driver, sample.inbound, sample.grant)


def all_runs(sample: Sample) -> list[Run]:
    return [sample.run(), *([sample.run_enriched()] if sample.answers else [])]


def outcome(sample: Sample, inbound: Inbound, grant: Grant) -> Run:
    return run(sample.driver, inbound, grant)


@every_sample
def test_the_events_are_those_of_the_golden_file(sample: Sample) -> None:
    assert sample.golden.exists(), "no golden file: run `make golden` and read what it wrote"
    assert dump(golden_of(sample)) == sample.golden.read_text("utf-8")


@every_sample
def test_what_the_sample_expects_holds(sample: Sample) -> None:
    expect = sample.content["expect"]
    if not sample.answers or "expect_enriched" in sample.content:
        check(sample.run(), expect, sample.content.get("expect_events"))
    if sample.answers:
        enriched = sample.content.get("expect_enriched", expect)
        check(sample.run_enriched(), enriched, sample.content.get("expect_events"))


def check(what: Run, expect: dict[str, Any], several: list[dict[str, Any]] | None) -> None:
    status = expect.get("http_status", 200)
    assert status == http_status(what)
    if expect.get("delivery_key"):
        assert any(expect["delivery_key"] in r.delivery_key for r in what.receipts)
    if "outcome" in expect:
        assert {expect["outcome"]} == {r.outcome for r in what.receipts}
    if "event" not in expect:
        return
    wanted = several or ([expect] if expect["event"] else [])
    seen = [json.loads(codec.dumps(event)) for event in what.events]
    if several or not wanted:
        assert [w["event"] for w in wanted] == [e["name"] for e in seen]
    assert len(seen) >= len(wanted), what
    faults = [unmet(event, want) for event, want in zip(seen, wanted, strict=False)]
    assert [[]] * len(wanted) == faults


def http_status(what: Run) -> int:
    if what.reply:
        return what.reply.status
    return {None: 200, "VerificationError": 401, "UnparsableError": 400}[what.refusal]


@every_sample
def test_data_is_canonical(sample: Sample) -> None:
    for what in all_runs(sample):
        for event in what.events:
            assert_canonical(event)


def assert_canonical(event: Event) -> None:
    assert event.key
    assert event.dedupe_key
    assert event.provider_event
    assert event.occurred_at is None or event.occurred_at.utcoffset() == timedelta(0)
    written = codec.dumps(event.data)
    if event.name not in COMMERCE:
        # Evolution API's data goes through as it came: some events have a list, or nothing.
        assert is_messaging(event.name) or isinstance(json.loads(written), dict)
        return
    again = CANONICAL.validate_json(written, strict=True, extra="forbid")
    assert json.loads(written) == json.loads(codec.dumps(again))
    assert broken(json.loads(written)) == []


@every_sample
def test_event_names_are_declared(sample: Sample) -> None:
    names = {event.name for what in all_runs(sample) for event in what.events}
    assert names <= set(sample.driver.supported_events)
    assert all(name in COMMERCE_NAMES or is_messaging(name) for name in names)


@every_sample
def test_telling_it_twice_is_telling_it_once(sample: Sample) -> None:
    for first, second in zip(all_runs(sample), all_runs(sample), strict=True):
        assert first == second
        facts = [(event.name, event.dedupe_key) for event in first.events]
        assert len(facts) == len(set(facts)), "two events of one delivery would be one"


@every(lambda sample, scheme: not isinstance(scheme, Rs256) and is_json(sample.body))
def test_a_fact_is_named_by_what_is_said_and_not_by_the_bytes(sample: Sample) -> None:
    again = retold(sample)
    before, after = sample.run(), run(sample.driver, again, sample.grant)
    facts = [(e.name, e.dedupe_key) for e in before.events if e.name != "provider.event"]
    assert facts == [(e.name, e.dedupe_key) for e in after.events if e.name != "provider.event"]


@every(lambda sample, scheme: sample.secret and (scheme.needs_secret or scheme.reveals_secret))
def test_the_old_secret_serves_until_it_is_revoked(sample: Sample) -> None:
    assert sample.secret
    both = replace(sample.grant, secrets=(NEW_SECRET, sample.secret))
    assert sample.run().events == outcome(sample, sample.inbound, both).events
    for secrets in ((NEW_SECRET,), (sample.secret[:-1],), (sample.secret + "x",)):
        revoked = outcome(sample, sample.inbound, replace(sample.grant, secrets=secrets))
        assert revoked.refusal == "VerificationError"


@every(lambda _, scheme: scheme.needs_secret)
def test_without_a_secret_nothing_is_believed(sample: Sample) -> None:
    for secrets in ((), ("",), ("", "")):
        bare = outcome(sample, sample.inbound, replace(sample.grant, secrets=secrets))
        assert bare.refusal == "VerificationError"


@every(lambda _, scheme: scheme.binds_body)
def test_a_changed_body_is_refused(sample: Sample) -> None:
    for body in altered_bodies(sample.body):
        forged = outcome(sample, replace(sample.inbound, body=body), sample.grant)
        assert forged.refusal == "VerificationError", body[:200]


@every(lambda sample, scheme: sample.secret and scheme.reveals_secret)
def test_a_changed_token_is_refused(sample: Sample) -> None:
    assert sample.secret
    forgeries = wrong_tokens(sample.inbound, sample.secret)
    assert forgeries, "the secret is nowhere in the request"
    for inbound in forgeries:
        assert outcome(sample, inbound, sample.grant).refusal is not None, inbound


@every(lambda _, scheme: scheme.needs_secret or isinstance(scheme, Rs256))
def test_a_request_without_its_proof_is_refused(sample: Sample) -> None:
    scheme = proven_by(sample)
    for inbound in undressed(sample):
        left = pick(sample.driver, inbound, sample.grant)
        if left is scheme or left.needs_secret:
            assert outcome(sample, inbound, sample.grant).refusal == "VerificationError", inbound


@every(lambda _, scheme: scheme.window)
def test_a_stale_delivery_is_refused(sample: Sample) -> None:
    scheme = proven_by(sample)
    assert scheme
    window = scheme.window or 0
    for seconds in (-2 * window - 60, 2 * window + 60):
        late = replace(sample.inbound, received_at=sample.now + timedelta(seconds=seconds))
        assert outcome(sample, late, sample.grant).refusal == "VerificationError"


@every_sample
def test_secrets_do_not_stay(sample: Sample) -> None:
    told = secrets_of(sample)
    for what in all_runs(sample):
        for receipt in what.receipts:
            kept = everything_in(receipt)
            assert [name for name, secret in told.items() if secret in kept] == []


def secrets_of(sample: Sample) -> dict[str, str]:
    """What must not be stored: our secret, what it travels as, and the provider's secret fields."""
    found: dict[str, str] = {}
    if sample.secret:
        found["secret"] = sample.secret
    authorization = sample.inbound.header("authorization")
    if authorization and not sample.is_poll:
        found["authorization"] = authorization.split()[-1]
    for name in sample.driver.secret_fields:
        pattern = rf'"{re.escape(name)}"\s*:\s*"([^"\\]{{4,}})"'
        for at, value in enumerate(re.findall(pattern, sample.body.decode("utf-8", "replace"))):
            found[f"{name} {at}"] = value
    return found


def everything_in(receipt: Receipt) -> str:
    parts = [receipt.body, codec.dumps(dict(receipt.headers)), codec.dumps(receipt.events)]
    return b"\n".join(parts).decode("utf-8", "replace").replace("\\/", "/")
