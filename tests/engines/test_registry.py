# SPDX-License-Identifier: Apache-2.0
"""`addmodel` and `addengine`, against a real engine process."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from jobs.models import Engine, EngineModel, ServedModel
from tests.engine_adapters import make_adapter
from tests.engine_process import engine_process
from tests.postgres import free_port
from tests.site import Site

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


def run(*arguments: str) -> str:
    """The command's output."""
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that looks like a model."""
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text("{}")
    return path


def test_addmodel_registers_a_folder_by_its_absolute_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    said = run(
        "addmodel", "tiny", "--source", "./model", "--engine-args", "--dtype 'half'"
    )
    assert "can be used in batches" in said
    model = ServedModel.objects.get()
    assert model.source == str(folder)
    assert model.engine_args == ["--dtype", "half"]
    assert model.state == "enabled"


def test_addmodel_takes_a_hugging_face_id_and_a_revision() -> None:
    run("addmodel", "tiny", "--source", "org/tiny-1B", "--revision", "main")
    model = ServedModel.objects.get()
    assert (model.source, model.revision) == ("org/tiny-1B", "main")


def test_addmodel_takes_an_engine_argument_that_stands_alone(site: Site) -> None:
    arguments = ["--engine-args", "--enforce-eager", "--source", "org/tiny"]
    site.run("addmodel", "tiny", *arguments)
    stored = site.query("SELECT engine_args FROM jobs_servedmodel")[0]["engine_args"]
    assert json.loads(stored) == ["--enforce-eager"]


def test_addmodel_again_changes_the_model_and_enables_a_failed_one() -> None:
    run("addmodel", "tiny", "--source", "org/tiny")
    ServedModel.objects.update(state="failed", load_failures=3, state_reason="why")
    said = run("addmodel", "tiny", "--source", "org/tiny-2")
    assert "was changed" in said
    model = ServedModel.objects.get()
    assert (model.source, model.state) == ("org/tiny-2", "enabled")
    assert (model.load_failures, model.state_reason) == (0, "")


def test_addmodel_gives_a_model_a_limit_of_its_own_and_takes_it_away() -> None:
    again = ("addmodel", "tiny", "--source", "org/tiny")
    said = run(*again, "--request-timeout", "1800")
    assert "A try may take 1,800 s." in said
    for arguments, expected in (((), 1800), (("--request-timeout", "0"), None)):
        run(*again, *arguments)
        assert ServedModel.objects.get().request_timeout == expected


def test_addmodel_leaves_a_disabled_model_disabled() -> None:
    run("addmodel", "tiny", "--source", "org/tiny")
    ServedModel.objects.update(state="disabled")
    assert "disabled" in run("addmodel", "tiny", "--source", "org/tiny")
    assert ServedModel.objects.get().state == "disabled"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny", "--source", "/no/such/folder"], "There is no folder"),
        (["tiny", "--source", "/usr"], "no config.json"),
        (["tiny", "--source", "a/b/c"], "neither a folder nor a Hugging Face id"),
        ([" tiny", "--source", "org/tiny"], "no model name"),
        (["x" * 201, "--source", "org/tiny"], "no model name"),
        (["tiny", "--source", "o/t", "--request-timeout", "-1"], "-1 s is no limit"),
        (["tiny", "--source", "o/t", "--request-timeout", "9999999999"], "no limit"),
        (["tiny", "--source", "o/t", "--engine-args", "--uds /x"], "--uds is set by"),
        (["t", "--source", "o/t", "--engine-args=--revision=x"], "Use --revision"),
        (["t", "--source", "o/t", "--engine-args", "'open"], "cannot be split"),
        (["t", "--source", "o/t", "--engine-args=--lora-modules a=b"], "with --base"),
        (["t", "--source", "o/t", "--base", "no"], "no model 'no' to be the base"),
        (["t", "--source", "o/t", "--engine", "gpu9"], "no managed engine 'gpu9'"),
    ],
)
def test_addmodel_refuses_in_words(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run("addmodel", *arguments)
    assert not ServedModel.objects.exists()


def test_addmodel_registers_an_adapter_of_a_model(tmp_path: Path) -> None:
    run("addmodel", "base", "--source", "org/base")
    folder = make_adapter(tmp_path / "tuned")
    said = run("addmodel", "tuned", "--source", str(folder), "--base", "base")
    assert said == f"Adapter tuned of base ({folder}) can be used in batches.\n"
    tuned = ServedModel.objects.get(name="tuned")
    assert (tuned.base, tuned.source) == (
        ServedModel.objects.get(name="base"),
        str(folder),
    )
    run("addmodel", "tuned", "--source", "org/tuned", "--base", "base")
    tuned.refresh_from_db()
    assert tuned.source == "org/tuned"


def test_addmodel_refuses_what_is_no_adapter(tmp_path: Path, folder: Path) -> None:
    Engine.objects.create(name="gpu0", kind="managed")
    run("addmodel", "base", "--source", "org/base")
    tuned = make_adapter(tmp_path / "tuned")
    base = ("--base", "base")
    for arguments, words in (
        (["--source", str(tuned)], "It is a LoRA adapter: name its model with --base"),
        (["--source", str(folder), *base], "no adapter folder"),
        (
            ["--source", str(make_adapter(tmp_path / "x", rank=0)), *base],
            "ranks from 1",
        ),
        (["--source", str(tuned), *base, "--engine", "gpu0"], "pin base instead"),
        (["--source", str(tuned), *base, "--revision", "v2"], "no revision"),
        (
            ["--source", str(tuned), *base, "--engine-args=--x"],
            "no engine arguments",
        ),
    ):
        with pytest.raises(CommandError, match=words):
            run("addmodel", "tuned", *arguments)
    assert ServedModel.objects.count() == 1


def test_addmodel_pins_a_model_and_lets_it_go() -> None:
    for name in ("gpu0", "gpu1", "gpu2"):
        Engine.objects.create(name=name, kind="managed")
    tiny = ("addmodel", "tiny", "--source", "org/tiny")
    said = run(*tiny, "--engine", "gpu1", "--engine", "gpu2")
    assert "Only gpu1 and gpu2 may load it." in said
    model = ServedModel.objects.get()

    def pins() -> list[str]:
        return list(model.engines.values_list("name", flat=True))

    assert "Only gpu1 and gpu2" in run(*tiny)
    assert pins() == ["gpu1", "gpu2"]
    run(*tiny, "--engine", "gpu0")
    assert pins() == ["gpu0"]
    assert "Only" not in run(*tiny, "--any-engine")
    assert pins() == []
    with pytest.raises(CommandError, match=r"Known: gpu0, gpu1, gpu2\."):
        run(*tiny, "--engine", "gpu9")


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_addengine_registers_what_the_server_lists(
    test_engine: str, suffix: str
) -> None:
    said = run("addengine", "lab", "--url", test_engine + suffix)
    assert "Engine lab was added. It serves: tiny." in said
    engine = Engine.objects.get()
    assert (engine.kind, engine.state) == ("external", "ready")
    assert (engine.base_url, engine.version) == (test_engine, "0.0.0+test")
    served = EngineModel.objects.get()
    assert (served.served_model.name, served.remote_name) == ("tiny", "tiny")
    assert served.served_model.state == "enabled"
    assert served.window == 64


def test_addengine_renames_and_sets_the_window() -> None:
    with engine_process("big", "small") as (url, _):
        said = run(
            "addengine", "lab", "--url", url, "--model", "a=big", "--window", "8"
        )
    assert "a (there: big)" in said
    served = dict(EngineModel.objects.values_list("served_model__name", "remote_name"))
    assert served == {"a": "big", "tiny": "tiny", "small": "small"}
    assert set(EngineModel.objects.values_list("window", flat=True)) == {8}


def test_addengine_again_brings_the_models_up_to_date(test_engine: str) -> None:
    run("addengine", "lab", "--url", test_engine)
    ServedModel.objects.update(state="failed", load_failures=3)
    run("addengine", "lab", "--url", test_engine)
    assert EngineModel.objects.count() == Engine.objects.count() == 1
    assert ServedModel.objects.get().state == "enabled"
    said = run("addengine", "lab", "--url", test_engine, "--model", "mine=tiny")
    assert "is up to date" in said
    assert "It serves no more: tiny." in said
    assert [m.served_model.name for m in EngineModel.objects.all()] == ["mine"]


def test_addengine_shares_a_model_with_another_engine(test_engine: str) -> None:
    ServedModel.objects.create(name="tiny", source="org/tiny", state="disabled")
    said = run("addengine", "lab", "--url", test_engine)
    assert "Disabled in the admin, so not usable: tiny." in said
    model = ServedModel.objects.get()
    assert (model.source, model.state) == ("org/tiny", "disabled")


def test_addengine_sends_the_key_of_the_named_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAB_KEY", "secret-1")
    with engine_process("--api-key", "secret-1") as (url, _):
        with pytest.raises(CommandError, match=r"refuses the API key.*--api-key-env"):
            run("addengine", "lab", "--url", url)
        run("addengine", "lab", "--url", url, "--api-key-env", "LAB_KEY")
    engine = Engine.objects.get()
    assert engine.api_key_env == "LAB_KEY"
    assert "secret-1" not in str(vars(engine))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--url", "ftp://x"], "no http or https address"),
        (["--url", "http://127.0.0.1:9/?key=1"], "must be plain"),
        (["--url", "{url}", "--window", "0"], "--window must be at least 1"),
        (["--url", "{url}", "--api-key-env", "UNSET_KEY"], "UNSET_KEY is not set"),
        (["--url", "{url}", "--model", "a=b"], "serves no 'b'. It serves: tiny."),
        (["--url", "{url}", "--model", "a"], "takes PUBLIC=REMOTE"),
        (["--url", "{url}", "--model", "a=tiny", "--model", "a=tiny"], "'a' twice"),
        (["--url", "{url}/health"], "status 404"),
    ],
)
def test_addengine_refuses_in_words(
    test_engine: str, arguments: list[str], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        run("addengine", "lab", *(a.replace("{url}", test_engine) for a in arguments))
    assert not Engine.objects.exists()
    assert not ServedModel.objects.exists()


def test_addengine_says_that_nobody_listens() -> None:
    with pytest.raises(CommandError, match="cannot be reached"):
        run("addengine", "lab", "--url", f"http://127.0.0.1:{free_port()}")


def test_addengine_refuses_a_name_that_is_taken(test_engine: str) -> None:
    Engine.objects.create(name="gpu0", kind="managed")
    with pytest.raises(CommandError, match="name of a managed engine"):
        run("addengine", "gpu0", "--url", test_engine)
    with pytest.raises(CommandError, match="no engine name"):
        run("addengine", "a b", "--url", test_engine)
    with (
        engine_process("big") as (url, _),
        pytest.raises(CommandError, match="'big' is the name of another model"),
    ):
        run("addengine", "lab", "--url", url, "--model", "big=tiny")
