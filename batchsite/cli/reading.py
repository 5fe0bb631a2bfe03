# SPDX-License-Identifier: Apache-2.0
"""`results` and `errors`: what came of the requests, while the batch runs too."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from . import watching
from .api import Api, path_of
from .lines import Sink, answer_text, batched, failure_text, opened, whole_lines
from .options import BatchId, OutFile
from .printing import say, status_word
from .problems import Refused
from .session import site

Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Print answers as they come, to the end.")
]
After = Annotated[
    int,
    typer.Option("--after", min=0, metavar="N", help="Leave out the first N results."),
]
Plain = Annotated[
    bool | None,
    typer.Option(
        "--jsonl/--text",
        help="JSON Lines, or for reading. Default: for reading on a terminal.",
    ),
]


def results(
    batch_id: BatchId,
    output: OutFile = None,
    follow: Follow = False,
    after: After = 0,
    jsonl: Plain = None,
) -> None:
    """Fetch the answers: all of them, or while the batch runs those so far.

    A batch that has ended has them in the order of its file, a running one in that of
    their arrival.
    """
    api = site()
    batch = watching.fetch(api, batch_id)
    mode = ("ab" if after else "wb") if follow else ""
    with opened(output, jsonl=jsonl, text=answer_text, mode=mode) as sink:
        if follow:
            batch = _follow(api, batch_id, sink, after, output)
        elif watching.is_final(batch) and not after:
            _file(api, batch.get("output_file_id"), sink)
        else:
            for lines, _ in pages(api, batch_id, after=after, outcome="completed"):
                sink.write(lines)
    if follow:
        watching.tell_end(batch)
        raise typer.Exit(watching.exit_code(batch, strict=False))
    if not sink.count:
        say(f"No answers{' so far' if not watching.is_final(batch) else ''}.")
    elif not watching.is_final(batch):
        say(f"{sink.count:,} answers so far; the batch is {status_word(batch)}.")
    elif output is not None:
        say(f"{sink.count:,} answers are in {output}.")


def errors(batch_id: BatchId, output: OutFile = None, jsonl: Plain = None) -> None:
    """Fetch what failed: the bad lines of a file, or the requests without an answer."""
    api = site()
    batch = watching.fetch(api, batch_id)
    with opened(output, jsonl=jsonl, text=failure_text) as sink:
        if batch["status"] == "failed":
            for lines in _bad_lines(api, batch):
                sink.write(lines)
        elif watching.is_final(batch):
            _file(api, batch.get("error_file_id"), sink)
        else:
            for lines, _ in pages(api, batch_id, after=0, outcome="failed"):
                sink.write(lines)
    if not sink.count:
        say(f"Nothing failed{' so far' if not watching.is_final(batch) else ''}.")
    elif output is not None:
        say(f"{sink.count:,} lines are in {output}.")


def pages(
    api: Api, batch_id: str, *, after: int, outcome: str
) -> Iterator[tuple[list[bytes], int]]:
    """The results so far, page by page, and how many of all results each one ends at."""
    more = True
    while more:
        with api.stream(
            path_of("batches", batch_id, "results"), after=after, outcome=outcome
        ) as (headers, pieces):
            lines = list(whole_lines(pieces))
        after = int(headers["x-batchsite-last-seq"])
        more = headers["x-batchsite-has-more"] == "true"
        yield lines, after


def _follow(
    api: Api, batch_id: str, sink: Sink, after: int, output: Path | None
) -> dict[str, Any]:
    """Write answers as they come; the batch at its end. Ctrl-C says how to go on."""
    seen = after

    def look(batch: dict[str, Any]) -> None:
        nonlocal seen
        for lines, seen_now in pages(api, batch_id, after=seen, outcome="completed"):
            sink.write(lines)
            seen = seen_now

    try:
        return watching.follow(api, batch_id, look)
    except typer.Exit:
        into = f" -o {shlex.quote(str(output))}" if output else ""
        say(
            "The batch goes on without you. The answers after these:\n"
            f"  batchsite results {batch_id} --follow --after {seen}{into}"
        )
        raise


def _file(api: Api, file_id: str | None, sink: Sink) -> None:
    """Write a result file; the one that would be empty does not exist."""
    if file_id is None:
        return
    with api.stream(path_of("files", file_id, "content")) as (_, pieces):
        for lines in batched(whole_lines(pieces)):
            sink.write(lines)


def _bad_lines(api: Api, batch: dict[str, Any]) -> Iterator[list[bytes]]:
    """The report of all bad lines; where there is none, what the batch says itself."""
    try:
        with api.stream(path_of("batches", batch["id"], "validation_errors")) as (
            _,
            pieces,
        ):
            for line in whole_lines(pieces):
                yield [line]
    except Refused as refused:
        if refused.status != 404:
            raise
        listed = (batch.get("errors") or {}).get("data") or []
        yield [json.dumps(error).encode() for error in listed]
