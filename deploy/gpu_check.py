# SPDX-License-Identifier: Apache-2.0
"""`make gpu-check`: what must hold on a GPU host, tried once and written down.

Machine and driver, the gauges that NVML gives, tokens a second against vLLM's own
run_batch on the same file, a swap between two served names under load that loses no
row, and memory that is really free after each stop. Each part has a limit of time, and
so has all of it; a part that fails does not keep the others from running.

With --cpu it runs without a GPU, and says so. The exit code is 0 when all parts went
well, 1 when one did not, 2 when there is no GPU.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from deploy.bench_pipeline import cpu_model, upload  # noqa: E402 - needs the path above
from deploy.bench_vllm import (  # noqa: E402 - as above
    bundled_model,
    comparison_command,
    run_batch,
    through_batchsite,
    write_requests,
)
from deploy.gpu_watch import (  # noqa: E402 - as above
    Memory,
    Watch,
    answers_of,
    gaps,
    swaps,
    text_of,
)
from deploy.vllm_loads import (  # noqa: E402 - as above
    FEWEST_TOKENS,
    MOST_TOKENS,
    uniform,
)
from jobs.engines import gpus, install  # noqa: E402 - as above
from jobs.engines.vllm import ModelSpec  # noqa: E402 - as above
from tests.e2e.client import Running, start_up  # noqa: E402 - as above
from tests.faults.checks import assert_exactly_once  # noqa: E402 - as above
from tests.site import Site, wait_for  # noqa: E402 - as above

MINUTES = {
    "Machine": 1,
    "vLLM's own run_batch": 15,
    "Batchsite": 15,
    "Swap under load": 20,
    "End": 2,
}
# The second name of the same weights.
OTHER = "-again"
# Memory that a driver keeps for itself, or that others take meanwhile.
SLACK = 300_000_000
# Lines of an error, and of the log beside it.
SHOWN = 40


class TooLong(Exception):
    """A part did not end within its time."""


@dataclass
class Check:
    """What is checked, how, and what came of it so far."""

    cpu: bool
    rows: int
    model: ModelSpec
    scratch: Path
    report: Path
    deadline: float
    lines: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    site: Site | None = None
    running: Running | None = None
    theirs: float = 0.0
    held: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.memory = Memory(cpu=self.cpu, run_dir=self.scratch / "site" / "run")

    def say(self, *lines: str) -> None:
        """Add lines to the report, on the disk at once: what is killed leaves them."""
        self.lines.extend(lines)
        self.report.write_text("\n".join(self.lines) + "\n")

    def part(self, name: str, work: Callable[[Check], None]) -> None:
        """Run one part within its time; what goes wrong is written down."""
        print(f"{name} …", flush=True)
        self.say("", f"## {name}", "")
        began = time.monotonic()
        limit = min(MINUTES[name] * 60, self.deadline - began)
        try:
            with_limit(limit, lambda: work(self))
        except (Exception, SystemExit) as error:
            self.failed.append(name)
            words = str(error).strip() or type(error).__name__
            self.say(f"**Failed** after {time.monotonic() - began:.0f} s:", "")
            self.say("```", *words.splitlines()[-SHOWN:], "```")
            if self.site is not None and self.site.processes:
                log = self.site.processes[-1].log().splitlines()[-SHOWN:]
                self.say(
                    "", "The last lines of the site's log:", "", "```", *log, "```"
                )
        else:
            self.say("", f"Done in {time.monotonic() - began:.0f} s.")


def with_limit(seconds: float, work: Callable[[], None]) -> None:
    """Do the work; TooLong when it takes longer."""

    def over(signum: int, frame: FrameType | None) -> None:
        raise TooLong(f"It did not end within {max(seconds, 0):.0f} s.")

    if seconds <= 0:
        raise TooLong("There was no time left for it.")
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- the parts


def machine(check: Check) -> None:
    """The host, its driver, and every gauge."""
    check.held["before"] = check.memory.in_use()
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    check.say(
        f"- {os.cpu_count()} cores, {cpu_model()}, {pages / 1e9:.0f} GB of memory",
        f"- {platform.platform()}, Python {platform.python_version()}",
        f"- engine: {install.distribution()} in {install.engine_python().parent.parent.name}",
        f"- NVIDIA driver: {gpus.driver() or 'none'}",
        f"- model: {check.model.name}, {shlex.join(check.model.engine_args)}",
    )
    reading = gpus.read_gpus(own=[])
    check.say(f"- GPUs: {reading.note or len(reading.gpus)}")
    for fault in reading.faults:
        check.say(f"- fault: {fault}")
    if not reading.gpus:
        return
    names = [name for name in reading.gpus[0] if name != "uuid"]
    check.say("", f"| {' | '.join(names)} |", f"|{'---|' * len(names)}")
    for gpu in reading.gpus:
        check.say(f"| {' | '.join(str(gpu[name]) for name in names)} |")
    check.say("", "`None` is a gauge that this GPU or its driver does not have.")


def own_run(check: Check) -> None:
    """Tokens a second of vLLM's own batch runner."""
    path, output = check.scratch / "in.jsonl", check.scratch / "out.jsonl"
    write_requests(path, uniform(check.rows), check.model.name)
    command, env = comparison_command(path, output, check.model, gpu=not check.cpu)
    check.theirs = run_batch(command, env, output)
    check.say(f"{check.rows} requests: {check.theirs:.1f} tokens/s.")


