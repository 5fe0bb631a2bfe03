# SPDX-License-Identifier: Apache-2.0
"""Versions of datasets, made by control workers: asked for, begun, and begun anew."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from batchsite.accounts.models import User
from jobs import auditing
from jobs.models.engines import database_time
from jobs.refusals import Refused
from jobs.row_checks.parameters import bad

from .datasets import build_version
from .models import Dataset, DatasetBuild, ReviewQueue
from .specs import Spec, check_spec

LEASE_SECONDS = 120
BEAT_SECONDS = 30.0
MOST_WAITING = 20
TRIES = 3
AT_ONCE = 10
State = DatasetBuild.State


def ask(
    *,
    dataset: Dataset,
    queues: Sequence[ReviewQueue],
    spec: Spec,
    user: User | None,
    address: str | None = None,
) -> DatasetBuild:
    """Have the next version of the dataset made; Refused for what cannot be made so."""
    check_spec(dataset, queues, spec)
    with transaction.atomic():
        Dataset.objects.select_for_update().get(pk=dataset.pk)
        if (
            DatasetBuild.objects.filter(dataset=dataset, state=State.WAITING).count()
            >= MOST_WAITING
        ):
            raise bad("dataset", f"{MOST_WAITING} versions of it are being made.")
        build = DatasetBuild.objects.create(
            dataset=dataset, spec_text=json.dumps(asdict(spec)), created_by=user
        )
        build.queues.set(queues)
        auditing.note("dataset.ask", dataset, user, address, format=spec.format)
    return build


def wanted() -> bool:
    """Whether there is a version to make."""
    return DatasetBuild.objects.due().exists()


def run() -> str:
    """Make one version; another beat makes the next one."""
    build = _take()
    if build is None:
        return "no version was to be made"
    return f"{build.dataset.public_id}: {make(build)}"


def _take() -> DatasetBuild | None:
    """The next one, held from now on; None when there is none."""
    due = DatasetBuild.objects.due().select_related("dataset__team", "created_by")
    for build in due[:AT_ONCE]:
        held = DatasetBuild.objects.due().filter(pk=build.pk)
        until = database_time(LEASE_SECONDS)
        if held.update(taken_until=until, tries=F("tries") + 1):
            build.tries += 1
            return build
    return None


def make(build: DatasetBuild) -> str:
    """Make a held one; what came of it, in words."""
    if build.tries > TRIES:
        _end(build, problem=f"It was begun {TRIES} times and never came to its end.")
        return "given up"
    queues = build.queues.select_related("rubric_version__rubric").order_by("pk")
    try:
        version = build_version(
            dataset=build.dataset,
            queues=list(queues),
            spec=Spec(**build.spec),
            user=build.created_by,
            beat=_beat(build),
            build=build,
        )
    except Refused as refused:
        _end(build, problem=refused.message)
        return "refused"
    return f"version {version.number}"


def _beat(build: DatasetBuild) -> Callable[[], None]:
    """Holds the build for longer, now and then, while it is being made."""
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last >= BEAT_SECONDS:
            last = time.monotonic()
            rows = DatasetBuild.objects.filter(pk=build.pk)
            rows.update(taken_until=database_time(LEASE_SECONDS))

    return beat


def _end(build: DatasetBuild, *, problem: str) -> None:
    DatasetBuild.objects.filter(pk=build.pk, state=State.WAITING).update(
        state=State.FAILED,
        problem=problem[:500],
        taken_until=None,
        ended_at=timezone.now(),
    )
