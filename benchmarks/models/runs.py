# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from batchsite.accounts.models import Team, User
from benchmarks.ids import new_run_id
from jobs.models import Batch
from jobs.models.leases import Leased, LeasedQuerySet
from jobs.models.owned import OwnedQuerySet
from jobs.models.words import words_of

from .suites import SuiteItem, SuiteVersion


class RunQuerySet(OwnedQuerySet["Run"]):
    pass


class Run(models.Model):
    """A suite's version put to models, each in some settings and some times over.

    `matrix_text` is what was asked for: {"models", "variants", "repeats"} in JSON, from
    which the same run is made again.
    """

    class State(models.TextChoices):
        RUNNING = "running"
        DONE = "done"
        CANCELLED = "cancelled"

    public_id = models.CharField(
        max_length=40, unique=True, default=new_run_id, editable=False
    )
    team = models.ForeignKey(Team, models.CASCADE, related_name="benchmark_runs")
    version = models.ForeignKey(SuiteVersion, models.RESTRICT, related_name="runs")
    name = models.CharField(max_length=100)
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.RUNNING
    )
    matrix_text = models.TextField()
    rerun_of = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="reruns"
    )
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="benchmark_runs"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["running", "done", "cancelled"]),
                name="run_state_known",
            ),
            models.CheckConstraint(
                condition=Q(state="running", ended_at__isnull=True)
                | ~Q(state="running") & Q(ended_at__isnull=False),
                name="run_ended_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def matrix(self) -> dict[str, Any]:
        """What was asked for."""
        found: dict[str, Any] = json.loads(self.matrix_text)
        return found


class CellQuerySet(LeasedQuerySet["Cell"]):
    def due(self) -> CellQuerySet:
        """Those to start, and those whose batch has ended and is to be scored."""
        ended = words_of("state", "running") & Q(batch__status__in=Batch.TERMINAL)
        lost = words_of("state", "running") & Q(batch=None)
        found = self.free().filter(words_of("state", "waiting") | ended | lost)
        return found.order_by("pk")


class Cell(Leased):
    """One model in one setting, once: a batch of the suite's items, and its figures.

    `scored` is how many items have their scores; a killed process is gone on with from
    there. `figures_text` is JSON, as benchmarks.figures makes it.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    run = models.ForeignKey(Run, models.CASCADE, related_name="cells")
    position = models.PositiveSmallIntegerField()
    model = models.CharField(max_length=200)
    variant = models.CharField(max_length=40)
    body_text = models.TextField(
        default="{}", help_text="JSON of what the variant changes in each body."
    )
    repeat = models.PositiveSmallIntegerField(default=1)
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.WAITING
    )
    problem = models.CharField(max_length=500, blank=True)
    batch = models.OneToOneField(
        Batch, models.SET_NULL, null=True, blank=True, related_name="benchmark_cell"
    )
    scored = models.PositiveIntegerField(default=0)
    figures_text = models.TextField(default="{}")
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = CellQuerySet.as_manager()

    class Meta:
        ordering = ["position"]
        indexes = [
            # read every few seconds by the control workers
            models.Index(
                fields=["id"],
                name="cell_open",
                condition=Q(state__in=["waiting", "running"]),
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["run", "position"], name="cell_place_once"),
            models.CheckConstraint(
                condition=Q(
                    state__in=["waiting", "running", "done", "failed", "cancelled"]
                ),
                name="cell_state_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.run}: {self.model}, {self.variant}, {self.repeat}"

    @property
    def body(self) -> dict[str, Any]:
        """What the variant changes in each request's body."""
        found: dict[str, Any] = json.loads(self.body_text)
        return found

    @property
    def figures(self) -> dict[str, Any]:
        """What came of it; nothing before it is done."""
        found: dict[str, Any] = json.loads(self.figures_text)
        return found


class Score(models.Model):
    """What each metric says of a cell's answer to an item: {name: 0 to 1} in JSON.

    A metric that has nothing to say of the item is left out.
    """

    # The constraint below is an index that begins with the cell.
    cell = models.ForeignKey(
        Cell, models.CASCADE, related_name="scores", db_index=False
    )
    item = models.ForeignKey(SuiteItem, models.CASCADE, related_name="scores")
    index = models.PositiveIntegerField(help_text="The item's place in its suite.")
    answered = models.BooleanField(help_text="Whether the engine answered at all.")
    values_text = models.TextField(default="{}")

    class Meta:
        ordering = ["index"]
        constraints = [
            models.UniqueConstraint(fields=["cell", "index"], name="score_once")
        ]

    def __str__(self) -> str:
        return f"{self.cell_id}/{self.index}"

    @property
    def values(self) -> dict[str, float]:
        """Each metric's word."""
        found: dict[str, float] = json.loads(self.values_text)
        return found
