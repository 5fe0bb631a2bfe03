# SPDX-License-Identifier: Apache-2.0
"""What measurements say of a model's speed: simulated histories, and which of them count."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs.models import Engine, Measurement, ServedModel
from jobs.speeds import Taken, choose, fit, speed_from, speed_of

from .rows import external_engine


def taken(**over: Any) -> Taken:
    """A minute of 60 requests, 8 at once, of 100 prompt and 50 output tokens."""
    columns: dict[str, Any] = {
        "rows": 60,
        "fresh": 6000,
        "cached": 0,
        "output": 3000,
        "seconds": 60.0,
        "latency": 8.0,
        "concurrency": 8.0,
        "weight": 1.0,
        "hardware": "1 x NVIDIA L4",
        "window": 8,
    }
    return Taken(**(columns | over))


def simulated(
    chance: random.Random, *, prompt: float, output: float, noise: float, count: int
) -> list[Taken]:
    """Hours of work in which a prompt token costs `prompt` seconds, and so on."""
    found = []
    for _ in range(count):
        rows = chance.randrange(50, 5000)
        fresh = rows * chance.uniform(50, 3000)
        made = rows * chance.uniform(20, 400)
        seconds = (fresh * prompt + made * output) * chance.lognormvariate(0, noise)
        found.append(taken(rows=rows, fresh=fresh, output=made, seconds=seconds))
    return found


def test_prompts_and_answers_are_told_apart_where_mixtures_vary() -> None:
    chance = random.Random(1)
    found = simulated(chance, prompt=0.0002, output=0.004, noise=0.05, count=40)
    a, b = fit(found)
    assert (a, b) == pytest.approx((0.0002, 0.004), rel=0.15)
    speed = speed_from(found, model="tiny")
    # Another mixture than any before: long prompts and answers of a word.
    truth = 1_000_000 * 0.0002 + 2000 * 0.004
    assert speed.seconds(1000, 1_000_000, 2000) == pytest.approx(truth, rel=0.15)
    assert "told apart" in speed.basis


def test_ranges_of_a_simulated_history_hold_the_truth_about_as_often_as_it_varies() -> (
    None
):
    chance = random.Random(2)
    errors, held = [], 0
    for _ in range(60):
        past = simulated(chance, prompt=0.0001, output=0.003, noise=0.2, count=30)
        (coming,) = simulated(chance, prompt=0.0001, output=0.003, noise=0.2, count=1)
        speed = speed_from(past, model="tiny")
        middle = speed.seconds(coming.rows, coming.fresh, coming.output)
        errors.append(abs(middle - coming.seconds) / coming.seconds)
        held += middle / speed.fast <= coming.seconds <= middle / speed.slow
    assert statistics.median(errors) < 0.2
    # The slow and the fast fifth lie outside.
    assert 25 <= held <= 50


@pytest.mark.parametrize(
    "history",
    [
        [taken()] * 5,
        [taken()] * 50,
        # answers of the same length, and seconds that prompts do not explain
        [taken(fresh=n * 1000, output=3000) for n in range(1, 30)],
        # longer prompts, less time
        [taken(fresh=n * 1000, seconds=60 - n, output=3000 + n) for n in range(1, 30)],
    ],
    ids=["few", "alike", "no gain", "negative"],
)
def test_else_output_tokens_tell(history: list[Taken]) -> None:
    assert fit(history) == (0.0, 0.0)
    speed = speed_from(history, model="tiny")
    output = sum(one.output for one in history)
    assert speed.tokens == pytest.approx(output / sum(one.seconds for one in history))
    assert speed.seconds(6000, 10**6, 300_000) == pytest.approx(300_000 / speed.tokens)


def test_without_tokens_requests_tell() -> None:
    speed = speed_from([taken(output=0)], model="tiny")
    assert speed.seconds(120, 10**6, 0) == pytest.approx(120)


def test_a_large_measurement_outweighs_a_newer_small_one() -> None:
    large = taken(rows=5000, output=250_000, seconds=5000.0)
    small = taken(rows=10, output=500, seconds=1.0)
    assert speed_from([small, large], model="tiny").tokens == pytest.approx(
        50, rel=0.01
    )


def test_old_measurements_weigh_less() -> None:
    old = taken(rows=1000, output=10_000, seconds=1000.0, weight=0.01)
    new = taken(rows=1000, output=50_000, seconds=1000.0)
    assert speed_from([new, old], model="tiny").tokens > 49


def test_few_rows_end_no_sooner_than_one_answer() -> None:
    speed = speed_from([taken()], model="tiny")
    # One row of usual length takes its 8 s, and one of half the length half of that.
    assert speed.seconds(1, 100, 50) == pytest.approx(8)
    assert speed.seconds(1, 100, 25) == pytest.approx(4)
    assert speed.seconds(600, 60_000, 30_000) == pytest.approx(600)
    assert speed.seconds(0, 0, 0) == 0


def test_little_that_was_measured_makes_a_wide_range() -> None:
    few = speed_from([taken(rows=9, output=450)], model="tiny")
    many = speed_from([taken(rows=900)], model="tiny")
    assert (few.slow, few.fast) == pytest.approx((2 / 3, 4 / 3))
    assert (many.slow, many.fast) == pytest.approx((0.9, 1.1))


def test_the_present_set_up_comes_first_and_others_help_out() -> None:
    now = taken(rows=100)
    lonely = taken(rows=100, concurrency=1.0)
    other_args = taken(rows=100, is_current=False)
    other_hardware = taken(rows=100, is_current=False, hardware="CPU")
    found = [other_hardware, other_args, lonely, now]
    assert choose(found) == ([now], "")
    assert choose(found, rows=1) == ([lonely], "")
    few = replace(now, rows=10)
    assert choose([lonely, few]) == (
        [lonely, few],
        "with more or fewer requests at once",
    )
    assert choose([other_args, few])[1] == "with other engine arguments"
    assert choose([other_hardware, few])[1] == "on other hardware"
    # Ten requests are not much, and there is nothing else.
    assert choose([few]) == ([few], "")
    assert "some of them on other hardware" in (
        speed_from([other_hardware, few], model="tiny").basis
    )


def test_of_two_kinds_of_hardware_the_busier_one_tells() -> None:
    cpu = taken(rows=100, hardware="CPU", seconds=500.0)
    assert choose([taken(rows=100), cpu]) == ([cpu], "")


@pytest.mark.django_db
def test_rows_of_the_database_are_current_while_the_engine_is_as_it_was() -> None:
    model = ServedModel.objects.create(name="tiny", engine_args=["--a", "b"])
    assert speed_of("tiny") is speed_of("other") is None
    gpu = Engine.objects.create(
        name="gpu0", kind="managed", gauges={"hardware": "1 x L4", "gpus": [{}]}
    )
    common = {"served_model": model, "input_tokens": 200, "cached_tokens": 50}
    Measurement.objects.create(
        engine=gpu, hardware="1 x L4", engine_args="--a b", rows=200,
        output_tokens=2000, seconds=100.0, **common,
    )  # fmt: skip
    Measurement.objects.create(
        engine=gpu, hardware="1 x L4", engine_args="--old", rows=200,
        output_tokens=9000, seconds=100.0, **common,
    )  # fmt: skip
    ext = external_engine()
    Measurement.objects.create(
        engine=ext, hardware="the server ext", rows=200, output_tokens=200,
        seconds=50.0, created_at=timezone.now() - timedelta(days=14), **common,
    )  # fmt: skip
    speed = speed_of("tiny")
    assert speed is not None
    assert (speed.tokens, speed.gpus) == pytest.approx((20, 1))
    assert speed.cached == pytest.approx(0.25)
    assert speed.basis.startswith("Time: 200 measured requests of tiny on 1 x L4,")
    # The arguments change: nothing is as it was but the server elsewhere.
    ServedModel.objects.filter(pk=model.pk).update(engine_args=["--new"])
    speed = speed_of("tiny")
    assert speed is not None
    assert speed.tokens == pytest.approx(4)
