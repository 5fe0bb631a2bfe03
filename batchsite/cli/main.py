# SPDX-License-Identifier: Apache-2.0
"""The script `batchsite`: a client of any Batchsite, without Django."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Annotated

import typer

from . import access, benching, changing, looking, reading, submitting
from .printing import say, write_line
from .problems import Problem
from .session import leave

app = typer.Typer(
    help="Send files of requests to a Batchsite, watch them, and fetch their answers.",
    epilog="Exit codes: 0 done or completed, 1 the batch did not complete or a"
    " model is worse than the baseline,"
    " 2 wrong options or file, 3 no site or no valid key, 4 the site refused,"
    " 130 interrupted.",
    no_args_is_help=True,
    # A traceback with local variables would show the key.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    access.login,
    access.logout,
    looking.models,
    submitting.convert,
    submitting.submit,
    looking.status,
    looking.watch,
    reading.results,
    reading.errors,
    changing.retry,
    changing.cancel,
):
    app.command()(command)
app.add_typer(benching.bench, name="bench")


def _version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        found = importlib.metadata.version("batchsite")
    except importlib.metadata.PackageNotFoundError:
        found = "from a checkout"
    write_line(f"batchsite {found}")
    raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """What stands before the command."""


def main() -> None:
    """Run the command; what went wrong is one sentence and an exit code."""
    try:
        app(prog_name="batchsite")
    except Problem as problem:
        say(str(problem), style="red")
        sys.exit(problem.exit_code)
    finally:
        leave()
