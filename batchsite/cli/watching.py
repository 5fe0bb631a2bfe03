# SPDX-License-Identifier: Apache-2.0
"""A batch while it runs: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)

from jobs.durations import duration

from .api import Api, path_of
from .printing import between, counts, one_line, ours, say, status_word
from .printing import to_people as people
from .problems import BAD_END, INTERRUPTED, OK, Away, Refused

FINAL = ("completed", "failed", "expired", "cancelled")
# Without a terminal: as often as this, and whenever the status changes.
LINE_SECONDS = 60.0
# So long may a site be away before watching it ends.
AWAY_SECONDS = 300.0
Look = Callable[[dict[str, Any]], None]


def is_final(batch: dict[str, Any]) -> bool:
    """Whether nothing more will happen to it."""
    return batch.get("status") in FINAL


def fetch(api: Api, batch_id: str) -> dict[str, Any]:
    """The batch object."""
    return api.get(path_of("batches", batch_id))


def exit_code(batch: dict[str, Any], *, strict: bool) -> int:
    """What a script is told of a batch that has ended."""
    if batch.get("status") != "completed":
        return BAD_END
    return BAD_END if strict and counts(batch)[1] else OK


def follow(api: Api, batch_id: str, look: Look) -> dict[str, Any]:
    """Show the batch to `look` until it is final; the last object. Exit at Ctrl-C."""
    begun = time.monotonic()
    try:
        batch = fetch(api, batch_id)
        while True:
            look(batch)
            if is_final(batch):
                return batch
            time.sleep(interval(time.monotonic() - begun))
            batch = _patiently(api, batch_id)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _patiently(api: Api, batch_id: str) -> dict[str, Any]:
    """The batch, also from a site that is away for a while, being restarted say."""
    last_answer = time.monotonic()
    while True:
        try:
            return fetch(api, batch_id)
        except (Away, Refused) as problem:
            passing = isinstance(problem, Away) or problem.status >= 500
            if not passing or time.monotonic() - last_answer > AWAY_SECONDS:
                raise
        time.sleep(interval(AWAY_SECONDS))


def interval(seconds: float) -> float:
    """The pause between two looks, after so many seconds: the longer, the rarer."""
    return 1.0 if seconds < 60 else 2.0 if seconds < 600 else 5.0


def watch(api: Api, batch_id: str) -> dict[str, Any]:
    """Show how it goes until it is final; the last batch object."""
    try:
        with _display() as look:
            return follow(api, batch_id, look)
    except typer.Exit:
        say(
            "The batch goes on without you.\n"
            f"  See it again:  batchsite watch {batch_id}\n"
            f"  Stop it:       batchsite cancel {batch_id}"
        )
        raise


@contextlib.contextmanager
def _display() -> Iterator[Look]:
    console = people()
    if not console.is_terminal:
        yield _lines()
        return
    with Progress(
        TextColumn("{task.fields[word]}", markup=False),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[figures]}", markup=False),
        TextColumn("{task.fields[note]}", markup=False, style="dim"),
        console=console,
        transient=True,
        refresh_per_second=4,
    ) as progress:
        task = progress.add_task("", total=None, word="", figures="", note="")
        yield lambda batch: _update(progress, task, batch)


def _update(progress: Progress, task: TaskID, batch: dict[str, Any]) -> None:
    completed, failed, total = counts(batch)
    progress.update(
        task,
        total=total or None,
        completed=completed + failed,
        word=status_word(batch),
        figures=figures(batch),
        note=note(batch),
    )


def _lines() -> Look:
    shown: tuple[str, float] = ("", 0.0)

    def look(batch: dict[str, Any]) -> None:
        nonlocal shown
        word, now = status_word(batch), time.monotonic()
        if is_final(batch) or (word == shown[0] and now - shown[1] < LINE_SECONDS):
            return
        shown = (word, now)
        parts = [word, figures(batch), note(batch)]
        say(", ".join(part for part in parts if part))

    return look


def figures(batch: dict[str, Any]) -> str:
    """`120/400, 2 failed`; nothing before the file is checked."""
    completed, failed, total = counts(batch)
    if not total:
        return ""
    bad = f", {failed:,} failed" if failed else ""
    return f"{completed + failed:,}/{total:,}{bad}"


def note(batch: dict[str, Any]) -> str:
    """When it will be done, or what it waits for."""
    extra = ours(batch)
    eta, queue = extra.get("eta") or {}, extra.get("queue") or {}
    if extra.get("stalled_since"):
        return "stalled: its requests are at the engine, and none is answered"
    if extra.get("deadline_at_risk"):
        return f"{_left(eta) or 'running'}; it may not be done before its deadline"
    if left := _left(eta):
        return left
    if blocked := queue.get("blocked_reason"):
        return f"waiting: {one_line(blocked)}"
    if (queue.get("position") or 0) > 1:
        return f"number {queue['position']} in the queue"
    return ""


def _left(eta: dict[str, Any]) -> str:
    if eta.get("seconds_low") is None or eta.get("seconds_high") is None:
        return ""
    return f"{between(eta['seconds_low'], eta['seconds_high'])} left"


def tell_end(batch: dict[str, Any]) -> None:
    """What came of it, and what to do next."""
    completed, failed, total = counts(batch)
    status, batch_id = status_word(batch), batch["id"]
    ended = batch.get(f"{batch.get('status')}_at")
    took = f" after {duration(ended - batch['created_at'])}" if ended else ""
    tokens = (batch.get("usage") or {}).get("output_tokens")
    figure = f", {tokens:,} output tokens" if tokens else ""
    style = "green" if status == "completed" and not failed else "yellow"
    if status == "failed":
        say("failed: the file has errors, and nothing of it ran.", style="red")
    else:
        bad = f", {failed:,} not" if failed else ""
        counted = f"{completed:,} of {total:,} answered{bad}"
        say(f"{status}{took}: {counted}{figure}.", style=style)
    if completed:
        say(f"  Answers:      batchsite results {batch_id} -o answers.jsonl")
    if failed or status == "failed":
        say(f"  What failed:  batchsite errors {batch_id}")
    if failed and status != "failed":
        say(f"  Once more:    batchsite retry {batch_id}")


@contextlib.contextmanager
def upload_display(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for the bytes on their way; nothing without a terminal."""
    console = people()
    if not console.is_terminal:
        yield lambda sent, size: None
        return
    with Progress(
        TextColumn("uploading {task.description}", markup=False),
        BarColumn(bar_width=28),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task(one_line(name), total=None)
        yield lambda sent, size: progress.update(task, completed=sent, total=size)


def estimate_lines(estimate: dict[str, Any]) -> Iterator[str]:
    """What a dry run says of tokens and time, and on what it rests."""
    output = estimate.get("output_tokens")
    expected = "unknown" if output is None else f"about {output:,}"
    if estimate.get("input_tokens") is not None:
        yield f"Tokens: about {estimate['input_tokens']:,} in, {expected} out."
    low, high = estimate.get("seconds_low"), estimate.get("seconds_high")
    if low is not None and high is not None:
        yield f"Time on one engine that does nothing else: {between(low, high)}."
    if estimate.get("basis"):
        yield one_line(estimate["basis"])
