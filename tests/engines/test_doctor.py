# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from batchsite.accounts.models import Installation
from jobs.engines import gpus
from jobs.models import Engine, ServedModel
from tests.nvml import FakeGpu, FakeNvml
from tests.site import Site

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def complete(settings: Settings, tmp_path: Path, data_folder: Path) -> None:
    """A site that has all it needs, with the test engine."""
    data_folder.mkdir()
    settings.BATCHSITE_CACHE = str(tmp_path / "cache")
    settings.BATCHSITE_ENGINE_PYTHON = sys.executable
    settings.BATCHSITE_ENGINE_MODULE = "tests.engine_server"


def doctor() -> tuple[bool, dict[str, dict[str, Any]]]:
    """Whether all is well by its exit code and by its report, and its findings."""
    out = StringIO()
    try:
        call_command("doctor", "--json", stdout=out)
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    report = json.loads(out.getvalue())
    assert report["ok"] == (code == 0)
    return code == 0, {finding["name"]: finding for finding in report["findings"]}


def test_complete_site_is_well() -> None:
    ServedModel.objects.create(name="tiny", source="org/tiny")
    Engine.objects.create(name="gpu0", kind="managed")
    well, found = doctor()
    assert well
    assert found["Migrations"]["text"] == "all applied"
    assert found["Models"]["text"] == "tiny"
    assert found["Engines"]["text"] == "gpu0 (managed, stopped)"
    assert found["Secret key"]["ok"]


def test_things_that_are_only_useful_do_not_fail_it() -> None:
    well, found = doctor()
    assert well
    assert not found["Bundled model"]["ok"]
    assert "installengine" in found["Bundled model"]["mend"]
    assert "addmodel" in found["Models"]["mend"]


def test_missing_engine_fails_it_with_the_command(settings: Settings) -> None:
    settings.BATCHSITE_ENGINE_PYTHON = ""
    well, found = doctor()
    assert not well
    assert found["Engine environment"]["mend"] == "manage.py installengine"
    assert "Engine" not in found
    settings.BATCHSITE_ENGINE_PYTHON = "/no/such/python"
    assert "BATCHSITE_ENGINE_PYTHON" in doctor()[1]["Engine environment"]["mend"]


def test_interpreter_without_vllm_fails_it(settings: Settings) -> None:
    settings.BATCHSITE_ENGINE_MODULE = "vllm.entrypoints.openai.api_server"
    well, found = doctor()
    assert not well
    assert found["Engine"]["text"] == "vLLM is not in there"


def test_waiting_migration_fails_it(site: Site) -> None:
    def migrations() -> dict[str, Any]:
        report = json.loads(site.run("doctor", "--json", check=False).stdout)
        found = {finding["name"]: finding for finding in report["findings"]}
        return {**found["Migrations"], "well": report["ok"]}

    assert migrations()["ok"]
    site.query("DELETE FROM django_migrations WHERE app = 'jobs'")
    found = migrations()
    assert not found["ok"]
    assert not found["well"]
    assert found["mend"] == "manage.py migrate"


def test_database_of_another_key_fails_it() -> None:
    Installation.objects.update_or_create(pk=1, defaults={"key_fingerprint": "other"})
    well, found = doctor()
    assert not well
    assert "adoptsecretkey" in found["Secret key"]["mend"]


def test_gpus_are_named_and_decide_where_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpus, "pynvml", FakeNvml([FakeGpu(), FakeGpu()]))
    found = doctor()[1]
    assert found["GPU"]["text"] == "NVIDIA L4 (24 GB), NVIDIA L4 (24 GB)"
    assert "would run on the GPU" in found["Engine"]["text"]


def test_report_for_people_shows_how_to_mend(settings: Settings) -> None:
    settings.BATCHSITE_ENGINE_PYTHON = ""
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("doctor", stdout=out)
    assert "MISSING  Engine environment: vllm" in out.getvalue()
    assert "-> manage.py installengine" in out.getvalue()
    assert "1 needed thing(s) missing." in out.getvalue()


def test_engines_that_share_a_gpu_are_named() -> None:
    now = timezone.now()
    for name, uuids in (("gpu0", "ab"), ("gpu1", "bc"), ("gpu2", "c"), ("gpu3", "d")):
        gpus = [{"uuid": f"GPU-{u}", "index": ord(u) - ord("a")} for u in uuids]
        Engine.objects.create(
            name=name, kind="managed", host_heartbeat=now, gauges={"gpus": gpus}
        )
    # One whose host is gone uses nothing any more.
    Engine.objects.filter(name="gpu2").update(host_heartbeat=now - timedelta(minutes=1))
    well, found = doctor()
    assert well
    text = "GPU 1 is also used by the engine {}; together they may need more memory"
    assert found["GPUs of gpu0"]["text"].startswith(text.format("gpu1"))
    assert found["GPUs of gpu1"]["text"].startswith(text.format("gpu0"))
    assert "runengine --name gpu1 --gpus" in found["GPUs of gpu1"]["mend"]
    assert not {"GPUs of gpu2", "GPUs of gpu3"} & found.keys()
