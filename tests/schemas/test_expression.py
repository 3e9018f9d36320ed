"""Filters and templates: as JMESPath says, and never for long."""

from typing import Any

import jmespath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jmespath.exceptions import JMESPathError

from schemas import codec
from schemas.expression import BUDGET, LONGEST, Expression, TooMuchError

ORDER = {
    "event": "order.paid",
    "data": {
        "order": {"id": "1", "total": 12990},
        "items": [{"sku": "a", "price": 5}, {"sku": "b", "price": 9}],
        "tags": [["x"], ["y", "z"]],
    },
}


@pytest.mark.parametrize(
    "text",
    [
        "event", "data.order.total > `100`", "data.items[?price > `5`].sku", "data.items[*].price",
        "data.tags[]", "data.items[0]", "data.items[-1].sku", "data.items[::-1]", "keys(data)",
        "sum(data.items[*].price)", "join(', ', data.items[*].sku)", "to_string(data)",
        "{id: data.order.id, n: length(data.items)}", "[event, data.order.id]", "data.*",
        "data.items == data.items", "data.items != `[]`", "!data.nothing", "data.a || 'none'",
        "sort_by(data.items, &price)[0].sku", "map(&sku, data.items)", "data.items | [0]",
        "contains(event, 'paid')", "max_by(data.items, &price)", "reverse(data.items)", "@", "`5`",
        "data.order.total < data.items", "not_null(data.x, event)", "type(data)", "nothing.at.all",
    ],
)  # fmt: skip  # a table
def test_it_finds_what_the_library_finds(text: str) -> None:
    assert Expression(text).search(ORDER) == jmespath.search(text, ORDER)
    assert Expression(text).made(ORDER) == jmespath.search(text, ORDER)


BOMBS = {
    "doubled lists": " | ".join(["[@,@][]"] * 60),
    "many at once": " | ".join(["[" + ",".join(["@"] * 60) + "][]"] * 20),
    "shared and spelled out": " | ".join(["[@,@]"] * 60) + " | to_string(@)",
    "shared and compared": " | ".join(["[@,@]"] * 60) + " | [@ == [@[0],@[1]]]",
    "doubled text": " | ".join(["{a: join('', [a, a])}"] * 60),
    "glue": "{a: event} | " + " | ".join(["{a: join(a, [a,a,a,a,a,a,a,a])}"] * 60),
    "projections of projections": "[" + ",".join(["@"] * 100) + "] | [*][*]" + ".[@,@][]" * 60,
    "sorted": "sort_by(" + "[@,@][] | " * 30 + "@, &event)",
}  # fmt: skip  # a table


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_fails_soon(name: str) -> None:
    """Unbounded, each would take longer than the test may."""
    with pytest.raises(JMESPathError):
        Expression(BOMBS[name]).made(ORDER)


@pytest.mark.parametrize("text", ["&event", "[&event]", "{a: [&event]}"])
def test_an_expression_is_no_value(text: str) -> None:
    with pytest.raises(JMESPathError, match="no value"):
        Expression(text).made(ORDER)


def test_what_is_shared_is_no_trouble_until_it_is_written() -> None:
    shared = Expression(" | ".join(["[@,@]"] * 40))

    assert shared.search(ORDER)
    with pytest.raises(TooMuchError):
        shared.made(ORDER)


@pytest.mark.parametrize("text", ["(" * 3000, "!" * 4000, "[" * 500, "a[" * 90])
def test_what_is_nested_too_deeply_is_none(text: str) -> None:
    with pytest.raises(JMESPathError):
        Expression(text)


def test_a_large_order_is_no_bomb() -> None:
    items = [{"sku": str(n), "price": n, "name": "a thing" * 5} for n in range(5000)]
    value: dict[str, Any] = {"data": {"items": items}}

    assert len(Expression("data.items[?price > `100`].{s: sku, n: name}").made(value)) == 4899
    assert len(Expression("a" * LONGEST).search({"a" * LONGEST: "x"})) == 1
    with pytest.raises(JMESPathError, match="longer"):
        Expression("a" * (LONGEST + 1))


PIECES = st.sampled_from(
    "@ a b data event items * [] [*] [0] [?a] [::2] . | || && ! , ( ) { } [ ] : == < `1` `[]` 'x' "
    "& length(@) to_string(@) join('',@) keys(@) sort_by(@,&a) map(&a,@) merge(@,@) [@,@]"
    " {a:@}".split()
)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=60))
def test_anything_is_an_expression_or_an_error(text: str) -> None:
    try:
        found = Expression(text).made(ORDER, 5000)
    except JMESPathError as error:
        told = str(error)
    else:
        told = codec.dumps(found).decode()
    assert told
    assert BUDGET > 5000
