# SPDX-License-Identifier: Apache-2.0
"""`runengine` with the real vLLM and the bundled model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

import pytest

from jobs import processes
from jobs.engines import install
from jobs.engines.client import Answer, EngineClient
from tests.site import Site, wait_for

pytestmark = pytest.mark.vllm
# Bounded, so that a small model comes to an end on whatever processor.
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
REAL = {
    "BATCHSITE_ENGINE_PYTHON": "",
    "BATCHSITE_ENGINE_MODULE": "vllm.entrypoints.openai.api_server",
}


def ready(site: Site, *, generation: int) -> dict[str, Any]:
    """Wait until vLLM serves; its row."""

    def look() -> dict[str, Any]:
        row = site.engine("gpu0")
        log = site.folder / "logs" / "gpu0.log"
        assert row["state"] != "failed" or generation > row["generation"], (
            row["state_reason"] + log.read_text()[-3000:]
        )
        ready = row["state"] == "ready" and row["generation"] == generation
        return row if ready else {}

    return wait_for(look, timeout=300, what=f"ready {generation}")


def ask(row: dict[str, Any], **body: Any) -> Answer:
    """One chat completion over the engine's socket."""

    async def post() -> Answer:
        async with EngineClient(socket_path=row["socket_path"]) as client:
            return await client.post(
                "/v1/chat/completions",
                json.dumps({"model": install.MODEL_NAME, **body}).encode(),
                timeout=120,
            )

    return asyncio.run(post())


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def session_on_record(site: Site) -> int:
    """The session of the present start."""
    return int(site.engine_record("gpu0")["session"])


def test_real_vllm_starts_answers_is_restarted_and_leaves_nothing(site: Site) -> None:
    assert install.is_installed(), "run 'manage.py installengine' first"
    site.run("addmodel", install.MODEL_NAME, "--source", str(install.model_folder()))
    host = site.start(
        "runengine", "--name", "gpu0", "--model", install.MODEL_NAME, **REAL
    )
    wait_for(lambda: site.engine("gpu0").get("state") == "loading", timeout=30)
    wait_for(lambda: "loading" in site.engine("gpu0")["state_reason"], timeout=30)
    row = ready(site, generation=1)
    assert row["version"].startswith("0.")

    # A plain answer, a schema that is kept to, and errors with vLLM's own words.
    answer = ask(row, messages=say("Say hello."), max_tokens=16, temperature=0)
    assert answer.status == 200
    assert answer.json()["choices"][0]["message"]["content"].strip()
    answer = ask(
        row,
        messages=say("Invent a person."),
        max_tokens=80,
        temperature=0,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "person", "schema": PERSON, "strict": True},
        },
    )
    assert set(json.loads(answer.json()["choices"][0]["message"]["content"])) == {
        "name",
        "age",
    }
    assert ask(row, messages=say("Hi"), max_tokens=100_000).status == 400
    assert ask(row, model="nobody", messages=say("Hi")).status == 404

    def measured() -> dict[str, Any]:
        gauges = json.loads(site.engine("gpu0")["gauges"])
        # The newest reading may be of the time of a request above.
        return gauges if gauges.get("running") == 0 else {}

    gauges = wait_for(measured)
    assert "prefix_hits" in gauges
    assert gauges["gpus"] or gauges["gpu_note"].startswith("no GPU")

    # The API server is killed: its EngineCore goes too, a new generation comes.
    session = session_on_record(site)
    assert len(processes.session_members(session)) >= 2
    os.kill(session, signal.SIGKILL)
    row = ready(site, generation=2)
    assert processes.session_members(session) == []
    assert ask(row, messages=say("Say hello."), max_tokens=4).status == 200

    session = session_on_record(site)
    assert host.stop(timeout=30) == 0
    assert processes.session_members(session) == []
    assert site.left_over() == {}


def test_real_vllm_dies_with_its_host(site: Site) -> None:
    site.run("addmodel", install.MODEL_NAME, "--source", str(install.model_folder()))
    host = site.start(
        "runengine", "--name", "gpu0", "--model", install.MODEL_NAME, **REAL
    )
    wait_for(lambda: site.engine("gpu0").get("state") == "loading", timeout=30)
    ready(site, generation=1)
    session = session_on_record(site)
    host.kill()
    wait_for(
        lambda: not processes.session_members(session), timeout=10, what="all gone"
    )
