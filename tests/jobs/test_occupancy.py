# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.occupancy import Occupancy


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def test_alone_a_batch_has_all_of_the_engine() -> None:
    clock = Clock()
    seen = Occupancy(clock)
    clock.now += 5
    seen.change((1, "m"), 4)
    clock.now += 10
    seen.change((1, "m"), -3)
    clock.now += 2
    stay = seen.take()[1, "m"]
    assert stay.engine_seconds == pytest.approx(12)
    assert stay.request_seconds == pytest.approx(4 * 10 + 2)
    # It is counted once, and goes on.
    clock.now += 1
    assert seen.take()[1, "m"].engine_seconds == pytest.approx(1)
    seen.change((1, "m"), -1)
    clock.now += 100
    assert seen.take() == {}


def test_batches_that_run_together_share_by_requests_in_flight() -> None:
    clock = Clock()
    seen = Occupancy(clock)
    seen.change((1, "m"), 3)
    seen.change((2, "m"), 1)
    clock.now += 8
    seen.change((1, "m"), -3)
    clock.now += 2
    stays = seen.take()
    assert stays[1, "m"].engine_seconds == pytest.approx(6)
    assert stays[2, "m"].engine_seconds == pytest.approx(2 + 2)


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 5), st.floats(0.01, 100)),
        max_size=40,
    )
)
def test_shares_add_up_to_the_time_that_the_engine_was_busy(
    steps: list[tuple[int, int, float]],
) -> None:
    clock = Clock()
    seen = Occupancy(clock)
    there: dict[int, int] = {}
    busy = flying = engine = requests = 0.0
    for batch, wanted, seconds in steps:
        seen.change((batch, "m"), wanted - there.get(batch, 0))
        there[batch] = wanted
        clock.now += seconds
        total = sum(there.values())
        busy += seconds if total else 0
        flying += seconds * total
        for stay in seen.take().values():
            engine += stay.engine_seconds
            requests += stay.request_seconds
    assert engine == pytest.approx(busy, abs=1e-6)
    assert requests == pytest.approx(flying, abs=1e-6)
