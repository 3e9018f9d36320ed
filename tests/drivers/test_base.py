"""The driver seam: whatever a driver does, one delivery becomes one receipt."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from drivers.base import (
    MAX_EXTRA,
    MAX_KEY,
    Driver,
    can_call,
    capped,
    fact,
    interpret,
    leftovers,
    raw_event,
    receive,
    storable,
)
from drivers.claim import Field
from drivers.describe import Api, Fetch
from drivers.verify import Token, UrlOnly, restore
from schemas.errors import MalformedError, UnparsableError, VerificationError
from schemas.events import Event
from schemas.request import Grant, Inbound, Verified

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BODY = b'{"id":7,"token":"s3cr3t-long"}'


def inbound(body: bytes = BODY) -> Inbound:
    return Inbound("POST", {"content-type": ("application/json",)}, {}, body, NOW)


def event(v: Verified, **known: Any) -> Event:
    told = {"name": "order.paid", "key": "7", "dedupe_key": "7", "provider_event": "paid"}
    return Event(**told | {"data": v.payload} | known)


DRIVER = Driver(
    slug="example",
    id="01ke7rhnt6fhb6tsbbhcdpep00",
    name="Example",
    description={},
    docs_url="",
    scheme=UrlOnly(),
    normalize=lambda v: [event(v)],
    supported_events=("order.paid",),
    delivery_key=lambda _: None,
)


def test_an_accepted_delivery() -> None:
    driver = replace(DRIVER, delivery_key=lambda _: "d-1", settles=lambda _: ("cart-1",))
    receipt = receive(driver, inbound(), Grant())
    assert (receipt.outcome, receipt.delivery_key, receipt.settles) == (
        "accepted",
        "d-1",
        ("cart-1",),
    )
    assert [e.name for e in receipt.events] == ["order.paid"]
    assert (receipt.body, receipt.reason) == (BODY, None)


def test_without_an_id_the_body_names_the_delivery() -> None:
    first, again = (receive(DRIVER, inbound(), Grant()) for _ in range(2))
    other = receive(DRIVER, inbound(BODY + b" "), Grant())
    assert first.delivery_key == again.delivery_key != other.delivery_key
    assert first.delivery_key.startswith("body:")


def test_a_delivery_of_no_interest_is_ignored() -> None:
    receipt = receive(replace(DRIVER, normalize=lambda _: []), inbound(), Grant())
    assert (receipt.outcome, receipt.events) == ("ignored", ())


def test_what_is_not_proven_raises() -> None:
    driver = replace(DRIVER, scheme=Token(at=(Field("token"),)))
    with pytest.raises(VerificationError):
        receive(driver, inbound(), Grant(secrets=("other",)))
    with pytest.raises(UnparsableError):
        receive(driver, inbound(b"{"), Grant(secrets=("other",)))


def test_what_is_proven_and_unreadable_is_kept() -> None:
    driver = replace(DRIVER, secret_fields=("token",))
    receipt = receive(driver, inbound(b'{"token":"s3cr3t-long",'), Grant())
    assert receipt.outcome == "quarantined"
    assert receipt.body == b'{"token":"[redacted]",'
    assert receipt.reason
    assert receipt.reason.startswith("the body is not JSON")


def test_the_token_is_gone_before_normalizing() -> None:
    driver = replace(DRIVER, scheme=Token(at=(Field("token"),)))
    receipt = receive(driver, inbound(), Grant(secrets=("s3cr3t-long",)))
    assert receipt.events[0].data == {"id": 7, "token": "[redacted]"}
    assert json.loads(receipt.body) == {"id": 7, "token": "[redacted]"}


def raising(error: Exception) -> Callable[[Verified], list[Event]]:
    def normalize(_: Verified) -> list[Event]:
        raise error

    return normalize


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MalformedError("missing:buyer.email"), "missing:buyer.email"),
        (KeyError("id"), "KeyError: 'id'"),
        (IndexError("x"), "IndexError: x"),
        (TypeError("x"), "TypeError: x"),
        (ValueError("x\x00" + "y" * 999), None),
        (AttributeError("x"), "AttributeError: x"),
        (ZeroDivisionError("x"), "ZeroDivisionError: x"),
        (RecursionError("x"), "RecursionError: x"),
    ],
)
def test_what_a_driver_cannot_understand_is_kept(error: Exception, reason: str | None) -> None:
    driver = replace(DRIVER, normalize=raising(error), delivery_key=lambda _: "d-1")
    receipt = receive(driver, inbound(), Grant())
    assert (receipt.outcome, receipt.delivery_key, receipt.events) == ("quarantined", "d-1", ())
    assert receipt.reason
    assert len(receipt.reason) <= MAX_KEY
    assert "\x00" not in receipt.reason
    assert reason in {None, receipt.reason}


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(RuntimeError):
        receive(replace(DRIVER, normalize=raising(RuntimeError("bug"))), inbound(), Grant())


def test_a_delivery_key_that_cannot_be_read_is_kept_too() -> None:
    driver = replace(DRIVER, delivery_key=lambda v: v.payload["event_id"])
    receipt = receive(driver, inbound(), Grant())
    assert receipt.outcome == "quarantined"
    assert receipt.delivery_key.startswith("body:")


API = Api(
    base_url="https://api.example",
    credentials=("user", "password"),
    authorize=dict,
    needs=lambda v: () if "order" in v.enrichment else (Fetch(name="order", url="https://x"),),
)
FULL = Grant(credentials={"user": "u", "password": "p"})


def test_an_api_is_asked_when_it_can_be() -> None:
    driver = replace(DRIVER, api=API)
    asked = receive(driver, inbound(), FULL)
    assert (asked.outcome, [f.name for f in asked.fetches], asked.events) == (
        "enriching",
        ["order"],
        (),
    )
    verified = restore(inbound(), {}, {"id": 7}, {"order": {}})
    told = interpret(driver, verified, has_api=True, body=b"kept", headers={"x": ("1",)})
    assert (told.outcome, told.body, told.headers) == ("accepted", b"kept", {"x": ("1",)})
    assert receive(driver, inbound(), Grant()).outcome == "accepted"
    half = Grant(credentials={"user": "u", "password": ""})
    assert receive(driver, inbound(), half).outcome == "accepted"
    assert (
        receive(replace(DRIVER, api=replace(API, needs=None)), inbound(), FULL).outcome
        == "accepted"
    )


def test_what_can_be_called() -> None:
    assert can_call(replace(DRIVER, api=API), FULL)
    assert not can_call(replace(DRIVER, api=API), Grant())
    assert not can_call(DRIVER, FULL)


def test_every_key_can_be_stored() -> None:
    odd = "a\x00b\ud800" + "c" * 999

    def normalize(v: Verified) -> list[Event]:
        return [
            event(v, key=odd, dedupe_key=odd, provider_event=odd, defer_as=odd, drift=(odd,)),
            event(v, provider_event_id=odd),
        ]

    driver = replace(
        DRIVER, normalize=normalize, settles=lambda _: (odd,), delivery_key=lambda _: odd
    )
    receipt = receive(driver, inbound(), Grant())
    first, second = receipt.events
    texts = (first.key, first.dedupe_key, first.provider_event, first.defer_as, first.drift[0])
    assert len({*texts, second.provider_event_id, receipt.settles[0], receipt.delivery_key}) == 1
    assert second.defer_as is None
    key = first.key
    assert len(key) == MAX_KEY
    assert key.startswith("ab?ccc")


def test_long_texts_stay_apart() -> None:
    assert storable("x" * 999) != storable("x" * 998)
    assert storable("x" * MAX_KEY) == "x" * MAX_KEY
    assert storable("") == ""


def test_a_fact_is_named_by_values_not_by_their_spelling() -> None:
    assert fact("7", None, Decimal("10.00"), 3, NOW) == "7||10|3|2026-11-21T12:00:00+00:00"
    assert fact(Decimal("1E+3")) == fact(1000) == "1000"
    assert fact(Decimal("1E+9999")) == "1E+9999"
    assert fact(NOW.date()) == "2026-11-21"


def test_what_is_kept_is_bounded() -> None:
    assert capped({"a": 1}) == {"a": 1}
    big = {"a": "x" * MAX_EXTRA}
    assert capped(big) == {"omitted": "too large", "bytes": MAX_EXTRA + 8}
    assert leftovers({"a": None, "b": "", "c": [], "d": {}, "e": 0, "f": False, "g": 1}) == {
        "e": 0, "f": False, "g": 1,
    }  # fmt: skip


def test_a_raw_event_is_named_by_its_content() -> None:
    here = restore(inbound(), {}, {"id": 7}, {})
    spaced = restore(inbound(BODY + b" "), {}, {"id": 7}, {})
    other = restore(inbound(), {}, {"id": 8}, {})
    first, again, third = (
        raw_event(v, provider_event="ping", key=None) for v in (here, spaced, other)
    )
    assert first == again != third
    assert first.name == "provider.event"
    assert first.data == {"raw": {"id": 7}}
    known = raw_event(
        here, provider_event="ping", key="7", dedupe_key="d", test=True, drift=("x:y",)
    )
    assert (known.key, known.dedupe_key, known.test, known.drift) == ("7", "d", True, ("x:y",))
