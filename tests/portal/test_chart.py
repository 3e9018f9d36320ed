"""Lines as SVG paths."""

import pytest

from gateway.portal.chart import chart, nice


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 1), (0.3, 1), (1, 1), (1.1, 2), (2.2, 2.5), (3, 5), (7, 10), (10, 10), (140, 200)],
)
def test_the_upper_edge_is_round(value: float, top: float) -> None:
    assert nice(value) == top


def test_points_are_placed_on_one_scale() -> None:
    drawn = chart([[0, 5, 10], [2, 2, 2]], 100, 50)

    assert drawn.top == 10
    assert drawn.lines == ["M0.0 50.0 L50.0 25.0 L100.0 0.0", "M0.0 40.0 L50.0 40.0 L100.0 40.0"]
    assert drawn.area == "M0 50 L0.0 50.0 L50.0 25.0 L100.0 0.0 L100 50 Z"
    assert drawn.dots == ["", ""]
    assert not drawn.is_empty


def test_gaps_break_the_line_and_lone_points_are_dots() -> None:
    drawn = chart([[1, None, 1, 1, None]], 100, 10, top=1)

    assert drawn.lines == ["M0.0 0.0 M50.0 0.0 L75.0 0.0"]
    assert drawn.dots == ["M0.0 0.0 h0.1"]
    assert drawn.area == ""


def test_nothing_is_an_empty_chart() -> None:
    drawn = chart([[None, None]], times=[1, 2])

    assert drawn.is_empty
    assert drawn.marks == [(0.0, 1), (600.0, 2)]


def test_what_is_above_the_edge_stays_on_it() -> None:
    assert chart([[200]], 10, 10, top=100).lines == ["M0.0 0.0"]
