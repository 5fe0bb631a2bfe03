# SPDX-License-Identifier: Apache-2.0
"""LoRA adapters beside the model that a host's engine serves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from jobs.engines.adapters import BadAdapter, rank_of
from jobs.engines.supervisor import EngineHost
from jobs.models import Engine, ServedModel
from tests.engine_adapters import make_adapter
from tests.site import wait_for

from .test_supervisor import host as host
from .test_supervisor import model, until, want
from .test_supervisor import test_engine_is_the_engine as test_engine_is_the_engine

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


def adapter(
    name: str, base: ServedModel, source: Path | str, **over: Any
) -> ServedModel:
    return model(name, base=base, source=str(source), **over)


def serving(host: EngineHost, *names: str) -> Engine:
    """Step until the engine serves exactly these adapters."""

    def look() -> Engine | None:
        host._looked = 0
        host.step()
        engine = Engine.objects.get()
        ready = engine.state == Engine.State.READY
        return (
            engine
            if ready and sorted(engine.loaded_adapters) == sorted(names)
            else None
        )

    found = wait_for(look, what=f"adapters {names}")
    assert found is not None
    return found


def failed(host: EngineHost, one: ServedModel, *, timeout: float = 20) -> str:
    """Step until the model is given up; why."""

    def look() -> bool:
        host._looked = 0
        host.step()
        one.refresh_from_db()
        return one.state == ServedModel.State.FAILED

    wait_for(look, timeout=timeout, what=f"{one} to be given up")
    return one.state_reason


def test_one_start_serves_the_base_and_all_its_adapters(
    host: EngineHost, tmp_path: Path
) -> None:
    base = model("base")
    one = adapter("one", base, make_adapter(tmp_path / "one"), load_failures=1)
    adapter("two, too", base, make_adapter(tmp_path / "two", rank=40, delay=0.5))
    adapter("off", base, make_adapter(tmp_path / "off"), state="disabled")
    want(one)
    engine = until(host, "ready")
    assert (engine.generation, engine.loaded_model) == (1, base)
    assert engine.loaded_adapters == {
        "one": str(tmp_path / "one"),
        "two, too": str(tmp_path / "two"),
    }
    assert engine.served_names() == ["base", "one", "two, too"]
    serving(host, "one", "two, too")
    one.refresh_from_db()
    assert one.load_failures == 0


def test_an_adapter_that_comes_later_is_loaded_without_a_start(
    host: EngineHost, tmp_path: Path
) -> None:
    base = model("base", "--enable-lora")
    want(base)
    until(host, "ready")
    late = adapter("late", base, make_adapter(tmp_path / "late"))
    engine = serving(host, "late")
    # What is wanted is served, so that nothing is stopped for it.
    want(late)
    for _ in range(3):
        host._looked = 0
        host.step()
    assert (engine.generation, Engine.objects.get().state) == (1, "ready")


def test_an_adapter_without_room_is_served_by_a_start_that_wants_it(
    host: EngineHost, tmp_path: Path
) -> None:
    base = model("base")
    want(base)
    until(host, "ready")
    late = adapter("late", base, make_adapter(tmp_path / "late", rank=64))
    for _ in range(3):
        host._looked = 0
        host.step()
    assert Engine.objects.get().state == "ready"
    want(late)
    until(host, "loading")
    engine = serving(host, "late")
    assert (engine.generation, engine.loaded_model) == (2, base)


def test_a_changed_adapter_is_loaded_by_the_next_start(
    host: EngineHost, tmp_path: Path
) -> None:
    base = model("base")
    one = adapter("one", base, make_adapter(tmp_path / "one"))
    want(one)
    serving(host, "one")
    one.source = str(make_adapter(tmp_path / "newer"))
    one.save()
    until(host, "loading")
    engine = serving(host, "one")
    assert engine.loaded_adapters == {"one": str(tmp_path / "newer")}
    assert engine.generation == 2


def test_a_broken_adapter_is_given_up_and_the_base_serves(
    host: EngineHost, tmp_path: Path
) -> None:
    base = model("base", "--max-lora-rank", "8")
    good = adapter("good", base, make_adapter(tmp_path / "good"))
    large = adapter("large", base, make_adapter(tmp_path / "large", rank=64))
    gone = adapter("gone", base, make_adapter(tmp_path / "gone"))
    shutil.rmtree(tmp_path / "gone")
    want(gone)
    engine = until(host, "ready", timeout=30)
    assert "No adapter found" in failed(host, gone)
    assert "greater than max_lora_rank 8" in failed(host, large)
    assert list(engine.loaded_adapters) == ["good"]
    assert engine.generation == 1
    # Who mends it has it tried again, while the engine runs.
    make_adapter(tmp_path / "gone")
    gone.state, gone.load_failures = "enabled", 0
    gone.save()
    assert serving(host, "good", "gone").generation == 1
    good.refresh_from_db()
    assert good.state == "enabled"


def test_an_adapter_that_kills_the_engine_is_given_up_and_the_base_serves(
    host: EngineHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_pause", lambda seconds=0: 0.0)
    base = model("base")
    bad = adapter("bad", base, make_adapter(tmp_path / "bad", kill=True))
    adapter("good", base, make_adapter(tmp_path / "good"))
    want(bad)
    assert "was killed by SIGKILL" in failed(host, bad)
    engine = serving(host, "good")
    assert (engine.generation, engine.loaded_model) == (4, base)
    base.refresh_from_db()
    assert base.load_failures == 0


def test_an_adapter_that_kills_a_ready_engine_is_to_blame(
    host: EngineHost, tmp_path: Path
) -> None:
    base = model("base", "--enable-lora")
    want(base)
    until(host, "ready")
    killed = tmp_path / "killed"
    bad = adapter("bad", base, make_adapter(tmp_path / "bad", kill=str(killed)))
    until(host, "failed")
    host._looked = 0
    host.step()
    bad.refresh_from_db()
    assert bad.load_failures == 1
    assert serving(host, "bad").generation == 2


def test_a_base_that_takes_no_adapters_serves_without_them(
    host: EngineHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_pause", lambda seconds=0: 0.0)
    base = model("base", "--fail-lora", "no LoRA for this architecture")
    one = adapter("one", base, make_adapter(tmp_path / "one"))
    want(base)
    engine = until(host, "ready", timeout=30)
    assert (engine.generation, engine.loaded_adapters) == (3, {})
    why = failed(host, one)
    assert why.startswith("base loads only without adapters")
    assert "no LoRA for this architecture" in why


def test_a_stop_blames_no_adapter(host: EngineHost, tmp_path: Path) -> None:
    base, other = model("base"), model("other")
    slow = adapter("slow", base, make_adapter(tmp_path / "slow", delay=30))
    want(slow)

    def loading() -> bool:
        host._looked = 0
        host.step()
        return "loads the adapter slow" in Engine.objects.get().state_reason

    wait_for(loading)
    want(other)
    until(host, "ready")
    slow.refresh_from_db()
    assert (slow.state, slow.load_failures) == ("enabled", 0)


def test_a_disabled_base_is_not_loaded_for_its_adapter(
    host: EngineHost, tmp_path: Path
) -> None:
    base = model("base", state="disabled")
    want(adapter("one", base, make_adapter(tmp_path / "one")))

    def told() -> bool:
        host._looked = 0
        host.step()
        return "base is wanted, which cannot be loaded here: it is disabled" in (
            Engine.objects.get().state_reason
        )

    wait_for(told)


@pytest.mark.parametrize("reserved", [False, True])
def test_a_model_of_another_engine_is_never_loaded(
    host: EngineHost, reserved: bool
) -> None:
    wanted = model("tiny")
    Engine.objects.update(reserved=reserved)
    if not reserved:
        wanted.engines.add(Engine.objects.create(name="gpu1", kind="managed"))
    Engine.objects.filter(name="gpu0").update(wanted_model=wanted)
    why = "this engine is reserved" if reserved else "it is pinned to gpu1"

    def told() -> bool:
        host._looked = 0
        host.step()
        return why in Engine.objects.get(name="gpu0").state_reason

    wait_for(told)
    assert Engine.objects.get(name="gpu0").generation == 0
    wanted.engines.set([Engine.objects.get(name="gpu0")])

    def ready() -> bool:
        host._looked = 0
        host.step()
        return Engine.objects.get(name="gpu0").state == "ready"

    wait_for(ready)
    Engine.objects.exclude(name="gpu0").delete()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "has no adapter_config.json"),
        ("{", "names no rank"),
        ("[]", "names no rank"),
        ('{"r": null}', "takes ranks from 1 to 512"),
        ('{"r": 1024}', "takes ranks from 1 to 512"),
    ],
)
def test_what_is_no_adapter_is_said(
    tmp_path: Path, text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(BadAdapter, match=words):
        rank_of(tmp_path)


def test_the_largest_rank_of_an_adapter_counts(tmp_path: Path) -> None:
    config = {"r": 8, "rank_pattern": {"layers.0": 32}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    assert rank_of(tmp_path) == 32
