"""Which sinks an event goes to."""

from typing import Any

import pytest

from gateway.routing import passes, targets, wants
from schemas.sink_config import WebhookConfig

PAID = {"event": "order.paid", "data": {"order": {"total": 12990, "id": "7"}}, "test": False}


def a_sink(number: int = 1, **fields: Any) -> WebhookConfig:
    known: dict[str, Any] = {
        "id": f"sink-{number}",
        "tenant": "default",
        "instance": "loja-1",
        "url": "https://crm.example/in",
    }
    return WebhookConfig.model_validate(known | fields)


def chosen(*sinks: WebhookConfig, name: str = "order.paid") -> list[str]:
    return [s.id for s in targets(sinks, name, lambda: PAID)]


def test_no_list_of_events_is_all_events() -> None:
    assert wants(a_sink(), "order.paid")
    assert wants(a_sink(events=()), "messages.upsert")


def test_a_list_of_events_is_these() -> None:
    sink = a_sink(events=("ORDER_PAID", "MESSAGES_UPSERT"))

    assert wants(sink, "order.paid")
    assert wants(sink, "messages.upsert")
    assert not wants(sink, "order.created")


def test_a_filter_chooses_by_what_the_envelope_says() -> None:
    large, small = a_sink(1, filter="data.order.total > `10000`"), a_sink(2, filter="test")

    assert chosen(large, small, a_sink(3)) == ["sink-1", "sink-3"]


def test_a_disabled_sink_gets_it_too_to_be_held() -> None:
    assert chosen(a_sink(enabled=False)) == ["sink-1"]


def test_the_envelope_is_made_once_and_only_for_filters() -> None:
    made: list[int] = []

    def document() -> Any:
        made.append(1)
        return PAID

    targets([a_sink(1), a_sink(2)], "order.paid", document)
    assert made == []

    targets([a_sink(n, filter="event") for n in range(5)], "order.paid", document)
    assert made == [1]


@pytest.mark.parametrize(
    ("expression", "passed"),
    [
        ("event == 'order.paid'", True),
        ("event == 'order.created'", False),
        ("data.order", True),
        ("data.nothing.at.all", False),
        ("data.order.items[0]", False),
        # What fails on the document delivers nothing, and refuses nobody.
        ("length(data.order.total)", False),
        ("sort(data)", False),
        ("sum(['a'])", False),
        ("avg(`[]`)", False),
        ("to_number(event) > `1`", False),
        ("starts_with(data.order.total, 'x')", False),
        ("max_by(data.order.id, &x)", False),
        ("join(',', data.order.total)", False),
    ],
)
def test_a_filter_passes_or_does_not_and_never_raises(expression: str, passed: bool) -> None:
    assert passes(expression, PAID) is passed


def test_a_filter_survives_a_document_nested_as_deep_as_we_read() -> None:
    deep: Any = "end"
    for _ in range(96):
        deep = {"a": deep}

    assert passes(".".join(["a"] * 96), deep)
    assert not passes(".".join(["a"] * 97), deep)
