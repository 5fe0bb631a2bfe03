# SPDX-License-Identifier: Apache-2.0
"""`convert` and `submit`: from a file of this machine to a batch of the site."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.jsonl import read_lines
from jobs.tables import kind_of
from jobs.templating import CHAT, Template

from . import options, watching
from .api import Api, path_of
from .converting import LINE_BYTES, Source, opened, scratch, with_model, write_lines
from .converting import convert as write_requests
from .lines import placed
from .printing import one_line, ours, say, write_data, write_json, write_line
from .problems import BAD_END, INTERRUPTED, Problem
from .session import site
from .uploading import upload

InFile = Annotated[Path, typer.Argument(metavar="FILE", help="- is stdin.")]
# What may be large is copied in pieces.
PIECE_BYTES = 1 << 20


def convert(
    file: InFile,
    template: options.Prompt,
    model: options.Model,
    system: options.System = "",
    custom_id: options.CustomId = "",
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    members: options.Members = None,
    endpoint: options.Endpoint = CHAT,
    allow_empty: options.AllowEmpty = False,
    delimiter: options.Delimiter = "",
    kind: options.Format = "",
    output: options.OutFile = None,
) -> None:
    """Make a batch file of a table: a request for each row, by a template.

    batchsite convert mails.csv -t 'Summarise: {text}' -m NAME -o mails.jsonl
    """
    made_of = options.template_of(
        template,
        model=model,
        system=system,
        custom_id=custom_id,
        endpoint=endpoint,
        max_tokens=max_tokens,
        temperature=temperature,
        members=members,
        allow_empty=allow_empty,
    )
    source = _source(file, kind, delimiter)
    if output is not None and str(output) != "-":
        with placed(output) as out:
            count = write_requests(source, made_of, out)
        say(f"{count:,} requests are in {output}.")
        return
    with scratch() as path:
        # Nothing is printed of a table with errors.
        with path.open("wb") as out:
            write_requests(source, made_of, out)
        with path.open("rb") as done:
            while piece := done.read(PIECE_BYTES):
                write_data(piece)


def submit(
    file: InFile,
    model: options.Model = "",
    name: options.Name = "",
    tags: options.Tags = None,
    priority: options.Priority = None,
    window: options.Window = "",
    webhook: options.Webhook = "",
    metadata: options.Metadata = None,
    paused: options.Paused = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Say every error and the cost; make no batch."),
    ] = False,
    mixed_models: Annotated[
        bool, typer.Option("--mixed-models", help="Lines name different models.")
    ] = False,
    by_arrival: Annotated[
        bool, typer.Option("--by-arrival", help="Result files in order of arrival.")
    ] = False,
    no_dedupe: Annotated[
        bool, typer.Option("--no-dedupe", help="Run exact copies each on its own.")
    ] = False,
    template: options.Prompt = "",
    system: options.System = "",
    custom_id: options.CustomId = "",
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    members: options.Members = None,
    endpoint: options.Endpoint = "",
    allow_empty: options.AllowEmpty = False,
    delimiter: options.Delimiter = "",
    kind: options.Format = "",
    watch: options.Watch = False,
    strict: options.Strict = False,
    as_json: options.Json = False,
) -> None:
    """Send a file of requests as a batch; a table too, with a template.

    On a pipe it prints the batch's id alone. --model sets the model of every line.
    """
    options.check_strict(strict=strict, watch=watch)
    extra = options.extensions(
        name=name,
        tags=tags,
        priority=priority,
        window=window,
        webhook=webhook,
        paused=paused,
        mixed_models=mixed_models,
        by_arrival=by_arrival,
        dedupe=not no_dedupe,
    )
    described = options.pairs("--metadata", metadata)
    made_of = None
    if template:
        made_of = options.template_of(
            template,
            model=model,
            system=system,
            custom_id=custom_id,
            endpoint=endpoint,
            max_tokens=max_tokens,
            temperature=temperature,
            members=members,
            allow_empty=allow_empty,
        )
    elif system or custom_id or members or max_tokens or temperature is not None:
        raise Problem("These options describe requests: they need --template.")
    api = site()
    with _requests(_source(file, kind, delimiter), made_of, model) as path:
        body = {
            "endpoint": endpoint
            or (made_of.endpoint if made_of else endpoint_of(path)),
            "completion_window": "24h",
            "input_file_id": _sent(api, path, _name(file)),
            "metadata": described or None,
            "batchsite": extra,
        }
    if check:
        raise typer.Exit(_check(api, body, as_json=as_json))
    batch = api.post("batches", body, idempotency_key=secrets.token_hex(16))
    made(api, batch, watch=watch, strict=strict, as_json=as_json)


def made(
    api: Api, batch: dict[str, Any], *, watch: bool, strict: bool, as_json: bool
) -> None:
    """Tell of a new batch, and stay with it if that is wanted."""
    batch_id = str(batch["id"])
    say(f"Created {batch_id}{_called(batch)}.")
    if not watch:
        if as_json:
            write_json(batch)
        elif not sys.stdout.isatty():
            write_line(batch_id)
        else:
            say(f"  See how it goes:  batchsite watch {batch_id}")
        return
    if not as_json and not sys.stdout.isatty():
        write_line(batch_id)
    batch = watching.watch(api, batch_id)
    watching.tell_end(batch)
    if as_json:
        write_json(batch)
    raise typer.Exit(watching.exit_code(batch, strict=strict))


def _called(batch: dict[str, Any]) -> str:
    name = ours(batch).get("name")
    return f" ({one_line(name)})" if name else ""


def _source(file: Path, kind: str, delimiter: str) -> Source:
    if kind and not kind_of(f"table.{kind}"):
        raise Problem(f"--format {kind}: csv, tsv, jsonl or parquet.")
    if delimiter in ("\\t", "tab"):
        delimiter = "\t"
    if len(delimiter) > 1 or delimiter in ('"', "\r", "\n"):
        raise Problem(f"--delimiter {delimiter}: one character, or tab.")
    return Source(file, kind, delimiter)


@contextlib.contextmanager
def _requests(source: Source, template: Template | None, model: str) -> Iterator[Path]:
    """The batch file: made of a table, with another model, read from stdin, or as it is."""
    kind = source.kind or kind_of(source.path.name)
    if template is None and kind in ("csv", "tsv", "parquet"):
        raise Problem(
            f"{source.path} is a table: say what to ask of each row, as in"
            " --template 'Summarise: {text}' --model NAME"
        )
    with scratch() as path:
        if template is not None:
            with path.open("wb") as out:
                count = write_requests(source, template, out)
            say(f"{count:,} requests made of {source.path}.")
        elif model:
            with path.open("wb") as out:
                write_lines(source.path, out, with_model(model))
        elif str(source.path) == "-":
            with path.open("wb") as out, opened(source.path) as given:
                shutil.copyfileobj(given, out)
        else:
            path = source.path
        yield path


def _name(file: Path) -> str:
    """The file's name at the site, which takes those of batch files only."""
    if str(file) == "-":
        return "stdin.jsonl"
    return file.name if file.name.endswith(".jsonl") else f"{file.stem}.jsonl"


