# SPDX-License-Identifier: Apache-2.0
"""Adding and changing a model by form, and its buttons; all of it for staff alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from batchsite.accounts.models import AuditEvent, User
from jobs.engines import arguments
from jobs.models import ServedModel
from tests.conftest import MakeBatch
from tests.web import rows

pytestmark = pytest.mark.django_db
CONFIG = {
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "hidden_size": 576,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}


@pytest.fixture(autouse=True)
def own_cache(settings: Settings, tmp_path: Path) -> None:
    settings.BATCHSITE_CACHE = tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    (path / "model.safetensors").write_bytes(b"\0" * 1000)
    return str(path)


@pytest.fixture
def known_arguments() -> None:
    path = arguments._path()
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"flags": ["--max-model-len", "--seed", "--port"]}))


def a_model(**over: Any) -> ServedModel:
    return ServedModel.objects.create(**{"name": "tiny", "source": "org/tiny"} | over)


def test_a_model_is_added_by_id_with_all_that_belongs_to_it(
    client: Client, staff: User, known_arguments: None
) -> None:
    engine = rows.managed(loaded_model=a_model(name="other"))
    client.force_login(staff)
    assert client.get("/models/new/").status_code == 200

    r = client.post(
        "/models/new/",
        {
            "name": "qwen",
            "source": "Qwen/Qwen3-8B",
            "revision": "v2",
            "engine_args": "--max-model-len '4096'",
            "engines": [engine.pk],
            "request_timeout": 90,
        },
        follow=True,
    )

    model = ServedModel.objects.get(name="qwen")
    assert r.redirect_chain == [(f"/models/{model.pk}/", 302)]
    page = r.content.decode()
    assert "qwen can be used in batches." in page
    assert "the files are not here yet" in page
    assert (model.source, model.revision) == ("Qwen/Qwen3-8B", "v2")
    assert model.engine_args == ["--max-model-len", "4096"]
    assert list(model.engines.all()) == [engine]
    assert model.request_timeout == 90
    assert AuditEvent.objects.get(action="model.add").actor == staff


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"name": "tiny"}, "There is a model &#x27;tiny&#x27; already."),
        ({"source": "/no/such"}, "There is no folder /no/such."),
        ({"source": ""}, "This field is required."),
        ({"engine_args": "--port 8"}, "--port is set by Batchsite itself."),
        ({"engine_args": "'open"}, "This cannot be split"),
        ({"engine_args": "--seeds 1"}, "knows no --seeds. Did you mean --seed?"),
        ({"engine_args": "--seed 1 --xyz"}, "knows no --xyz."),
        ({"engines": ["99"]}, "Select a valid choice."),
        ({"request_timeout": "0"}, "greater than or equal to 1"),
        ({"name": "a\nb"}, "is no model name"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_made(
    client: Client,
    staff: User,
    known_arguments: None,
    over: dict[str, Any],
    words: str,
) -> None:
    a_model()
    client.force_login(staff)
    r = client.post("/models/new/", {"name": "new", "source": "org/new"} | over)
    page = r.content.decode()
    assert r.status_code == 200
    assert words in page
    assert "Nothing was made yet" in page
    assert ServedModel.objects.count() == 1


def test_unknown_arguments_can_be_kept(
    client: Client, staff: User, known_arguments: None
) -> None:
    client.force_login(staff)
    given = {"name": "n", "source": "org/n", "engine_args": "--xyz", "unchecked": "on"}
    client.post("/models/new/", given)
    assert ServedModel.objects.get().engine_args == ["--xyz"]


def test_without_an_engine_it_is_said_that_arguments_were_not_checked(
    client: Client, staff: User
) -> None:
    client.force_login(staff)
    given = {"name": "n", "source": "org/n", "engine_args": "--seed 1"}
    r = client.post("/models/new/", given, follow=True)
    assert "could not be checked: vLLM is not installed" in r.content.decode()
    assert ServedModel.objects.exists()


def test_a_look_estimates_memory_and_stores_nothing(
    client: Client, staff: User, folder: str
) -> None:
    rows.managed(
        gauges={"gpus": [{"name": "L4", "memory_total": 24_000_000_000}]},
        loaded_model=a_model(name="other"),
    )
    client.force_login(staff)
    given = {"name": "n", "source": folder, "look": "1"}
    page = client.post("/models/new/", given).content.decode()
    assert "needs about 1.7 GB of the 24 GB of gpu0" in page
    assert not ServedModel.objects.filter(name="n").exists()
    assert f'value="{folder}"' in page


def test_an_adapter_is_added_to_its_base(
    client: Client, staff: User, tmp_path: Path
) -> None:
    base = a_model()
    (tmp_path / "adapter_config.json").write_text('{"r": 16}')
    client.force_login(staff)
    given = {"name": "tuned", "source": str(tmp_path), "base": base.pk}
    client.post("/models/new/", given)
    assert ServedModel.objects.get(name="tuned").base == base
    page = client.post("/models/new/", given | {"name": "b", "revision": "x"})
    assert "An adapter has no engine arguments" in page.content.decode()


def test_a_change_keeps_the_name_and_says_when_it_takes_effect(
    client: Client, staff: User, known_arguments: None
) -> None:
    model = a_model(engine_args=["--seed", "1"], request_timeout=5)
    engine = rows.managed(loaded_model=a_model(name="other"))
    model.engines.set([engine])
    client.force_login(staff)
    path = f"/models/{model.pk}/change/"
    page = client.get(path).content.decode()
    assert "takes effect with the next load" in page
    assert "--seed 1</textarea>" in page
    assert 'name="name"' not in page

    r = client.post(
        path,
        {"name": "x", "source": "org/tiny", "engine_args": "--seed 2"},
        follow=True,
    )

    assert "tiny is changed." in r.content.decode()
    model.refresh_from_db()
    assert (model.name, model.engine_args) == ("tiny", ["--seed", "2"])
    assert model.request_timeout is None
    assert not model.engines.exists()
    changed = AuditEvent.objects.get(action="model.change").data["changed"]
    assert changed == ["arguments", "engines", "limit"]


@pytest.mark.parametrize(
    ("verb", "before", "after", "words"),
    [
        ("enable", "disabled", "enabled", "tiny can be used in batches again."),
        ("disable", "enabled", "disabled", "tiny is disabled: no new batch"),
        ("retry", "failed", "enabled", "tiny is tried again when a batch wants it."),
    ],
)
def test_the_buttons_change_the_state_once(
    client: Client, staff: User, verb: str, before: str, after: str, words: str
) -> None:
    model = a_model(state=before)
    path = f"/models/{model.pk}/"
    client.force_login(staff)
    assert f'action="{path}{verb}/"' in client.get(path).content.decode()
    r = client.post(f"{path}{verb}/", follow=True)
    assert words in r.content.decode()
    r = client.post(f"{path}{verb}/", follow=True)
    assert f"Nothing to change: tiny is {after}." in r.content.decode()
    assert ServedModel.objects.get().state == after
    assert AuditEvent.objects.filter(action=f"model.{verb}").count() == 1


def test_a_model_is_removed_unless_a_batch_needs_it(
    client: Client, staff: User, make_batch: MakeBatch
) -> None:
    model = a_model()
    batch = rows.running(make_batch)
    client.force_login(staff)
    path = f"/models/{model.pk}/remove/"
    r = client.post(path, follow=True)
    assert "A batch needs tiny" in r.content.decode()
    batch.delete()
    r = client.post(path, follow=True)
    assert r.redirect_chain == [("/models/", 302)]
    assert "tiny is removed." in r.content.decode()
    assert client.post(path).status_code == 404


def test_others_read_and_change_nothing(client: Client, owner: User) -> None:
    model = a_model()
    client.force_login(owner)
    verbs = ("change", "enable", "disable", "retry", "remove")
    for path in ("/models/new/", *(f"/models/{model.pk}/{verb}/" for verb in verbs)):
        r = client.post(path, {"name": "x", "source": "org/x"})
        assert r.status_code == 403
        assert "Only the administrators of this site" in r.content.decode()
        assert Client().post(path)["Location"] == f"/login/?next={path}"
    assert client.get("/models/new/").status_code == 403
    assert client.get(f"/models/{model.pk}/disable/").status_code == 405
    assert ServedModel.objects.get().state == "enabled"


def test_the_admin_has_the_same_actions_and_keeps_what_is_needed(
    client: Client, staff: User, make_batch: MakeBatch
) -> None:
    model = a_model()
    client.force_login(staff)
    chosen = {"_selected_action": [model.pk]}
    for action, after in (("disable", "disabled"), ("enable", "enabled")):
        r = client.post(
            "/admin/jobs/servedmodel/", chosen | {"action": action}, follow=True
        )
        assert f"{after.capitalize()}: tiny." in r.content.decode()
        assert ServedModel.objects.get().state == after
    rows.running(make_batch)
    delete = f"/admin/jobs/servedmodel/{model.pk}/delete/"
    assert client.get(delete).status_code == 403
