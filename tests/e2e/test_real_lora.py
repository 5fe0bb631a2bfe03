# SPDX-License-Identifier: Apache-2.0
"""LoRA adapters of the bundled model on the real vLLM: one start serves them all."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from jobs.engines import install
from tests.site import DATABASES, Site, wait_for

from .client import Running, start_up
from .test_real_vllm import REAL, line

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.parametrize("site", DATABASES[-1:], indirect=True),
]
# An adapter of random numbers in peft's layout, large enough to change what is said.
MAKE = """
import json, sys, torch
from pathlib import Path
from safetensors.torch import save_file

folder, seed = Path(sys.argv[1]), int(sys.argv[2])
torch.manual_seed(seed)
tensors = {}
for layer in range(30):
    for module, size in (("q_proj", 576), ("v_proj", 192)):
        name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
        tensors[f"{name}.lora_A.weight"] = torch.randn(8, 576) * 0.1
        tensors[f"{name}.lora_B.weight"] = torch.randn(size, 8) * 0.1
folder.mkdir()
save_file(tensors, folder / "adapter_model.safetensors")
config = {"peft_type": "LORA", "r": 8, "lora_alpha": 8, "bias": "none",
          "target_modules": ["q_proj", "v_proj"]}
(folder / "adapter_config.json").write_text(json.dumps(config))
"""
BASE = install.MODEL_NAME


def make_adapter(folder: Path, seed: int) -> Path:
    """A random adapter, by the engine's own torch."""
    python = str(install.engine_python())
    subprocess.run([python, "-c", MAKE, str(folder), str(seed)], check=True)
    return folder


def say(running: Running, *models: str) -> dict[str, str]:
    """What each of the models answers to the same questions, in one batch."""
    rows = [
        line(f"{model} {n}", question, model=model, temperature=0, max_tokens=12)
        for model in models
        for n, question in enumerate(("Name three colours.", "What is a river?"))
    ]
    extra = {"batchsite": {"allow_mixed_models": len(models) > 1}}
    batch = running.wait(
        running.submit(b"".join(rows), extra_body=extra), timeout=600, every=0.5
    )
    assert batch.status == "completed", batch
    answers = {
        row["custom_id"]: row["response"]["body"]
        for row in running.lines(batch.output_file_id)
    }
    assert len(answers) == len(rows), running.lines(batch.error_file_id)
    for custom_id, body in answers.items():
        assert body["model"] == custom_id.rpartition(" ")[0]
    return {
        model: " | ".join(
            answers[f"{model} {n}"]["choices"][0]["message"]["content"]
            for n in range(2)
        )
        for model in models
    }


def test_base_and_adapters_are_answered_by_one_start(
    site: Site, tmp_path: Path
) -> None:
    base = ("--base", BASE)
    site.run("addmodel", BASE, "--source", str(install.model_folder()))
    tuned = make_adapter(tmp_path / "tuned", 1)
    site.run("addmodel", "tuned", "--source", str(tuned), *base)
    # Its configuration is fine, its weights are not there.
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "adapter_config.json").write_text(
        json.dumps({"r": 8, "lora_alpha": 8, "target_modules": ["q_proj"]})
    )
    site.run("addmodel", "broken", "--source", str(broken), *base)
    running = start_up(site, **REAL)
    first = say(running, BASE, "tuned")
    assert first[BASE] != first["tuned"]

    def given_up() -> str:
        (row,) = site.query(
            "SELECT state, state_reason FROM jobs_servedmodel WHERE name = 'broken'"
        )
        return str(row["state_reason"]) if row["state"] == "failed" else ""

    assert "doesn't contain tensors" in wait_for(given_up)

    # One more while the engine runs.
    late = make_adapter(tmp_path / "late", 2)
    site.run("addmodel", "late", "--source", str(late), *base)
    second = say(running, "late", BASE, "tuned")
    assert second["late"] not in first.values()
    assert site.engine("local")["generation"] == 1
    (row,) = site.query(
        "SELECT provenance FROM jobs_result r JOIN jobs_batchrequest q"
        " ON r.request_id = q.id WHERE q.custom_id = 'late 0'"
    )
    provenance = row["provenance"]
    if isinstance(provenance, str):
        provenance = json.loads(provenance)
    assert provenance["adapter_source"] == str(late)
    assert provenance["model_source"] == str(install.model_folder())
    assert running.up.stop(timeout=20) == 0
