# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.db import models
from django.utils import timezone

from .batches import Batch
from .engines import Engine


class BatchEvent(models.Model):
    """History of a batch: each status move and each notable fact; append-only."""

    batch = models.ForeignKey(Batch, models.CASCADE, related_name="events")
    kind = models.CharField(max_length=32)
    old_status = models.CharField(max_length=12, blank=True)
    new_status = models.CharField(max_length=12, blank=True)
    message = models.TextField(blank=True)
    data = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.batch_id} {self.kind} {self.new_status}".strip()


class EngineEvent(models.Model):
    """An engine's timeline: each move of its state, and what happened to it.

    Append-only, written by the engine's host, and by what people ask of the engine.
    `seconds` is how long the state lasted that ended with this event; None where nothing
    ended. Models and people go by their names, so that the history outlives them.
    """

    class Kind(models.TextChoices):
        MOVED = "moved"
        DIED = "died"
        HUNG = "hung"
        LOAD_FAILED = "load_failed"
        PAUSED = "paused"
        RESUMED = "resumed"
        MEMORY = "memory"
        HOST = "host"
        ASK_PAUSE = "ask_pause"
        ASK_DRAIN = "ask_drain"
        ASK_RESUME = "ask_resume"
        ASK_RESTART = "ask_restart"

    # Ends that nobody asked for: what was in flight is under suspicion.
    DEATHS = (Kind.DIED, Kind.HUNG)

    engine = models.ForeignKey(Engine, models.CASCADE, related_name="events")
    at = models.DateTimeField(default=timezone.now, editable=False)
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.MOVED)
    old_state = models.CharField(max_length=10, blank=True)
    new_state = models.CharField(max_length=10, blank=True)
    model = models.CharField(max_length=200, blank=True)
    generation = models.PositiveIntegerField(default=0)
    reason = models.TextField(blank=True)
    by = models.CharField(
        max_length=254, blank=True, help_text="Who asked for it, where people did."
    )
    seconds = models.FloatField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        indexes = [
            # A card's history reads an engine's last events.
            models.Index(fields=["engine", "-id"], name="event_of_engine"),
            # A feeder asks how a start ended.
            models.Index(
                fields=["engine", "generation"],
                name="death_of_engine",
                condition=models.Q(kind__in=["died", "hung"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.engine_id} {self.kind} {self.new_state}".strip()
