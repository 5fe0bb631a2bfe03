# SPDX-License-Identifier: Apache-2.0
"""Timeouts, pauses between tries, and full engines, against the real test engine."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from jobs.models import Result
from jobs.recording import ChunkLease
from jobs.scheduling import Work
from jobs.writer import GivenBack
from tests.engine_process import counts, engine_process

from .test_submitter import Bench, bench, claim, row


async def ask(url: str) -> dict[str, Any]:
    return await asyncio.to_thread(counts, url)


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.submitter.LONGEST_WAIT", 0.05)


def test_a_request_that_times_out_is_ended_in_the_engine_too(
    test_engine: str, short_waits: None
) -> None:
    async def scenario() -> None:
        async with bench(test_engine, timeout=0.3) as b:
            b.submitter.add(claim(1, [row(0, hang=True), row(1)]))
            await b.until(lambda: len(b.items) == 2)
            bad = b.results()[0]
            assert (bad.error_code, bad.attempts) == ("request_timeout", 5)
            assert bad.error_message == "Tried 5 times: no answer within 0 s."
            while (found := await ask(test_engine))["aborted"] < 5:
                await asyncio.sleep(0.02)
            assert found["running"] == 0
            assert found["keys"]["k0"] == 5

    asyncio.run(scenario())


def test_a_request_that_is_slow_once_has_its_answer_from_the_next_try(
    test_engine: str, short_waits: None
) -> None:
    async def scenario() -> None:
        async with bench(test_engine, timeout=0.5) as b:
            b.submitter.add(claim(1, [row(0, hang=True, times=1), row(1)]))
            await b.until(lambda: len(b.items) == 2)
            assert (b.results()[0].status_code, b.results()[0].attempts) == (200, 2)

    asyncio.run(scenario())


def test_a_model_has_a_limit_of_its_own(test_engine: str, short_waits: None) -> None:
    async def scenario() -> None:
        async with bench(test_engine, timeout=30, timeouts={"tiny": 0.2}) as b:
            b.submitter.add(claim(1, [row(0, hang=True), row(1)]))
            await b.until(lambda: len(b.items) == 2)
            assert b.results()[0].error_code == "request_timeout"

    asyncio.run(scenario())


def test_a_row_between_two_tries_leaves_its_place_to_others(test_engine: str) -> None:
    async def scenario() -> None:
        async with bench(test_engine, window=1) as b:
            bad = row(0, status=500, times=1, retry_after=2)
            b.submitter.add(claim(1, [bad, *(row(n) for n in range(1, 20))]))
            await b.until(lambda: len(b.items) == 19)
            # All the others are done; it takes its place again when its pause is over.
            assert 0 not in b.results()
            await b.until(lambda: len(b.items) == 20)
            assert b.results()[0].attempts == 2
            assert b.submitter.in_flight <= 1

    asyncio.run(scenario())
    assert counts(test_engine)["most_running"] == 1


def test_the_engine_says_when_it_wants_to_be_asked_again(test_engine: str) -> None:
    async def scenario() -> None:
        async with bench(test_engine) as b:
            b.submitter.add(claim(1, [row(0, status=429, times=1, retry_after=3)]))
            began = time.monotonic()
            await b.until(lambda: b.items)
            assert time.monotonic() - began >= 3

    asyncio.run(scenario())


def test_a_cancelled_batch_ends_the_waiting_for_tries_at_once(test_engine: str) -> None:
    async def scenario() -> None:
        async with bench(test_engine, window=4) as b:
            rows = [row(n, status=503, retry_after=60) for n in range(6)]
            b.submitter.add(claim(1, rows))
            other = Work(2, 1, 1, 0, "tiny", 0.0, 9e9)
            b.submitter.add(claim(2, [row(50)], other))
            await b.until(lambda: 50 in b.results())
            while (await ask(test_engine))["requests"] < 7:
                await asyncio.sleep(0.02)
            assert b.submitter.busy
            b.submitter.drop({1})
            await b.until(lambda: not b.submitter.busy, seconds=5)
            assert b.items[-1] == GivenBack(ChunkLease(1, 1, 1))
            assert b.submitter.in_flight == 0
            assert not +b.submitter._shares.load

    asyncio.run(scenario())


def test_rows_that_are_due_go_too_when_their_batch_does(test_engine: str) -> None:
    async def scenario() -> None:
        async with bench(test_engine, window=1) as b:
            b.submitter.add(claim(1, [row(0, status=500, times=1)]))
            while (await ask(test_engine))["requests"] < 1:
                await asyncio.sleep(0.01)
            other = Work(2, 1, 1, 0, "tiny", 0.0, 9e9)
            b.submitter.add(claim(2, [row(1, delay=20)], other))
            (held,) = [h for h in b.submitter._held.values() if h.claim.work.batch == 1]
            await b.until(lambda: held.due)
            assert b.submitter.in_flight == 1
            b.submitter.drop({1})
            await b.until(lambda: b.items)
            assert b.items == [GivenBack(ChunkLease(1, 1, 1))]
            assert b.submitter.in_flight == 1

    asyncio.run(scenario())


def test_an_engine_in_trouble_gets_no_more_than_some_windows_of_rows(
    test_engine: str,
) -> None:
    async def scenario() -> None:
        async with bench(test_engine, window=5) as b:
            b.submitter.add(claim(1, [row(n, status=500) for n in range(200)]))
            await asyncio.sleep(1)
            assert 5 < len((await ask(test_engine))["keys"]) <= 4 * 5 + 5
            assert len(b.submitter._tasks) <= 4 * 5 + 5

    asyncio.run(scenario())


async def running_meanwhile(b: Bench, url: str, rows: int) -> list[int]:
    """How many requests ran at the engine, again and again until all rows are done."""
    seen = []
    while len(b.items) < rows:
        seen.append((await ask(url))["running"])
        b.submitter.stored(b.submitter.unwritten, 0)
        await asyncio.sleep(0.05)
    return seen


def test_an_engine_that_is_full_keeps_its_places_filled_and_fails_no_row() -> None:
    rows = 700

    async def scenario(url: str) -> None:
        async with bench(url, window=64) as b:
            for chunk in range(7):
                first = chunk * 100
                b.submitter.add(
                    claim(chunk, [row(first + n, delay=0.05) for n in range(100)])
                )
            seen = await running_meanwhile(b, url, rows)
            assert {r.status_code for r in b.results().values()} == {200}
            assert len(b.results()) == rows
            # What the engine takes at most is 8.
            middle = seen[len(seen) // 4 : -len(seen) // 8]
            assert sum(middle) / len(middle) >= 4
            assert 4 <= b.submitter._window.places <= 20

    with engine_process("--most-running", "8") as (url, _):
        asyncio.run(scenario(url))
        found = counts(url)
        assert found["most_running"] == 8
        # The first window's worth, and then one now and then.
        assert found["refused"] < rows / 4


def test_too_many_requests_for_long_is_nothing_that_a_row_did(
    test_engine: str, short_waits: None
) -> None:
    async def scenario() -> None:
        async with bench(test_engine) as b:
            third = claim(1, [row(0, status=429)])
            object.__setattr__(third, "attempts", 3)
            b.submitter.add(third)
            await b.until(lambda: b.submitter.snapshot().halt)
            assert b.items == [GivenBack(ChunkLease(1, 1, 1), count_attempt=True)]

    asyncio.run(scenario())


def test_one_row_in_a_hundred_that_is_slow_does_not_hold_up_the_rest(
    test_engine: str,
) -> None:
    rows, every = 1000, 100

    async def scenario() -> None:
        async with bench(test_engine, window=32, timeout=60) as b:
            free = []
            for chunk in range(rows // 50):
                numbers = range(chunk * 50, chunk * 50 + 50)
                b.submitter.add(
                    claim(
                        chunk,
                        [
                            row(n, delay=30 if n % every == 50 else 0.02)
                            for n in numbers
                        ],
                    )
                )
            quick = rows - rows // every
            while len(b.items) < quick:
                b.submitter.stored(b.submitter.unwritten, 0)
                if any(h.queue for h in b.submitter._held.values()):
                    free.append(32 - b.submitter.in_flight)
                await asyncio.sleep(0.01)
            # Not one slow row is done, and no place was free while a row waited.
            assert not [n for n in b.results() if n % every == 50]
            assert max(free) == 0
            await b.until(lambda: b.submitter.in_flight == rows // every)

    asyncio.run(scenario())
    assert counts(test_engine)["most_running"] == 32


def test_a_result_names_the_tries_it_took(test_engine: str) -> None:
    async def scenario() -> None:
        async with bench(test_engine) as b:
            b.submitter.add(claim(1, [row(0, status=503, times=2), row(1)]))
            await b.until(lambda: len(b.items) == 2)
            done = b.results()[0]
            assert (done.outcome, done.attempts) == (Result.Outcome.COMPLETED, 3)

    asyncio.run(scenario())
