# SPDX-License-Identifier: Apache-2.0
"""Models that belong to engines, and adapters that belong to models."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from jobs import engine_side, standing
from jobs.models import Engine, ServedModel
from jobs.scheduling import Work, as_loaded
from jobs.turns import Turns
from tests.conftest import MakeBatch

from .rows import running_batch

pytestmark = pytest.mark.django_db


def engine(name: str = "gpu0", **over: Any) -> Engine:
    """A living managed engine; ready when something is loaded."""
    loaded = over.get("loaded_model")
    columns: dict[str, Any] = {
        "kind": "managed",
        "state": "ready" if loaded else "stopped",
        "socket_path": "/run/x.sock" if loaded else "",
        "worker_heartbeat": timezone.now(),
        "host_heartbeat": timezone.now(),
    }
    return Engine.objects.create(name=name, **(columns | over))


def model(name: str, *pins: Engine, **over: Any) -> ServedModel:
    made = ServedModel.objects.create(name=name, **({"source": f"/m/{name}"} | over))
    made.engines.set(pins)
    return made


def names(found: Any) -> list[str]:
    return sorted(one.name for one in found)


def next_models(of: Engine) -> tuple[list[str], str | None]:
    """What the engine would claim now, and what it would rather load."""
    of = Engine.objects.select_related("loaded_model", "wanted_model").get(pk=of.pk)
    seen = engine_side.survey(of)
    now = [work.model for work in seen.waiting if work.model in seen.served]
    wanted = engine_side.model_to_load(of, seen, [], Turns())
    return now, wanted.name if wanted else None


def blocked(make_batch: MakeBatch, name: str) -> str | None:
    batch = running_batch(make_batch, model=name)
    return standing.take_look().by_pk[batch.pk].blocked_reason


def test_a_pinned_model_is_loaded_by_its_engines_alone() -> None:
    first, second, reserved = (
        engine("gpu0"),
        engine("gpu1"),
        engine("gpu2", reserved=True),
    )
    model("free")
    pinned = model("pinned", second, reserved)
    model("adapter", base=pinned)
    placed = ServedModel.objects.placed_on
    assert names(placed(first)) == ["free"]
    assert names(placed(second)) == ["adapter", "free", "pinned"]
    assert names(placed(reserved)) == ["adapter", "pinned"]


def test_an_engine_looks_for_work_of_its_own_models(
    make_batch: MakeBatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    first, second = engine("gpu0"), engine("gpu1", reserved=True)
    model("small")
    model("large", second)
    for name in ("small", "large"):
        running_batch(make_batch, model=name)
    assert next_models(first) == ([], "small")
    assert next_models(second) == ([], "large")
    assert engine_side.has_work(first)
    # The models and the work, which are read at every claim, and what other engines
    # hold, where there is a choice.
    with django_assert_num_queries(4):
        engine_side.survey(first)


def test_a_model_that_is_pinned_elsewhere_meanwhile_is_left_to_its_engine(
    make_batch: MakeBatch,
) -> None:
    tiny = model("tiny")
    first, second = engine("gpu0", loaded_model=tiny), engine("gpu1")
    running_batch(make_batch, model="tiny")
    assert next_models(first) == (["tiny"], None)
    tiny.engines.set([second])
    assert next_models(first) == ([], None)
    assert next_models(second) == ([], "tiny")
    Engine.objects.filter(pk=first.pk).update(
        wanted_model=tiny, loaded_model=None, state="stopped"
    )
    first.refresh_from_db()
    assert not engine_side.is_swapping(first, engine_side.survey(first))


def test_work_of_a_loaded_adapter_needs_no_swap(make_batch: MakeBatch) -> None:
    base = model("base")
    tuned = model("tuned", base=base)
    gpu0 = engine(loaded_model=base, loaded_adapters={"tuned": "/m/tuned"})
    running_batch(make_batch, model="tuned")
    assert next_models(gpu0) == (["tuned"], None)
    # Another model waits as long as for work of the base itself.
    model("other")
    running_batch(make_batch, model="other", priority=9)
    assert next_models(gpu0) == (["tuned"], None)
    Engine.objects.update(wanted_model=tuned)
    gpu0.refresh_from_db()
    assert not engine_side.is_swapping(gpu0, engine_side.survey(gpu0))


@pytest.mark.parametrize("loaded", [{}, {"tuned": "/m/older"}])
def test_an_adapter_that_is_not_loaded_is_wanted(
    make_batch: MakeBatch, loaded: dict[str, str]
) -> None:
    base = model("base")
    model("tuned", base=base)
    gpu0 = engine(loaded_model=base, loaded_adapters=loaded)
    running_batch(make_batch, model="tuned")
    assert next_models(gpu0) == ([], "tuned")
    base.state = "disabled"
    base.save()
    assert next_models(gpu0) == ([], None)


def test_the_source_of_an_adapter_is_part_of_what_answers_came_from() -> None:
    base = model("base")
    gpu0 = engine(loaded_model=base, loaded_adapters={"tuned": "/m/tuned"})
    target = engine_side.target_of(gpu0)
    assert target is not None
    assert target.adapters == {"tuned": "/m/tuned"}


def test_work_of_what_is_served_counts_as_the_loaded_models() -> None:
    one, two = (
        Work(n, 1, 1, 0, name, time.time(), time.time() + 9)
        for n, name in enumerate(("tuned", "other"))
    )
    found = as_loaded([one, two], served={"base", "tuned"}, loaded="base")
    assert {work.model for work in found} == {"base", "other"}


# --- in words


def test_a_pinned_model_says_which_engine_it_waits_for(make_batch: MakeBatch) -> None:
    engine("gpu0")
    mine = engine("gpu1", paused=True)
    base = model("large", mine)
    model("tuned", base=base)
    words = "the model {} needs the engine gpu1, which is paused"
    assert blocked(make_batch, "large") == words.format("large")
    assert blocked(make_batch, "tuned") == words.format("tuned")
    Engine.objects.filter(pk=mine.pk).update(worker_heartbeat=None)
    assert blocked(make_batch, "large") == (
        "the model large needs the engine gpu1: no worker is running for the engine gpu1"
    )
    base.engines.add(engine("gpu2", paused=True))
    assert str(blocked(make_batch, "large")).startswith(
        "the model large needs the engine gpu1 or gpu2: "
    )
    ready = {"loaded_model": base, "socket_path": "/run/x", "state": "ready"}
    Engine.objects.filter(name="gpu2").update(paused=False, **ready)
    assert blocked(make_batch, "large") is None


def test_a_model_for_which_no_engine_is_left_says_so(make_batch: MakeBatch) -> None:
    engine("gpu0", reserved=True)
    model("small")
    assert str(blocked(make_batch, "small")).startswith(
        "all engines are reserved for other models than small: pin it"
    )
    engine("gpu1", loaded_model=model("other"))
    assert blocked(make_batch, "small") is None


def test_an_adapter_says_what_its_base_lacks(make_batch: MakeBatch) -> None:
    engine()
    base = model("base", state="disabled")
    model("tuned", base=base)
    words = "the model tuned needs its base model base, which"
    assert blocked(make_batch, "tuned") == f"{words} is disabled"
    ServedModel.objects.filter(pk=base.pk).update(
        state="failed", state_reason="no room"
    )
    assert blocked(make_batch, "tuned") == f"{words} does not load: no room"
    # Batches cannot name it either.
    assert names(ServedModel.objects.enabled()) == []
    assert names(ServedModel.objects.loadable()) == []


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"engine_args": ["--x"]}, "no engine arguments"),
        ({"revision": "main"}, "no revision"),
    ],
)
def test_an_adapter_has_nothing_of_its_own(over: dict[str, Any], words: str) -> None:
    tuned = model("tuned", base=model("base"), **over)
    with pytest.raises(ValidationError, match=words):
        tuned.clean()


def test_adapters_hang_on_models_alone() -> None:
    base = model("base")
    tuned = model("tuned", base=base)
    tuned.clean()
    with pytest.raises(ValidationError, match="tuned cannot be a base"):
        model("more", base=tuned).clean()
    base.base = model("other")
    with pytest.raises(ValidationError, match="base has adapters"):
        base.clean()
    with pytest.raises(ValidationError, match="external engines only"):
        model("third", base=model("elsewhere", source="")).clean()
