# SPDX-License-Identifier: Apache-2.0
"""`make bench-vllm`: Batchsite against vLLM's own run_batch.

The same files, the same model and engine arguments, alternating runs, each with a fresh
engine. The model's load is left out on both sides: run_batch counts while its progress
bar is drawn, Batchsite from the upload to completed, with the engine loaded. What is
compared is output tokens a second; the answers of copies count on both sides.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["LOG_LEVEL"] = "WARNING"
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "batchsite.settings")

from deploy.bench_pipeline import cpu_model, upload  # noqa: E402 - needs the path above
from deploy.vllm_loads import LOADS, Load, chat  # noqa: E402 - as above
from jobs import processes  # noqa: E402 - as above
from jobs.engines import install, vllm  # noqa: E402 - as above
from jobs.engines.vllm import ModelSpec  # noqa: E402 - as above
from tests.e2e.client import Running, start_up  # noqa: E402 - as above
from tests.site import Site, wait_for  # noqa: E402 - as above

MODULE = "vllm.entrypoints.launchers.run_batch"
REAL_ENGINE = {
    "BATCHSITE_ENGINE_PYTHON": "",
    "BATCHSITE_ENGINE_MODULE": "vllm.entrypoints.openai.api_server",
}
# Of Student's distribution, two-sided 95 %, by degrees of freedom.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365}


def write_requests(path: Path, load: Load, model: str, *, part: float = 1.0) -> int:
    """Write the first `part` of the load's requests; how many these are."""
    lines = [json.dumps(line) for line in load.lines(model)]
    lines = lines[: max(1, round(len(lines) * part))]
    path.write_text("\n".join(lines) + "\n")
    return len(lines)


def output_tokens(lines: Sequence[dict[str, Any]]) -> int:
    """What the answers of an output file would be as tokens, copies included.

    A copy's line carries the usage of its original's answer.
    """
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
    """Tokens a second from the upload to the batch's completion.

    The end is when the site says that it was: a client that asked more often than now
    and then would take processor time from the engine, which run_batch's does not.
    """
    began = datetime.now(UTC)
    batch = running.client.batches.retrieve(upload(running.client, path))
    batch = running.wait(batch, timeout=3600, every=5)
    if batch.status != "completed" or batch.error_file_id:
        raise SystemExit(f"the batch did not go well: {batch}")
    (row,) = running.site.query(
        "SELECT completed_at FROM jobs_batch WHERE public_id = %s", batch.id
    )
    seconds = (as_moment(row["completed_at"]) - began).total_seconds()
    return output_tokens(running.lines(batch.output_file_id)) / seconds


def as_moment(value: datetime | str) -> datetime:
    """A time of the database, which SQLite gives as text in UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def bundled_model(engine_args: Sequence[str]) -> ModelSpec:
    """The model that comes with Batchsite, with these arguments."""
    return ModelSpec(
        name=install.MODEL_NAME,
        source=str(install.model_folder()),
        engine_args=engine_args,
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


def compare(load: Load, rounds: int, part: float, scratch: Path) -> list[float]:
    """The ratios of one load's rounds, printed as they come."""
    folder = scratch / load.name
    folder.mkdir()
    requests, output = folder / "in.jsonl", folder / "out.jsonl"
    rows = write_requests(requests, load, install.MODEL_NAME, part=part)
    model = bundled_model(load.engine_args)
    command, env = comparison_command(requests, output, model)
    site = Site(folder / "site")
    site.run("migrate", "--verbosity", "0")
    site.run(
        *("addmodel", model.name, "--source", model.source),
        *("--engine-args", " ".join(load.engine_args)),
    )
    print(f"\n{load.name}: {rows} requests, {load.about}", flush=True)
    ratios = []
    for number in range(1, rounds + 1):
        theirs = run_batch(command, env, output)
        ours = one_site_run(site, requests)
        ratios.append(ours / theirs)
        print(
            f"round {number}  run_batch {theirs:.1f} tok/s   Batchsite {ours:.1f}"
            f" tok/s   ratio {ours / theirs:.3f}",
            flush=True,
        )
    site.close()
    return ratios


def interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean of the ratios and its 95 % interval, by Student's t of the logs."""
    logs = [math.log(ratio) for ratio in ratios]
    middle = statistics.mean(logs)
    freedom = len(logs) - 1
    if freedom < 1:
        return math.exp(middle), math.nan, math.nan
    half = STUDENT.get(freedom, 2.3) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def main() -> None:
    """Run the loads that were asked for."""
    names = [load.name for load in LOADS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--part",
        type=float,
        default=1.0,
        help="how much of each load, for machines that would take hours: 0.2",
    )
    parser.add_argument("loads", nargs="*", metavar="LOAD", help=", ".join(names))
    options = parser.parse_args()
    if not 0 < options.part <= 1:
        parser.error("--part is more than 0, and at most 1")
    if unknown := set(options.loads) - set(names):
        parser.error(f"no such load: {', '.join(sorted(unknown))}")
    print(f"machine  {os.cpu_count()} cores, {cpu_model()}", flush=True)
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["BATCHSITE_DATA"] = str(Path(scratch) / "compare")
        for load in LOADS:
            if not options.loads or load.name in options.loads:
                found[load] = compare(load, options.rounds, options.part, Path(scratch))
    print()
    for load, ratios in found.items():
        mean, low, high = interval(ratios)
        print(
            f"{load.name:<9} ratio {mean:.3f}, 95 % interval {low:.3f} to {high:.3f},"
            f" {len(ratios)} rounds (goal: {load.goal})"
        )


def show_where_the_time_went(site: Site) -> None:
    """Seconds of the newest batch before its first, until its last result, and after."""
    code = (
        "from jobs.models import Batch; b = Batch.objects.latest('pk');"
        "r = b.results.order_by('seq');"
        "d = lambda x, y: f'{(y - x).total_seconds():.2f}';"
        "first = b.events.get(new_status='in_progress').created_at;"
        "last = r.last().created_at;"
        "print('   validated after', d(b.created_at, first), 's, answered',"
        "d(first, last), 's, files', d(last, b.completed_at), 's; prompt tokens',"
        "b.input_tokens, 'of which cached', b.cached_tokens)"
    )
    print(site.python(code).strip("\n"), flush=True)


def one_site_run(site: Site, requests: Path) -> float:
    """Start the site, warm the engine with a request of its own, measure, stop."""
    running = start_up(site, **REAL_ENGINE)
    first = json.loads(requests.read_text().splitlines()[0])
    model = first["body"]["model"]
    first["body"] = {"model": model, **chat(("user", "Good morning."), tokens=4)}
    warming = requests.with_name("first.jsonl")
    warming.write_text(json.dumps(first) + "\n")
    try:
        warm = running.client.batches.retrieve(upload(running.client, warming))
        running.wait(warm, timeout=600)
        wait_for(lambda: site.engine("local")["state"] == "ready", timeout=10)
        speed = through_batchsite(running, requests)
        show_where_the_time_went(site)
        return speed
    finally:
        running.up.stop()


if __name__ == "__main__":
    main()
