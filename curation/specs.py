# SPDX-License-Identifier: Apache-2.0
"""How a version of a dataset is made, and what cannot be made so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.row_checks.parameters import bad, choice

from .models import Dataset, ReviewQueue
from .parts import PARTS
from .records import FORMATS, Accept, read_accept

RAW, FEW_SHOT = "raw", "few_shot"
# What answers can become that were marked and not judged.
OF_MARKS = ("sft", "reward", FEW_SHOT)
ALL_FORMATS = (*FORMATS, FEW_SHOT, RAW)


@dataclass(frozen=True, slots=True)
class Spec:
    """How a version is made: `accept` is what records.read_accept takes.

    `test_share`, 0 to 0.9, of the items become the test file; which ones follows from
    their keys and `salt`. `alike`, 0.5 to 1, leaves out what is as like as that to an
    item before; `redact` replaces what looks like personal data. Of examples (few_shot)
    there are up to `most`, which take up to `tokens` together; `pseudonyms` stand for
    reviewers in raw rows. With `marks` answers that are marked so become rows, too:
    {"starred": true, "least": 8, "tag": "…"}.
    """

    format: str
    accept: Mapping[str, Any] = field(default_factory=dict)
    test_share: float = 0.0
    salt: str = ""
    file_format: str = "jsonl"
    alike: float | None = None
    redact: bool = False
    most: int = 8
    tokens: int = 1500
    marks: Mapping[str, Any] | None = None
    pseudonyms: bool = True


def check_spec(
    dataset: Dataset, queues: Sequence[ReviewQueue], spec: Spec
) -> dict[int, Accept]:
    """Which items of each queue are good enough; Refused for what cannot be made so."""
    choice("format", spec.format, ALL_FORMATS)
    choice("file_format", spec.file_format, PARTS)
    if spec.marks is not None:
        _check_marks(spec)
    elif not queues:
        raise bad("queues", "name a queue at least.", "empty_array")
    if any(queue.team_id != dataset.team_id for queue in queues):
        raise bad("queues", "they must be of the dataset's team.")
    if not 0 <= spec.test_share <= 0.9:
        raise bad("test_share", "expected 0 to 0.9.")
    if spec.alike is not None and not 0.5 <= spec.alike <= 1:
        raise bad("alike", "expected 0.5 to 1.")
    return {
        queue.pk: read_accept("accept", spec.accept, queue.rubric_version.questions)
        for queue in queues
    }


def _check_marks(spec: Spec) -> None:
    """Refuse what cannot be made of answers that nobody was asked about."""
    assert spec.marks is not None
    if spec.format not in OF_MARKS:
        why = f"of marked answers there are {', '.join(OF_MARKS)} rows."
        raise bad("format", why)
    for name in spec.marks:
        if name not in ("starred", "least", "tag"):
            raise bad(f"marks.{name[:50]}", "no mark has this.", "unknown_parameter")
    starred = spec.marks.get("starred", False)
    if not isinstance(starred, bool):
        raise bad("marks.starred", "expected a boolean.", "invalid_type")
    least, tag = spec.marks.get("least"), spec.marks.get("tag", "")
    if least is not None and (isinstance(least, bool) or least not in range(1, 11)):
        raise bad("marks.least", "expected 1 to 10.")
    if not isinstance(tag, str) or "\0" in tag:
        raise bad("marks.tag", "expected a string.", "invalid_type")
