# SPDX-License-Identifier: Apache-2.0
"""Adding, changing, enabling, disabling, retrying and removing models, each audited."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from pytest_django import Settings

from batchsite.accounts.models import AuditEvent, User
from batchsite.web.audit_lines import words
from jobs import catalogue
from jobs.engines import arguments
from jobs.engines.registry import CannotRegister
from jobs.models import Engine, EngineModel, ServedModel
from jobs.refusals import Refused
from tests.conftest import MakeBatch
from tests.jobs.rows import running_batch
from tests.web import rows

pytestmark = pytest.mark.django_db
State = ServedModel.State


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A model's folder."""
    (tmp_path / "config.json").write_text("{}")
    return str(tmp_path)


def audited() -> list[tuple[str, str]]:
    events = AuditEvent.objects.filter(action__startswith="model.").order_by("pk")
    return [(event.action, event.target) for event in events]


def a_model(**over: Any) -> ServedModel:
    return ServedModel.objects.create(**{"name": "tiny", "source": "/m"} | over)


def test_adding_and_changing_leave_lines_that_say_what_changed(
    folder: str, staff: User
) -> None:
    rows.managed("gpu0", loaded_model=a_model(name="other"))
    put: dict[str, Any] = {"name": "qwen", "source": folder, "user": staff}
    model, created = catalogue.put(**put, engines=["gpu0"])
    assert created
    catalogue.put(**put)
    assert audited() == [("model.add", "qwen")]
    catalogue.put(**put, engine_args=["--seed", "1"], engines=[])
    event = AuditEvent.objects.get(action="model.change")
    assert event.data["changed"] == ["arguments", "engines"]
    assert event.data["before"] == {"arguments": [], "engines": ["gpu0"]}
    assert event.data["after"] == {"arguments": ["--seed", "1"], "engines": []}
    assert words(event) == "changed the model qwen: arguments, engines"
    assert not model.engines.exists()


def test_a_new_model_does_not_change_one_of_the_same_name(folder: str) -> None:
    a_model(source="/elsewhere")
    with pytest.raises(Refused, match="There is a model 'tiny' already"):
        catalogue.put(name="tiny", source=folder, new=True)
    assert ServedModel.objects.get().source == "/elsewhere"
    with pytest.raises(CannotRegister):
        catalogue.put(name="none", source="/no/such/folder", new=True)
    assert audited() == []


@pytest.mark.parametrize(
    ("do", "old", "new"),
    [
        (catalogue.enable, State.DISABLED, State.ENABLED),
        (catalogue.disable, State.ENABLED, State.DISABLED),
        (catalogue.disable, State.FAILED, State.DISABLED),
        (catalogue.retry, State.FAILED, State.ENABLED),
    ],
)
def test_states_move_once_and_only_from_where_they_may(
    do: Callable[..., bool], old: str, new: str, staff: User
) -> None:
    model = a_model(state=old, state_reason="no room", load_failures=3)
    assert do(model=model, user=staff)
    assert not do(model=model, user=staff)
    model.refresh_from_db()
    assert (model.state, model.state_reason, model.load_failures) == (new, "", 0)
    assert len(audited()) == 1
    # A failed model is retried, which says that somebody mended it.
    assert not catalogue.enable(model=a_model(name="b", state=State.FAILED))


def test_a_model_is_removed_with_what_belongs_to_it(staff: User) -> None:
    model = a_model()
    catalogue.remove(model=model, user=staff)
    assert not ServedModel.objects.exists()
    assert audited() == [("model.remove", "tiny")]


def test_a_model_in_use_is_kept_and_says_why(make_batch: MakeBatch) -> None:
    engine = rows.managed()
    model = ServedModel.objects.get()

    def refused(why: str) -> None:
        with pytest.raises(Refused, match=re.escape(why)):
            catalogue.remove(model=model)

    refused("tiny is loaded, or about to be, on gpu0: drain the engine")
    Engine.objects.update(state="loading", loaded_model=None, wanted_model=model)
    refused("tiny is loaded, or about to be, on gpu0")
    # A wish that is left over holds nothing.
    Engine.objects.update(state="stopped")
    assert catalogue.why_kept(model) == ""
    engine.delete()
    adapter = a_model(name="tuned", base=model)
    refused("tiny is the base of tuned: remove")
    base_engine = rows.managed(loaded_adapters={"tuned": "/m"}, loaded_model=model)
    with pytest.raises(Refused, match="tuned is loaded, or about to be, on gpu0"):
        catalogue.remove(model=adapter)
    base_engine.delete()
    adapter.delete()
    ext = rows.managed("ext", kind="external", base_url="http://x", loaded_model=None)
    EngineModel.objects.create(engine=ext, served_model=model, remote_name="t")
    refused("tiny is served by ext")
    running = running_batch(make_batch)
    refused("A batch needs tiny: wait for the end, or cancel first.")
    running_batch(make_batch)
    refused("2 batches need tiny")
    assert running.model == "tiny"
    assert audited() == []


def test_open_work_of_a_batch_of_several_models_keeps_a_model(
    make_batch: MakeBatch,
) -> None:
    model = a_model()
    batch = running_batch(make_batch, allow_mixed_models=True)
    batch.model = ""
    batch.save(update_fields=["model"])
    assert "A batch needs tiny" in catalogue.why_kept(model)
    batch.chunks.update(state="done")
    assert catalogue.why_kept(model) == ""


def test_the_command_does_the_same_and_names_unknown_arguments(
    folder: str, settings: Settings, tmp_path: Path
) -> None:
    settings.BATCHSITE_CACHE = tmp_path / "cache"
    out = StringIO()
    call_command(
        "addmodel",
        "tiny",
        source=folder,
        engine_args="--max-model-length 9",
        stdout=out,
    )
    assert audited() == [("model.add", "tiny")]
    assert "The engine arguments could not be checked" in out.getvalue()
    path = arguments._path()
    path.parent.mkdir()
    path.write_text('{"flags": ["--max-model-len"]}')
    call_command(
        "addmodel",
        "tiny",
        source=folder,
        engine_args="--max-model-length 9",
        stdout=out,
    )
    assert (
        "knows no --max-model-length. Did you mean --max-model-len?" in out.getvalue()
    )


def test_queued_counts_what_is_left_by_model(make_batch: MakeBatch) -> None:
    running_batch(make_batch, chunks=(3, 4))
    running_batch(make_batch, model="other")
    assert catalogue.queued() == {"tiny": (1, 7), "other": (1, 3)}
