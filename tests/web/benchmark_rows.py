# SPDX-License-Identifier: Apache-2.0
"""Suites and runs, in the states that pages show differently."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

from django.utils import timezone

from batchsite.accounts.models import Team, User
from benchmarks import item_lines, running, suites
from benchmarks.models import Cell
from benchmarks.running import Variant
from benchmarks.sources import Source, of_ready
from jobs.models import Batch, ServedModel

from . import rows

LONG = "an-organisation/" + "m" * 60
TEXT = "wordwithoutanyspace" * 12


def answer(cell: Cell, *texts: str, failed: int = 0) -> Batch:
    """The cell's batch has ended with these answers, and so many that failed after."""
    cell.refresh_from_db()
    batch = cell.batch
    assert batch is not None
    now = timezone.now()
    Batch.objects.filter(pk=batch.pk).update(
        status="in_progress", in_progress_at=now, total=len(texts) + failed
    )
    batch.refresh_from_db()
    error = json.dumps({"error": {"message": "too long", "type": "BadRequestError"}})
    rows.answer(batch, [rows.chat(text) for text in texts], failed=[error] * failed)
    Batch.objects.filter(pk=batch.pk).update(
        status="completed",
        closing_reason="done",
        closed_at=now,
        completed_at=now,
        finalizing_at=now + timedelta(seconds=2),
    )
    return batch


def measured(team: Team, owner: User) -> dict[str, str]:
    """A suite that ships, one of long words, a run that is done and one that runs."""
    for name in ("tiny", LONG):
        ServedModel.objects.get_or_create(name=name, defaults={"source": name})
    sums = suites.create_suite(
        team=team, name="Arithmetic", source=of_ready("arithmetic"), user=owner
    )
    row: dict[str, Any] = {
        "custom_id": "x" * 200,
        "input": f"# {TEXT}",
        "reference": TEXT,
        "metrics": ["exact", "token_f1"],
        "tags": ["t" * 50, "<b>"],
    }
    lines = [row, {"input": "short", "reference": "yes", "metrics": ["exact"]}]
    content = b"\n".join(json.dumps(line).encode() for line in lines)
    source = Source(item_lines.read(io.BytesIO(content)), {"kind": "file"})
    long = suites.create_suite(team=team, name="W" * 100, source=source, user=owner)
    old = suites.create_suite(
        team=team, name="Old", source=of_ready("extraction"), user=owner
    )
    suites.archive_suite(suite=old, user=owner, archived=True)
    done = running.ask(version=long.latest, models=["tiny", LONG], user=owner)
    going = running.ask(
        version=sums.latest,
        models=["tiny", LONG],
        variants=[Variant("greedy", {"temperature": 0}), Variant("warm")],
        repeats=2,
        user=owner,
    )
    running.work()
    first, second = done.cells.order_by("position")
    answer(first, TEXT, "yes")
    answer(second, f"# {TEXT} <img src=x onerror=alert(1)>", failed=1)
    running.work()
    Cell.objects.filter(run=going, position=0).update(
        state="failed", problem="Its batch failed: " + "long " * 80
    )
    return {
        "suite": sums.public_id,
        "long_suite": long.public_id,
        "old_suite": old.public_id,
        "run": done.public_id,
        "going": going.public_id,
    }
