# SPDX-License-Identifier: Apache-2.0
"""A dry run: what intake would say of a file, and what the batch would cost."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.files.storage import default_storage

from batchsite.accounts.models import Team

from . import gates
from .checks import Errors, Plan, check_file, file_problem, rules_for
from .estimates import Estimate, estimate
from .models import BatchFile
from .ordering import RUNS_NOT


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found; `estimate` and `duplicates` only for a file without errors.

    `errors` are the first 1,000 of `error_count`, as OpenAI's error objects; `kinds`
    counts all of them by code. `requests` counts those of each model of a good file.
    """

    errors: list[dict[str, Any]]
    error_count: int
    total: int
    models: list[str]
    duplicates: int | None
    estimate: Estimate | None
    kinds: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)


def dry_run(
    *,
    team: Team,
    input_file_id: str,
    endpoint: str,
    allow_mixed_models: bool = False,
    dedupe: bool = True,
    report: IO[bytes] | None = None,
) -> Verdict:
    """Check a file as a batch of the team would, without making one.

    Needs no worker and writes nothing. The answer holds for the models that can be
    used now. `report` takes every error, a line each. LimitReached while this process
    makes another one.
    """
    errors = Errors(report)
    file = BatchFile.objects.visible_to_team(team).find(input_file_id)
    if problem := file_problem(file, input_file_id, team):
        errors.add(problem)
        return Verdict(errors.shown, 1, 0, [], None, None, errors.kinds)
    assert file is not None  # else file_problem had told
    rules = rules_for(team, endpoint=endpoint, mixed=allow_mixed_models, dedupe=dedupe)
    settings.SPOOL_DIR.mkdir(parents=True, exist_ok=True)
    with (
        gates.place(gates.DRY_RUNS, "checking another file"),
        # Named as intake's folders are, so that what a killed process left is swept.
        tempfile.TemporaryDirectory(prefix="intake-", dir=settings.SPOOL_DIR) as folder,
        default_storage.open(file.storage_name) as stream,
    ):
        plan = check_file(
            stream, rules, folder=Path(folder), errors=errors, between=lambda: None
        )
    good = not errors.count
    return Verdict(
        errors.shown,
        errors.count,
        plan.lines,
        plan.models,
        copies(plan) if good else None,
        estimate(plan, endpoint=endpoint, team=team) if good else None,
        errors.kinds,
        by_model(plan) if good else {},
    )


def by_model(plan: Plan) -> dict[str, int]:
    """How many requests each model has."""
    counts = Counter(plan.model_of)
    return {model: counts[place] for place, model in enumerate(plan.models)}


def copies(plan: Plan) -> int:
    """Requests that need not run because an earlier one is the same."""
    return sum(1 for place in plan.order.run_order if place == RUNS_NOT)
