# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.backoff import (
    BUSY_TRIES,
    LONGEST_RETRY_AFTER,
    LONGEST_WAIT,
    TRIES,
    asked_pause,
    most_tries,
    pause_before_next,
)

NOW = 1_800_000_000.0
jitters = st.floats(0, 1)


@given(st.integers(1, 10**9), jitters, st.text(max_size=40))
def test_every_pause_is_bounded(attempt: int, jitter: float, said: str) -> None:
    pause = pause_before_next(attempt, jitter=jitter, retry_after=said, now=NOW)
    assert 0.5 <= pause <= max(1.5 * LONGEST_WAIT, LONGEST_RETRY_AFTER)


@given(st.integers(1, 100), jitters)
def test_pauses_never_become_shorter(attempt: int, jitter: float) -> None:
    pause = pause_before_next(attempt, jitter=jitter)
    assert pause_before_next(attempt + 1, jitter=jitter) >= pause


def test_pauses_double_up_to_half_a_minute() -> None:
    pauses = [pause_before_next(attempt, jitter=0.5) for attempt in range(1, 8)]
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


@given(st.integers(1, 20), jitters, st.floats(0, LONGEST_RETRY_AFTER))
def test_the_engine_is_not_asked_sooner_than_it_says(
    attempt: int, jitter: float, seconds: float
) -> None:
    said = str(seconds)
    assert pause_before_next(attempt, jitter=jitter, retry_after=said) >= seconds


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7),
        ("1.5", 1.5),
        ("3600", 60),
        ("-3", 0),
        ("nan", 0),
        ("", 0),
        ("soon", 0),
        (formatdate(NOW + 20, usegmt=True), 20),
        (formatdate(NOW - 20, usegmt=True), 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(said: str, seconds: float) -> None:
    assert asked_pause(said, NOW) == seconds


def test_a_full_engine_is_asked_more_often_than_a_broken_one() -> None:
    assert {most_tries(status) for status in (429, 503)} == {BUSY_TRIES}
    assert {most_tries(status) for status in (None, 408, 500, 502, 504)} == {TRIES}
