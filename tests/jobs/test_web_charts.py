# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobs.web.charts import Point, chart

START = datetime(2026, 3, 1, tzinfo=UTC)


def point(hour: float, value: float, series: str = "gpu0") -> Point:
    return Point(START + timedelta(hours=hour), value, series, "9 requests")


def test_points_lie_between_the_axis_and_a_round_number() -> None:
    made = chart([point(0, 0), point(5, 170), point(10, 100, "gpu1")], unit="tok/s")
    assert made is not None
    assert made.ticks == ["200", "100", "0"]
    (first, second) = made.lines
    assert (first.name, first.colour, second.colour) == ("gpu0", 1, 2)
    assert first.points == "12.0,188.0 500.0,38.4"
    assert second.dots[0].x == "988.0"
    assert second.dots[0].y == "100.0"
    assert second.dots[0].words == "gpu1, 1 Mar 10:00: 100 tok/s, 9 requests"


@pytest.mark.parametrize(
    ("value", "ticks"),
    [(0.4, ["0.5", "0"]), (0, ["1", "0"]), (9.5, ["10", "5", "0"])],
)
def test_small_and_single_values_have_an_axis_too(
    value: float, ticks: list[str]
) -> None:
    made = chart([point(1, value)], unit="tok/s")
    assert made is not None
    assert made.ticks == ticks
    assert made.lines[0].dots[0].x == "500.0"


def test_nothing_is_no_chart() -> None:
    assert chart([], unit="tok/s") is None


def test_many_series_share_the_last_colour() -> None:
    made = chart([point(n, 5, f"e{n}") for n in range(7)], unit="tok/s")
    assert made is not None
    assert [line.colour for line in made.lines] == [1, 2, 3, 4, 4, 4, 4]