def our_run(check: Check) -> None:
    """Start the site, load the model, and send the same file through Batchsite."""
    check.site = site = Site(check.scratch / "site")
    site.run("migrate", "--verbosity", "0")
    arguments = shlex.join(check.model.engine_args)
    for name in (check.model.name, check.model.name + OTHER):
        site.run(
            *("addmodel", name, "--source", check.model.source),
            *("--engine-args", arguments),
        )
    check.running = running = start_up(
        site,
        BATCHSITE_ENGINE_PYTHON=os.environ.get("BATCHSITE_ENGINE_PYTHON", ""),
        BATCHSITE_ENGINE_MODULE="vllm.entrypoints.openai.api_server",
        BATCHSITE_MODEL_WAIT=str(turn(check)),
    )
    began = time.monotonic()
    wait_until_ended(running, requests_for(check, check.model.name, 1))
    loaded = time.monotonic() - began
    wait_for(lambda: site.engine("local")["state"] == "ready", timeout=10)
    check.held["loaded"] = check.memory.in_use()
    ours = through_batchsite(running, check.scratch / "in.jsonl")
    check.say(
        f"- first answer {loaded:.0f} s after the first batch, the model's load included",
        f"- {check.rows} requests: {ours:.1f} tokens/s",
    )
    if check.theirs:
        check.say(f"- {ours / check.theirs:.3f} of vLLM's own run_batch")


def turn(check: Check) -> int:
    """Seconds after which the other name's turn comes, while this one still has work.

    A third of the time that vLLM's own runner took: then there are a few swaps, each
    with requests in flight, and not dozens.
    """
    tokens = check.rows * (FEWEST_TOKENS + MOST_TOKENS) / 2
    return max(1, round(tokens / check.theirs / 3)) if check.theirs else 20


def requests_for(check: Check, name: str, rows: int) -> str:
    """Upload so many requests for that name, and create their batch; its id."""
    assert check.running is not None
    path = check.scratch / f"{name.replace('/', '-')}-{rows}.jsonl"
    write_requests(path, uniform(rows), name)
    return upload(check.running.client, path)


def wait_until_ended(running: Running, batch_id: str) -> None:
    """AssertionError unless it completes without a failed row."""
    batch = running.client.batches.retrieve(batch_id)
    batch = running.wait(batch, timeout=3600, every=0.5)
    assert batch.status == "completed", batch
    assert batch.error_file_id is None, batch


