# SPDX-License-Identifier: Apache-2.0
"""A table and a template become a batch file."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from django.core.files.storage import default_storage

from batchsite.accounts.models import User

from . import file_store, gates
from .checks import requests_limit
from .models import BatchFile
from .refusals import Refused
from .tables import Row, Table, TableError, kind_of, read_table
from .templating import Ids, RowError, Template, encoded, request_line
from .uploads import SpooledUpload, size_limit

SHOWN = 3
PROBLEMS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row becomes no request."""

    row: int
    column: str
    message: str


@dataclass(slots=True)
class Findings:
    """What became of the rows: the first requests, the first problems, and counts."""

    rows: int = 0
    problem_count: int = 0
    problems: list[Problem] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    first: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    @property
    def good(self) -> int:
        """Rows that become requests."""
        return self.rows - self.problem_count

    def add(self, problem: Problem) -> None:
        """Note one more."""
        self.problem_count += 1
        self.kinds[problem.message] += 1
        if len(self.problems) < PROBLEMS_SHOWN:
            self.problems.append(problem)


@contextlib.contextmanager
def opened(file: BatchFile) -> Iterator[Table]:
    """The table in a stored file; Refused, also while its rows are read, for a bad one."""
    try:
        with default_storage.open(file.storage_name) as stream:
            yield read_table(stream, kind_of(file.filename))
    except TableError as error:
        raise Refused(str(error)) from error


def examine(file: BatchFile, template: Template) -> Findings:
    """What the template makes of each row; nothing is kept. Refused as by `make`."""
    found = Findings()
    with _place(file), opened(file) as table:
        for _ in lines(table, template, found, most=requests_limit(file.team)):
            pass
    return found


def make(
    *, file: BatchFile, user: User, template: Template, skip: bool
) -> tuple[BatchFile | None, Findings]:
    """The batch file of the table's rows, and what was found; None with bad rows.

    With `skip` these are left out. The same table and template give the file that they
    gave before. Refused when the table cannot be read, has too many rows or none that
    is good, or when the file would be refused.
    """
    found = Findings()
    name = f"{PurePath(file.filename).stem}.jsonl"
    spool = SpooledUpload(name=name, content_type="application/jsonl", charset=None)
    with _place(file), contextlib.closing(spool), opened(file) as table:
        limit = size_limit(file.team)
        for line in lines(table, template, found, most=requests_limit(file.team)):
            spool.take(line)
            spool.size = (spool.size or 0) + len(line)
            if spool.size > limit:
                raise Refused(
                    f"The requests make a file of more than {limit:,} bytes, which is"
                    f" the limit of {file.team}. Split the table."
                )
        if found.problem_count and not skip:
            return None, found
        if not found.good:
            raise Refused("No row of the table becomes a request.")
        stored = file_store.store_once(
            team=file.team, user=user, upload=spool, purpose=BatchFile.Purpose.BATCH
        )
        return stored, found


def lines(
    table: Table, template: Template, found: Findings, *, most: int
) -> Iterator[bytes]:
    """The lines of the batch file; fills `found`. Refused for more than `most` rows."""
    ids = Ids()
    for row in table.rows:
        found.rows += 1
        if found.rows > most:
            raise Refused(
                f"The table has more than {most:,} rows, the most requests of a batch."
                " Split it."
            )
        try:
            line = _line(row, template, ids)
        except RowError as error:
            found.add(Problem(row.number, error.column or "", str(error)))
            continue
        if len(found.first) < SHOWN:
            found.first.append((row.number, line))
        yield encoded(line)


def _line(row: Row, template: Template, ids: Ids) -> dict[str, Any]:
    if row.problem:
        raise RowError(row.problem)
    line = request_line(row.cells, template, number=row.number)
    if ids.earlier(line["custom_id"], row.number):
        # The same words for each such row: they are counted by their words.
        raise RowError(
            f"The column “{template.custom_id}” has a value that an earlier row has"
            " too: each custom_id must be another one.",
            template.custom_id,
        )
    return line


def _place(file: BatchFile) -> contextlib.AbstractContextManager[None]:
    return gates.place(gates.FILES_WRITTEN, "reading other tables", size=file.bytes)
