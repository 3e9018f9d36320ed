"""The canonical data, requests and errors: small promises that everything rests on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args, get_type_hints

import pytest

from schemas import errors
from schemas.errors import ComportaError, Detail, MalformedError, RequestError
from schemas.order import CommerceData, Item, Order, OrderStatus, commerce
from schemas.request import Grant, Inbound, Reply, Verified

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_every_absent_part_is_explicit() -> None:
    empty = commerce()
    assert set(empty) == set(get_type_hints(CommerceData))
    assert empty["items"] == []
    assert (empty["order"], empty["return"]) == (None, None)
    assert empty["extra"] == {}


def test_a_part_that_is_told_is_kept() -> None:
    order, item = Order(id="7"), Item(id="1")
    told = commerce(order=order, items=[item], extra={"a": 1})
    assert (told["order"], told["items"], told["extra"]) == (order, [item], {"a": 1})


def test_no_two_events_share_a_list() -> None:
    assert commerce()["items"] is not commerce()["items"]


def test_statuses_are_those_of_the_page() -> None:
    assert get_args(OrderStatus) == (
        "created", "pending", "paid", "failed", "canceled", "expired", "refunded",
        "partially_refunded", "chargeback",
    )  # fmt: skip


def test_a_header_or_parameter_counts_when_it_was_sent_once() -> None:
    request = Inbound(
        "POST", {"x": ("1",), "y": ("1", "2")}, {"a": ("1",), "b": ("1", "2")}, b"", NOW
    )
    assert [request.header(n) for n in ("x", "y", "z")] == ["1", None, None]
    assert [request.param(n) for n in ("a", "b", "c")] == ["1", None, None]


@pytest.mark.parametrize(
    ("sent", "media_type"),
    [
        (("Application/JSON; charset=utf-8",), "application/json"),
        ((" text/plain ",), "text/plain"),
        (("",), ""),
        ((), ""),
        (("a/b", "c/d"), ""),
    ],
)
def test_content_type(sent: tuple[str, ...], media_type: str) -> None:
    assert Inbound("POST", {"content-type": sent}, {}, b"", NOW).content_type == media_type


def test_defaults() -> None:
    assert Grant() == Grant((), {}, {}, {})
    assert Reply().status == 200
    verified = Verified(Inbound("POST", {"x": ("1",)}, {}, b"", NOW), {}, {})
    assert (verified.header("x"), verified.received_at, verified.enrichment) == ("1", NOW, {})


def test_an_error_s_docstring_is_its_message() -> None:
    assert MalformedError("missing:id").message == str(MalformedError("missing:id")) == "missing:id"
    assert MalformedError().message == (MalformedError.__doc__ or "").strip()
    told = errors.InvalidError(code="odd", details=(Detail("a.0", "no"),), retry_after=5)
    assert (told.status, told.error, told.code) == (422, "Validation failed", "odd")
    assert (told.details[0].path, told.retry_after) == ("a.0", 5)
    assert errors.ConflictError().code == "conflict"


def test_every_answer_has_a_status_of_its_own() -> None:
    kinds = [
        k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, RequestError)
    ]
    statuses = [kind.status for kind in kinds if kind is not RequestError]
    assert len(statuses) == len(set(statuses))
    assert all(issubclass(kind, ComportaError) for kind in kinds)
