# SPDX-License-Identifier: Apache-2.0
"""Readings in, verdicts out: limits, hysteresis, words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import health
from jobs.health import Disk, Gates, Limits, Sign

LIMITS = Limits()
GB = 1_000_000_000


def gauges(**over: Any) -> dict[str, Any]:
    """What a host writes of one healthy GPU."""
    gpu = {
        "index": 0,
        "name": "NVIDIA L4",
        "memory_used": 20 * GB,
        "memory_total": 24 * GB,
        "temperature": 55,
        "slowdown": 93,
        "ecc_errors": 0,
        "others": 0,
    }
    return {"gpus": [gpu | over], "gpu_note": "", "gpu_faults": []}


def signs(limits: Limits = LIMITS, **over: Any) -> list[Sign]:
    return list(health.gpu_signs(gauges(**over), limits))


def reasons(gates: Gates) -> list[str]:
    return [closure.reason for closure in gates.closed]


def after(*readings: dict[str, Any], limits: Limits = LIMITS, step: int = 10) -> Gates:
    """The gates after these readings, so many seconds apart."""
    gates = Gates(seconds=limits.seconds)
    for number, over in enumerate(readings):
        gates.judge(signs(limits, **over), now=1000 + number * step)
    return gates


@pytest.mark.parametrize(
    ("over", "reason"),
    [
        ({"temperature": 93}, "GPU 0 is at 93 °C; claims go on below 85 °C"),
        (
            {"others": 6 * GB},
            "other programs hold 6.0 of 24.0 GB of GPU 0; claims go on below 3.8 GB",
        ),
        (
            {"ecc_errors": 1},
            "GPU 0 had 1 memory error that was not corrected since its last reset;"
            " claims go on after a reset of the GPU or a restart of its host",
        ),
        (
            {"temperature": 90, "slowdown": None},
            "GPU 0 is at 90 °C; claims go on below 82 °C",
        ),
    ],
)
def test_a_bad_reading_closes_with_its_figures(
    over: dict[str, Any], reason: str
) -> None:
    assert reasons(after(over)) == [reason]


def test_the_engines_own_memory_closes_nothing() -> None:
    full = {"memory_used": 24 * GB, "memory_total": 24 * GB}
    assert reasons(after(full | {"others": 0})) == []
    # Whose it is may not be known.
    assert reasons(after(full | {"others": None})) == []


@pytest.mark.parametrize(
    ("limits", "over"),
    [
        (Limits(celsius=0), {"temperature": 110}),
        (Limits(others_percent=0), {"others": 24 * GB}),
        (Limits(ecc_errors=0), {"ecc_errors": 99}),
        (Limits(celsius=95), {"temperature": 94}),
        (LIMITS, {"temperature": None, "others": None, "ecc_errors": None}),
        (LIMITS, {"temperature": "hot", "memory_total": 0, "ecc_errors": True}),
    ],
)
def test_what_is_switched_off_or_not_read_closes_nothing(
    limits: Limits, over: dict[str, Any]
) -> None:
    assert reasons(after(over, limits=limits)) == []


def test_a_lost_gpu_closes_until_it_is_back() -> None:
    broken = {**gauges(), "gpu_faults": ["GPU 1 cannot be used: it fell off the bus"]}
    gates = Gates(seconds=30)
    gates.judge(health.gpu_signs(broken, LIMITS), now=0)
    (reason,) = reasons(gates)
    assert reason == (
        "GPU 1 cannot be used: it fell off the bus; claims go on when it can be used"
        " again"
    )
    gates.judge(health.gpu_signs(gauges(), LIMITS), now=10)
    assert "(no longer); claims go on after 30 s like this" in reasons(gates)[0]
    gates.judge(health.gpu_signs(gauges(), LIMITS), now=40)
    assert reasons(gates) == []
    off = Limits(lost_gpu=False)
    assert list(health.gpu_signs({"gpu_faults": broken["gpu_faults"]}, off)) == []


def test_disks_close_and_open_higher() -> None:
    def closed(free: int | None, now: float) -> list[str]:
        found = health.disk_signs([Disk("the data folder", free)], LIMITS)
        gates.judge(found, now=now)
        return reasons(gates)

    gates = Gates(seconds=30)
    assert closed(2 * GB, 0) == []
    assert closed(900_000_000, 10) == [
        "the disk of the data folder has 0.90 GB free; claims go on from 1.20 GB on"
    ]
    assert closed(1_100_000_000, 60)
    assert closed(3 * GB, 70)
    assert closed(3 * GB, 100) == []
    assert closed(None, 110) == [
        "the disk of the data folder does not answer; claims go on when it does"
    ]
    assert not list(health.disk_signs([Disk("x", 0)], Limits(free_bytes=0)))


def test_it_opens_only_after_good_readings_for_a_while() -> None:
    hot, warm, cool = ({"temperature": t} for t in (93, 88, 80))
    # Between the limits it stays as it is, whatever that is.
    assert reasons(after(warm)) == []
    assert reasons(after(hot, warm, warm, warm, warm, warm)) == [
        "GPU 0 is at 88 °C; claims go on below 85 °C"
    ]
    assert reasons(after(hot, cool, cool, cool)) == [
        "GPU 0 is at 80 °C; claims go on after 30 s like this"
    ]
    # A warm reading between begins the time anew.
    assert reasons(after(hot, cool, cool, cool, warm, cool, cool, cool))
    assert reasons(after(hot, cool, cool, cool, cool)) == []


def test_what_was_closed_is_remembered_for_a_day() -> None:
    gates = after({"temperature": 93}, *[{"temperature": 60}] * 4)
    told = gates.as_json(now=1050)
    assert told == {
        "closed": [],
        "ended": [
            {
                "gate": "temperature of GPU 0",
                "cause": "GPU 0 is at 93 °C",
                "since": 1000,
                "until": 1040,
            }
        ],
    }
    assert gates.as_json(now=1040 + health.SHOWN_SECONDS)["ended"] == []


def test_a_database_that_is_back_opens_at_once() -> None:
    gates = Gates(seconds=30)
    gates.judge([health.database_sign("locked")], now=100)
    assert reasons(gates) == [
        "the database takes nothing: locked; claims go on when it does"
    ]
    gates.judge([health.database_sign("")], now=134)
    assert reasons(gates) == []
    (ended,) = gates.as_json(now=140)["ended"]
    assert ended["cause"] == "the database takes nothing: locked"
    # Nobody wants to read of each hesitation.
    gates.judge([health.database_sign("locked")], now=150)
    gates.judge([health.database_sign("")], now=151)
    assert len(gates.as_json(now=160)["ended"]) == 1


def test_closed_gates_stay_closed_for_the_next_worker() -> None:
    told = after({"temperature": 93}).as_json(now=1000)
    heir = Gates(seconds=30, known=told)
    assert [c.since for c in heir.closed] == [1000]
    heir.judge(signs(), now=5000)
    assert len(heir.closed) == 1
    heir.judge(signs(), now=5030)
    assert heir.closed == []


@pytest.mark.parametrize(
    "stored", [None, [], {"closed": 3}, {"closed": [3, {}, {"gate": None}]}]
)
def test_a_row_that_holds_anything_else_is_read_as_open(stored: object) -> None:
    assert health.closed_gates(stored) == []
    assert Gates(seconds=1, known=stored).closed == []


TEMPERATURES = st.lists(
    st.tuples(st.integers(40, 110), st.integers(1, 40)), min_size=1, max_size=60
)


@given(TEMPERATURES)
def test_hysteresis_holds_for_any_course(course: list[tuple[int, int]]) -> None:
    gates = Gates(seconds=30)
    now, cool_since, was_closed = 0, None, False
    for temperature, seconds in course:
        now += seconds
        gates.judge(signs(temperature=temperature), now=now)
        cool_since = (cool_since or now) if temperature < 85 else None
        closed = bool(gates.closed)
        # At the limit it is closed, whatever came before.
        assert closed or temperature < 93
        # Below it nothing closes that was open.
        assert was_closed or not closed or temperature >= 93
        # It opens if, and only if, it was cool for 30 s.
        rested = cool_since is not None and now - cool_since >= 30
        if was_closed:
            assert closed is not rested
        was_closed = closed


@given(TEMPERATURES, st.integers(0, 59))
def test_another_worker_in_between_changes_nothing_but_the_rest(
    course: list[tuple[int, int]], changed_at: int
) -> None:
    one, other = Gates(seconds=30), Gates(seconds=30)
    now = 0
    for number, (temperature, seconds) in enumerate(course):
        now += seconds
        for gates in (one, other):
            gates.judge(signs(temperature=temperature), now=now)
        if number == changed_at:
            other = Gates(seconds=30, known=other.as_json(now=now))
        # It may have to wait its 30 s anew, and never opens earlier.
        assert other.closed or not one.closed


KEYS = st.sampled_from(
    ["index", "temperature", "slowdown", "memory_total", "others", "ecc_errors"]
)


@given(st.dictionaries(KEYS, st.none() | st.floats() | st.text(max_size=3)))
def test_any_gauges_are_read(found: dict[str, Any]) -> None:
    for gauge in (found, {"gpus": [found], "gpu_faults": [found, 3]}):
        list(health.gpu_signs(gauge, LIMITS))


@given(
    st.lists(
        st.tuples(st.sampled_from([55, 88, 93]), st.sampled_from([0, 6 * GB])),
        max_size=40,
    )
)
def test_gates_do_not_hold_each_other(course: list[tuple[int, int]]) -> None:
    both, heat, memory = (Gates(seconds=30) for _ in range(3))
    for number, (temperature, others) in enumerate(course):
        now = number * 11
        both.judge(signs(temperature=temperature, others=others), now=now)
        heat.judge(signs(temperature=temperature), now=now)
        memory.judge(signs(others=others), now=now)
        alone = {c.gate for c in (*heat.closed, *memory.closed)}
        assert {c.gate for c in both.closed} == alone