def endpoint_of(path: Path) -> str:
    """What the first line of a batch file calls; the site checks all others against it."""
    with opened(path) as stream:
        for line in read_lines(stream, limit=LINE_BYTES):
            with contextlib.suppress(
                ValueError, RecursionError, LookupError, TypeError
            ):
                if isinstance(url := json.loads(line.data or b"")["url"], str):
                    return url
            break
    return CHAT


def _sent(api: Api, path: Path, name: str) -> str:
    """Upload the file, with a bar; its id. Ctrl-C says that it can go on."""
    try:
        with watching.upload_display(name) as told:
            return upload(api, path, name=name, told=told, say=say)
    except KeyboardInterrupt:
        say(
            "Interrupted; no batch was made. The same command goes on with a large"
            " file where it was, for an hour."
        )
        raise typer.Exit(INTERRUPTED) from None


def _check(api: Api, body: dict[str, Any], *, as_json: bool) -> int:
    """A dry run in words; the exit code."""
    try:
        found = api.post("batches/validate", body, repeat=True)
    finally:
        # Nothing needs it any more, and each check brings another one.
        api.delete(path_of("files", body["input_file_id"]))
    code = 0 if found["valid"] else BAD_END
    if as_json:
        write_json(found)
        return code
    for error in found["errors"]["data"]:
        place = f"line {error['line']}" if error["line"] else "the file"
        write_line(one_line(f"{place}: {error['message']}"))
    if code:
        say(f"{found['error_count']:,} errors; nothing would run.", style="red")
        return code
    total = found["request_counts"]["total"]
    models = ", ".join(found["models"])
    say(f"{total:,} good requests for {models}.", style="green")
    if copies := found["duplicates"]:
        say(f"{copies:,} of them are exact copies and run once.")
    for line in watching.estimate_lines(found["estimate"] or {}):
        say(line)
    return code