def swap(check: Check) -> None:
    """Two names of the same weights under load: the engine swaps, and no row is lost."""
    assert check.running is not None, "the site did not start"
    assert check.site is not None
    watch = Watch(check.site, check.memory)
    watch.start()
    names = (check.model.name, check.model.name + OTHER)
    try:
        made = [requests_for(check, name, check.rows) for name in names]
        for batch in made:
            wait_until_ended(check.running, batch)
    finally:
        watch.stop()
    for batch in made:
        assert_exactly_once(check.site, batch, check.rows)
    check.say(
        f"Two batches of {check.rows} requests, one for each name: every row answered"
        " once.",
        "",
        "| Swap | from stop to ready | of it load | without an answer | of it not load | memory between |",
        "|---|---|---|---|---|---|",
    )
    found = swaps(watch.moments)
    silent = gaps(answers_of(check.site))
    for number, (one, gap) in enumerate(zip(found, silent, strict=False), start=1):
        check.say(
            f"| {number} | {one.seconds:.1f} s | {one.load:.1f} s | {gap:.1f} s |"
            f" {gap - one.load:.1f} s | {text_of(one.memory)} |"
        )
    if not found:
        raise AssertionError("the engine did not swap: give it more --rows")
    check.held["between"] = min(one.memory for one in found)


def end(check: Check) -> None:
    """Stop the site; nothing of it is left, and its memory is free."""
    assert check.running is not None, "the site did not start"
    assert check.site is not None
    check.running.up.stop()
    left = check.site.left_over()
    check.held["after"] = check.memory.in_use()
    check.say("| Memory in use | |", "|---|---|")
    for when, words in (
        ("before", "before"),
        ("loaded", "with the model loaded"),
        ("between", "between the two models of a swap"),
        ("after", "after the end"),
    ):
        if when in check.held:
            check.say(f"| {words} | {text_of(check.held[when])} |")
    assert not left, f"processes are left: {left}"
    for when in ("between", "after"):
        held = check.held.get(when, 0) - check.held["before"]
        assert held < SLACK, f"{text_of(held)} are not free {when}"


def run(check: Check) -> int:
    """All parts; the exit code."""
    check.say(
        "# GPU check",
        "",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, on the"
        f" {'CPU: of a GPU this says nothing' if check.cpu else 'GPU'}.",
    )
    try:
        check.part("Machine", machine)
        check.part("vLLM's own run_batch", own_run)
        check.part("Batchsite", our_run)
        check.part("Swap under load", swap)
        check.part("End", end)
    finally:
        if check.site is not None:
            check.site.close()
    failed = ", ".join(check.failed)
    check.say("", f"**Failed: {failed}.**" if failed else "**All parts went well.**")
    print(f"{'Failed: ' + failed if failed else 'All parts went well'}: {check.report}")
    return 1 if failed else 0


def model_of(options: argparse.Namespace) -> ModelSpec:
    """What to run: the operator's model, or the bundled one."""
    seqs = ("--max-num-seqs", str(options.max_num_seqs))
    if not options.model:
        return bundled_model(seqs)
    return ModelSpec(
        name=Path(options.model).name,
        source=options.model,
        engine_args=(*seqs, *shlex.split(options.engine_args)),
    )


def parsed(arguments: list[str] | None = None) -> Any:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", action="store_true", help="run without a GPU")
    parser.add_argument("--model", default="", help="folder or Hugging Face id")
    parser.add_argument("--engine-args", default="", help="further arguments of vLLM")
    parser.add_argument("--max-num-seqs", type=int, default=64)
    parser.add_argument("--rows", type=int, default=200, help="requests in each batch")
    parser.add_argument("--minutes", type=float, default=45, help="limit of all of it")
    parser.add_argument("--report", type=Path, help="default: in the data folder")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Check this host; the exit code."""
    options = parsed(arguments)
    reading = gpus.read_gpus()
    if not reading.gpus and not options.cpu:
        print(f"This host has no GPU to check ({reading.note}); --cpu runs without.")
        return 2
    data = Path(os.environ.get("BATCHSITE_DATA", str(ROOT / "var"))).resolve()
    name = f"gpu-check-{datetime.now(UTC):%Y%m%d-%H%M%S}.md"
    report: Path = (options.report or data / name).resolve()
    report.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as scratch:
        # Nothing of this touches the site's own data.
        os.environ["BATCHSITE_DATA"] = str(Path(scratch) / "own")
        if not install.is_installed():
            print("vLLM is not installed here: run 'make engine' first.")
            return 2
        check = Check(
            cpu=options.cpu,
            rows=options.rows,
            model=model_of(options),
            scratch=Path(scratch),
            report=report,
            deadline=time.monotonic() + options.minutes * 60,
        )
        return run(check)


if __name__ == "__main__":
    sys.exit(main())
