# SPDX-License-Identifier: Apache-2.0
"""The window of requests against the real test engine, without a database."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from jobs.claims import Claim, Row
from jobs.engines.client import EngineClient
from jobs.flight import Target
from jobs.models import Result
from jobs.recording import ChunkLease
from jobs.scheduling import Work
from jobs.submitter import Submitter
from jobs.writer import GivenBack, Item, Written
from tests.engine_process import counts, engine_process

WORK = Work(1, 1, 1, 0, "tiny", 0.0, 9e9)


def row(
    index: int, *, group: int = 0, lonely: int = 0, poison: bool = False, **test: Any
) -> Row:
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": f"say {index}"}],
        "test": {"key": f"k{index}", **test},
    }
    return Row(
        pk=index + 100,
        index=index,
        custom_id=f"r{index}",
        url="/v1/chat/completions",
        body=json.dumps(body),
        has_copies=False,
        suspect_group=group,
        lonely_deaths=2 if poison else lonely,
    )


def claim(chunk: int, rows: list[Row], work: Work = WORK) -> Claim:
    return Claim(ChunkLease(chunk, work.batch, 1), work, 0, len(rows), rows)


class Bench:
    """A submitter aimed at an engine, and what it handed to the writer."""

    def __init__(self, timeout: float) -> None:
        self.items: list[Item] = []
        self.submitter = Submitter(put=self.items.append, timeout=timeout)

    def results(self) -> dict[int, Result]:
        return {i.result.index: i.result for i in self.items if isinstance(i, Written)}

    async def until(self, look: Callable[[], object], seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while not look():
            assert time.monotonic() < deadline, self.items
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def bench(
    url: str, *, window: int = 8, timeout: float = 5, **target: Any
) -> AsyncIterator[Bench]:
    made = Bench(timeout)
    async with EngineClient(base_url=url) as client:
        made.submitter.aim(
            client,
            Target(
                engine=1,
                generation=1,
                window=window,
                managed=target.pop("managed", True),
                provenance={"engine": "t"},
                **target,
            ),
        )
        yield made
        # Else each request that is cut off makes room for the next one.
        made.submitter.drop()
        made.submitter.abort()
        await made.until(lambda: not made.submitter.busy)


def test_every_row_is_answered_once_and_the_last_one_ends_the_chunk(
    test_engine: str,
) -> None:
    async def scenario() -> None:
        async with bench(test_engine) as b:
            b.submitter.add(claim(1, [row(n) for n in range(30)]))
            await b.until(lambda: len(b.items) == 30)
            assert sorted(b.results()) == list(range(30))
            assert [i.last for i in b.items if isinstance(i, Written)] == [
                False
            ] * 29 + [True]
            result = b.results()[3]
            assert (
                json.loads(result.body)["choices"][0]["message"]["content"] == "say 3"
            )
            assert result.provenance == {"engine": "t"}
            await b.until(lambda: b.submitter.snapshot().leases == [])

    asyncio.run(scenario())
    assert counts(test_engine)["most_running"] <= 8


def test_slow_rows_do_not_hold_up_the_rest(test_engine: str) -> None:
    async def scenario() -> None:
        async with bench(test_engine, window=4) as b:
            slow = [row(0, delay=3), row(1, delay=3)]
            b.submitter.add(claim(1, [*slow, *(row(n) for n in range(2, 60))]))
            b.submitter.add(claim(2, [row(n) for n in range(60, 80)]))
            await b.until(lambda: len(b.items) == 78, seconds=2.5)
            assert not {0, 1} & set(b.results())

    asyncio.run(scenario())


def test_the_rows_own_4xx_is_its_result(test_engine: str) -> None:
    async def scenario() -> None:
        async with bench(test_engine) as b:
            b.submitter.add(claim(1, [row(0, status=400, message="no"), row(1)]))
            await b.until(lambda: len(b.items) == 2)
            assert b.results()[0].outcome == Result.Outcome.FAILED
            assert b.results()[0].status_code == 400
            assert b.results()[0].attempts == 1

    asyncio.run(scenario())


def test_passing_trouble_is_tried_again_and_halves_the_window(test_engine: str) -> None:
    async def scenario() -> None:
        async with bench(test_engine) as b:
            b.submitter.add(claim(1, [row(0, status=503, times=1), row(1)]))
            await b.until(lambda: len(b.items) == 2)
            assert b.results()[0].status_code == 200
            assert b.results()[0].attempts == 2

    asyncio.run(scenario())


def test_a_row_that_alone_fails_five_times_gets_the_engines_last_word(
    test_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.submitter.LONGEST_WAIT", 0.05)

    async def scenario() -> None:
        async with bench(test_engine) as b:
            b.submitter.add(claim(1, [row(0, status=500), row(1), row(2, delay=0.2)]))
            await b.until(lambda: len(b.items) == 3)
            bad = b.results()[0]
            assert (bad.status_code, bad.attempts) == (500, 5)
            assert "error" in json.loads(bad.body)

    asyncio.run(scenario())


def test_when_nothing_succeeds_it_is_the_engine_and_the_chunk_goes_back(
    test_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.submitter.LONGEST_WAIT", 0.05)

    async def scenario() -> None:
        async with bench(test_engine) as b:
            b.submitter.add(claim(1, [row(n, status=503) for n in range(3)]))
            await b.until(lambda: b.submitter.snapshot().halt)
            assert b.items == [GivenBack(ChunkLease(1, 1, 1), count_attempt=True)]
            halt = b.submitter.snapshot().halt
            assert halt is not None
            assert (halt.died, halt.lost) == (False, ())
            assert "503" in halt.reason

    asyncio.run(scenario())


def test_rows_that_only_ever_fail_end_after_three_claims_of_a_healthy_engine(
    test_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.submitter.LONGEST_WAIT", 0.05)

    async def scenario() -> None:
        async with bench(test_engine) as b:
            third = dataclasses.replace(claim(1, [row(0, status=500)]), attempts=3)
            b.submitter.add(third)
            await b.until(lambda: b.items)
            assert b.results()[0].status_code == 500

    asyncio.run(scenario())


def test_a_batch_for_an_endpoint_that_is_not_there_stands_in_nobodys_way(
    test_engine: str,
) -> None:
    async def scenario() -> None:
        async with bench(test_engine, window=4) as b:
            wrong = Work(2, 1, 1, 5, "tiny", 0.0, 9e9)
            b.submitter.add(
                claim(2, [row(n, status=404, delay=0.1) for n in range(50, 60)], wrong)
            )
            b.submitter.add(claim(1, [row(n) for n in range(20)]))
            await b.until(lambda: len(b.results()) == 20)
            await b.until(lambda: not b.submitter.busy)
            snapshot = b.submitter.snapshot()
            assert snapshot.halt is None
            assert list(snapshot.refused) == [(2, "tiny")]
            assert "404" in snapshot.refused[2, "tiny"]
            assert GivenBack(ChunkLease(2, 2, 1)) in b.items

    asyncio.run(scenario())


def test_a_model_that_is_gone_halts_the_engine() -> None:
    async def scenario() -> None:
        with engine_process() as (url, _):
            async with bench(url) as b:
                lost = Work(1, 1, 1, 0, "lost", 0.0, 9e9)
                b.submitter.add(claim(1, [row(0, status=404)], lost))
                await b.until(lambda: b.submitter.snapshot().halt)
                assert b.submitter.snapshot().refused == {}

    asyncio.run(scenario())


def test_bodies_in_flight_are_bounded(
    test_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.submitter.MOST_CHARACTERS", 250)

    async def scenario() -> None:
        async with bench(test_engine) as b:
            b.submitter.add(claim(1, [row(n, delay=0.05) for n in range(12)]))
            most = stored = 0
            while len(b.items) < 12:
                most = max(most, b.submitter.in_flight)
                if b.submitter.unwritten:
                    sizes = sum(len(r.body) for r in b.results().values())
                    b.submitter.stored(b.submitter.unwritten, sizes - stored)
                    stored = sizes
                await asyncio.sleep(0.005)
            assert 1 <= most <= 4

    asyncio.run(scenario())


def test_suspects_that_wait_too_long_run_before_the_rest(
    test_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.suspect_turns.SUSPECTS_WAIT", 0.3)

    async def scenario() -> None:
        async with bench(test_engine, window=2) as b:
            rows = [row(0, group=1), *(row(n, delay=0.05) for n in range(1, 80))]
            b.submitter.add(claim(1, rows))
            await b.until(lambda: 0 in b.results())
            assert len(b.items) < 60

    asyncio.run(scenario())


def test_a_wider_window_is_used_at_once(test_engine: str) -> None:
    async def scenario() -> None:
        async with bench(test_engine, window=2) as b:
            b.submitter.add(claim(1, [row(n, delay=0.2) for n in range(40)]))
            target = b.submitter._target
            assert target is not None
            wider = dataclasses.replace(target, window=40)
            assert wider.is_same_server(target)
            b.submitter.adjust(wider)
            await b.until(lambda: len(b.items) == 40, seconds=2.5)

    asyncio.run(scenario())


@pytest.mark.parametrize("test", [{"status": 401}, {"not_json": True}])
def test_faults_of_the_engine_are_never_stored(
    test_engine: str, test: dict[str, Any]
) -> None:
    async def scenario() -> None:
        async with bench(test_engine, window=1) as b:
            b.submitter.add(claim(1, [row(0), row(1, **test), row(2)]))
            await b.until(lambda: b.submitter.snapshot().halt)
            assert list(b.results()) == [0]
            assert b.items[-1] == GivenBack(ChunkLease(1, 1, 1))

    asyncio.run(scenario())


def test_a_row_that_times_out_while_others_succeed_says_so(
    test_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.submitter.LONGEST_WAIT", 0.05)

    async def scenario() -> None:
        async with bench(test_engine, timeout=0.2) as b:
            b.submitter.add(claim(1, [row(0, hang=True), row(1)]))
            await b.until(lambda: len(b.items) == 2)
            bad = b.results()[0]
            assert (bad.status_code, bad.error_code) == (None, "request_timeout")

    asyncio.run(scenario())


def test_a_dead_engine_names_the_rows_in_flight_and_those_alone() -> None:
    async def scenario() -> None:
        with engine_process() as (url, _):
            async with bench(url, window=3) as b:
                rows = [row(0, kill=True, delay=0.1), row(1, delay=9), row(2, delay=9)]
                b.submitter.add(claim(1, [*rows, row(3)]))
                await b.until(lambda: b.submitter.snapshot().halt)
                halt = b.submitter.snapshot().halt
                assert halt is not None
                assert halt.died
                assert sorted(halt.lost) == [100, 101, 102]
                assert b.items == [GivenBack(ChunkLease(1, 1, 1))]

    asyncio.run(scenario())


def test_suspects_run_last_apart_and_in_parts(test_engine: str) -> None:
    async def scenario() -> None:
        async with bench(test_engine) as b:
            suspects = [row(n, group=32, delay=0.05) for n in range(4)]
            lonely = row(4, group=1, lonely=1)
            others = [row(n) for n in range(5, 10)]
            b.submitter.add(claim(1, [lonely, *suspects, *others]))
            await b.until(lambda: len(b.items) >= 5)
            # A row that is answered leaves the window in the loop's next step.
            await asyncio.sleep(0)
            most = 0
            while len(b.items) < 10:
                most = max(most, b.submitter.in_flight)
                await asyncio.sleep(0.005)
            order = list(b.results())
            assert set(order[:5]) == set(range(5, 10))
            assert order[-1] == 4
            assert most == 2

    asyncio.run(scenario())


def test_poison_is_answered_without_the_engine(test_engine: str) -> None:
    async def scenario() -> None:
        async with bench(test_engine) as b:
            b.submitter.add(claim(1, [row(0, group=1, poison=True)]))
            await b.until(lambda: b.items)
            assert b.results()[0].error_code == "engine_crashed"

    asyncio.run(scenario())
    assert counts(test_engine)["requests"] == 0


def test_urgent_rows_take_the_next_free_places(test_engine: str) -> None:
    async def scenario() -> None:
        async with bench(test_engine, window=2) as b:
            urgent = Work(2, 1, 1, 5, "tiny", 0.0, 9e9)
            b.submitter.add(claim(1, [row(n, delay=0.02) for n in range(40)]))
            await b.until(lambda: len(b.items) >= 2)
            b.submitter.add(claim(2, [row(n) for n in range(40, 45)], urgent))
            await b.until(lambda: len([i for i in b.results() if i >= 40]) == 5)
            assert len(b.items) < 20

    asyncio.run(scenario())


def test_a_dropped_batch_submits_no_more_and_keeps_what_flies(test_engine: str) -> None:
    async def scenario() -> None:
        async with bench(test_engine, window=2) as b:
            b.submitter.add(claim(1, [row(n, delay=0.3) for n in range(6)]))
            await asyncio.sleep(0.05)
            b.submitter.drop({1})
            await b.until(lambda: len(b.items) == 3)
            assert sorted(b.results()) == [0, 1]
            assert b.items[-1] == GivenBack(ChunkLease(1, 1, 1))

    asyncio.run(scenario())


def test_a_lost_chunk_is_cut_off(test_engine: str) -> None:
    async def scenario() -> None:
        async with bench(test_engine) as b:
            b.submitter.add(claim(1, [row(n, delay=20) for n in range(4)]))
            b.submitter.add(claim(2, [row(9)]))
            await b.until(lambda: len(b.items) == 1)
            b.submitter.abort(ChunkLease(1, 1, 1))
            await b.until(lambda: not b.submitter.busy)
            assert list(b.results()) == [9]
            assert b.submitter.in_flight == 0

    asyncio.run(scenario())


def test_a_model_that_the_engine_calls_otherwise_is_renamed(test_engine: str) -> None:
    async def scenario() -> None:
        async with bench(test_engine, names={"public": "tiny"}) as b:
            public = Work(1, 1, 1, 0, "public", 0.0, 9e9)
            body = row(0, show_request=True).body.replace('"tiny"', '"public"')
            body = body.replace("{", '{"top_p": 1.10,', 1)
            renamed = Row(100, 0, "r0", "/v1/chat/completions", body, False, 0, 0)
            b.submitter.add(claim(1, [renamed], public))
            await b.until(lambda: b.items)
            assert b.results()[0].status_code == 200
            assert b.results()[0].provenance["rewritten"] == ["model"]
            # All else arrives as it was written.
            assert '"top_p": 1.10' in json.loads(b.results()[0].body)["received"]

    asyncio.run(scenario())
