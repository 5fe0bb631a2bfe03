# SPDX-License-Identifier: Apache-2.0
"""`models`, `status` and `watch`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from jobs.durations import duration

from . import watching
from .api import Api
from .options import BatchId, Json, Strict
from .printing import (
    ago,
    one_line,
    ours,
    say,
    status_text,
    to_terminal,
    write_json,
    write_line,
    write_table,
)
from .session import site

PAGE = 100
Shown = Annotated[
    int, typer.Option("--limit", "-n", min=1, help="How many of the newest.")
]


def models(as_json: Json = False) -> None:
    """List the models that batches may name."""
    found = site().get("models")["data"]
    if as_json:
        write_json(found)
        return
    if not found:
        say("The site serves no model yet: its operator adds one with addmodel.")
    write_table(("MODEL", "BASE"), [(m["id"], m.get("parent") or "") for m in found])


def status(
    batch_id: Annotated[
        str, typer.Argument(metavar="[BATCH]", help="Id of one; else the newest.")
    ] = "",
    limit: Shown = 20,
    as_json: Json = False,
) -> None:
    """Show the team's newest batches, or one of them."""
    api = site()
    if batch_id:
        batch = watching.fetch(api, batch_id)
        write_json(batch) if as_json else _show(batch)
        return
    batches = list(_newest(api, limit))
    if as_json:
        write_json(batches)
        return
    if not batches:
        say("No batches yet. Send one: batchsite submit FILE")
        return
    write_table(
        ("ID", "STATUS", "DONE", "WHEN", "NAME"), [_row(batch) for batch in batches]
    )


def watch(batch_id: BatchId, strict: Strict = False, as_json: Json = False) -> None:
    """Show how a batch goes until it has ended; Ctrl-C leaves it running."""
    batch = watching.watch(site(), batch_id)
    watching.tell_end(batch)
    if as_json:
        write_json(batch)
    raise typer.Exit(watching.exit_code(batch, strict=strict))


def _newest(api: Api, limit: int) -> Iterator[dict[str, Any]]:
    """The newest batches, page by page."""
    after: dict[str, str] = {}
    while limit > 0:
        page = api.get("batches", limit=min(limit, PAGE), **after)
        yield from page["data"]
        limit -= len(page["data"])
        if not page["has_more"]:
            return
        after = {"after": page["last_id"]}


def _row(batch: dict[str, Any]) -> tuple[str | Text, ...]:
    when = ago(batch["created_at"], time.time())
    if watching.is_final(batch):
        when = ago(batch.get(f"{batch['status']}_at"), time.time())
    return (
        str(batch["id"]),
        status_text(batch),
        watching.figures(batch),
        watching.note(batch) or when,
        str(ours(batch).get("name") or ""),
    )


def _show(batch: dict[str, Any]) -> None:
    """One batch, a line for each fact; with tabs in a pipe."""
    console = to_terminal()
    for name, value in _facts(batch):
        if not console.is_terminal:
            write_line(f"{name}\t{one_line(value)}")
            continue
        cell = value if isinstance(value, Text) else Text(one_line(value))
        line = Text.assemble((f"{name:<10}", "dim"), cell)
        console.print(line, soft_wrap=True)


def _facts(batch: dict[str, Any]) -> Iterator[tuple[str, str | Text]]:
    extra, usage = ours(batch), batch.get("usage") or {}
    yield "id", str(batch["id"])
    if extra.get("name"):
        yield "name", extra["name"]
    word = status_text(batch)
    if note := watching.note(batch):
        word.append(f", {note}", style="default")
    yield "status", word
    if figures := watching.figures(batch):
        yield "done", figures
    if batch.get("model"):
        yield "model", batch["model"]
    if extra.get("tags"):
        yield "tags", ", ".join(extra["tags"])
    yield "created", moment(batch["created_at"])
    if watching.is_final(batch) and (ended := batch.get(f"{batch['status']}_at")):
        took = duration(ended - batch["created_at"])
        yield "ended", f"{moment(ended)}, after {took}"
    elif batch.get("expires_at"):
        yield "deadline", moment(batch["expires_at"])
    if usage:
        tokens = f"{usage['input_tokens']:,} in, {usage['output_tokens']:,} out"
        yield "tokens", tokens
    if extra.get("parent_id"):
        yield "made of", extra["parent_id"]
    for kind in ("output", "error"):
        if file_id := batch.get(f"{kind}_file_id"):
            yield f"{kind}s"[:10], file_id


def moment(seconds: float) -> str:
    """In UTC, to the second, as logs have it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
