# SPDX-License-Identifier: Apache-2.0
"""`make bench-vllm`: Batchsite against vLLM's own run_batch.

The same file of distinct requests, the same model and engine arguments, alternating
runs. The model's load is left out on both sides: run_batch counts while its progress bar
is drawn, Batchsite from the upload to completed, with the engine loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["LOG_LEVEL"] = "WARNING"
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "batchsite.settings")

from deploy.bench_pipeline import cpu_model, upload  # noqa: E402 - needs the path above
from jobs import processes  # noqa: E402 - as above
from jobs.engines import install, vllm  # noqa: E402 - as above
from jobs.engines.vllm import ModelSpec  # noqa: E402 - as above
from tests.e2e.client import Running, start_up  # noqa: E402 - as above
from tests.site import Site, wait_for  # noqa: E402 - as above

THINGS = [
    "river",
    "lamp",
    "harbour",
    "clock",
    "bridge",
    "garden",
    "violin",
    "compass",
    "kettle",
    "ladder",
]
FEWEST_TOKENS, MOST_TOKENS = 64, 128
MODULE = "vllm.entrypoints.launchers.run_batch"


def write_requests(path: Path, rows: int, model: str) -> None:
    """Distinct chat requests with 64 to 128 output tokens each."""
    chance = random.Random(7)
    with path.open("w") as out:
        for n in range(rows):
            a, b = chance.sample(THINGS, 2)
            body = {
                "model": model,
                "messages": [
                    {
                        "role": "user",
                        "content": f"Note {n}: what links a {a} and a {b}?",
                    }
                ],
                "max_tokens": chance.randint(FEWEST_TOKENS, MOST_TOKENS),
                "temperature": 0,
                "ignore_eos": True,
            }
            line = {
                "custom_id": f"r{n}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": body,
            }
            out.write(json.dumps(line) + "\n")


def output_tokens(lines: list[dict[str, Any]]) -> int:
    return sum(x["response"]["body"]["usage"]["completion_tokens"] for x in lines)


def run_batch(command: list[str], env: dict[str, str], output: Path) -> float:
    """Tokens a second of vLLM's own batch runner; nothing of it outlives the call."""
    began = ended = 0.0
    tail: list[str] = []
    with subprocess.Popen(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=processes.child_setup(signal.SIGTERM),
    ) as popen:
        assert popen.stdout is not None
        try:
            for line in popen.stdout:
                tail = [*tail[-20:], line]
                # Its progress bar: drawn first when all requests are submitted.
                if "Running batch:" in line:
                    began = began or time.monotonic()
                    ended = time.monotonic()
        except BaseException:
            processes.kill_session(popen.pid)
            raise
    if popen.returncode or not began or not ended:
        raise SystemExit("run_batch failed:\n" + "".join(tail))
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    return output_tokens(lines) / (ended - began)


def through_batchsite(running: Running, path: Path) -> float:
    """Tokens a second from creating the batch to its completion."""
    began = time.monotonic()
    batch = running.client.batches.retrieve(upload(running.client, path))
    batch = running.wait(batch, timeout=3600, every=0.5)
    seconds = time.monotonic() - began
    if batch.status != "completed" or batch.error_file_id:
        raise SystemExit(f"the batch did not go well: {batch}")
    return output_tokens(running.lines(batch.output_file_id)) / seconds


def bundled_model(max_num_seqs: int) -> ModelSpec:
    """The model that comes with Batchsite, running so many requests at once."""
    return ModelSpec(
        name=install.MODEL_NAME,
        source=str(install.model_folder()),
        engine_args=("--max-num-seqs", str(max_num_seqs)),
    )


def comparison_command(
    path: Path, output: Path, model: ModelSpec, *, gpu: bool = False
) -> tuple[list[str], dict[str, str]]:
    """run_batch's command line and environment, with what runengine would give vLLM."""
    python = install.engine_python()
    served = vllm.command_line(
        python=python,
        module=MODULE,
        model=model,
        socket_path="",
        gpu=gpu,
        cpu_flags=vllm.cpu_flags(),
    )
    # run_batch opens no server.
    command = [a for a in served if a != "--disable-uvicorn-access-log"][:-2]
    env = vllm.environment(os.environ, python=python, source=model.source, gpu=gpu)
    return [*command, "-i", str(path), "-o", str(output)], env


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-num-seqs", type=int, default=64)
    options = parser.parse_args()
    print(f"machine  {os.cpu_count()} cores, {cpu_model()}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["BATCHSITE_DATA"] = str(Path(scratch) / "compare")
        requests, output = Path(scratch) / "in.jsonl", Path(scratch) / "out.jsonl"
        model = bundled_model(options.max_num_seqs)
        command, env = comparison_command(requests, output, model)
        write_requests(requests, options.rows, install.MODEL_NAME)
        site = Site(Path(scratch) / "site")
        real = {
            "BATCHSITE_ENGINE_PYTHON": "",
            "BATCHSITE_ENGINE_MODULE": "vllm.entrypoints.openai.api_server",
        }
        site.run("migrate", "--verbosity", "0")
        site.run(
            *("addmodel", install.MODEL_NAME, "--source", str(install.model_folder())),
            *("--engine-args", f"--max-num-seqs {options.max_num_seqs}"),
        )
        ratios = []
        for number in range(1, options.rounds + 1):
            theirs = run_batch(command, env, output)
            ours = one_site_run(site, real, requests)
            ratios.append(ours / theirs)
            print(
                f"round {number}  run_batch {theirs:.1f} tok/s   Batchsite {ours:.1f}"
                f" tok/s   ratio {ours / theirs:.3f}",
                flush=True,
            )
        site.close()
    print(f"median ratio {statistics.median(ratios):.3f} over {len(ratios)} rounds")


def show_where_the_time_went(site: Site) -> None:
    """Seconds of the newest batch before its first, until its last result, and after."""
    code = (
        "from jobs.models import Batch; b = Batch.objects.latest('pk');"
        "r = b.results.order_by('seq');"
        "d = lambda x, y: f'{(y - x).total_seconds():.2f}';"
        "first = b.events.get(new_status='in_progress').created_at;"
        "last = r.last().created_at;"
        "print('   validated after', d(b.created_at, first), 's, answered',"
        "d(first, last), 's, files', d(last, b.completed_at), 's')"
    )
    print(site.python(code).strip("\n"), flush=True)


def one_site_run(site: Site, env: dict[str, str], requests: Path) -> float:
    """Start the site, warm the engine with one request, measure, stop."""
    running = start_up(site, **env)
    first = requests.with_name("first.jsonl")
    first.write_text(requests.read_text().splitlines()[0] + "\n")
    try:
        warm = running.client.batches.retrieve(upload(running.client, first))
        running.wait(warm, timeout=600)
        wait_for(lambda: site.engine("local")["state"] == "ready", timeout=10)
        speed = through_batchsite(running, requests)
        show_where_the_time_went(site)
        return speed
    finally:
        running.up.stop()


if __name__ == "__main__":
    main()
