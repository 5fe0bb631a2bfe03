# SPDX-License-Identifier: Apache-2.0
"""What a good file will cost, and how soon its models can run it, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from jobs.estimates import Estimate
from jobs.models import Engine, EngineEvent
from jobs.obstacles import Site, read_site
from jobs.templatetags.figures import duration, printable

from .progress import spoken_range

LOADS = 5


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model of the file, its requests, and whether it can run now."""

    name: str
    requests: int
    words: str
    colour: str
    picture: str


@dataclass(frozen=True, slots=True)
class Expected:
    """The estimate, with the times in words; "" where they are not known."""

    estimate: Estimate
    time: str
    why_no_time: str
    gpu_time: str


def model_states(requests: Mapping[str, int]) -> list[ModelState]:
    """The models, those with most requests first."""
    site = read_site()
    return [
        ModelState(name, count, *_state(name, site))
        for name, count in sorted(requests.items(), key=lambda pair: -pair[1])
    ]


def _state(model: str, site: Site) -> tuple[str, str, str]:
    """Words, colour and picture."""
    if reason := site.why_waiting(model):
        return f"waits: {printable(reason)}", "amber", "alert"
    ready = site.ready(model)
    for engine in ready:
        if engine.kind == Engine.Kind.EXTERNAL:
            return f"served by {engine.name}", "green", "check"
        if model in engine.served_names():
            return f"loaded on {engine.name}", "green", "check"
    seconds = load_seconds(model, ready)
    swap = f"needs a swap on {ready[0].name}"
    if seconds is None:
        return f"{swap}; how long it loads is not known yet", "blue", "load"
    return f"{swap} of about {duration(seconds)}", "blue", "load"


def load_seconds(model: str, engines: list[Engine]) -> float | None:
    """How long the model's last loads took on these engines; None: never loaded."""
    State = Engine.State
    loads = EngineEvent.objects.filter(
        engine__in=[engine.pk for engine in engines],
        model=model,
        old_state=State.LOADING,
        new_state=State.READY,
        seconds__isnull=False,
    )
    took = list(loads.order_by("-id").values_list("seconds", flat=True)[:LOADS])
    return median(took) if took else None  # type: ignore[type-var]  # none is None


def expected(estimate: Estimate, models: list[str]) -> Expected:
    """The estimate in words."""
    time = why = gpu = ""
    if estimate.seconds_low is not None and estimate.seconds_high is not None:
        time = spoken_range(estimate.seconds_low, estimate.seconds_high)
    else:
        why = (
            "not known: this model has not run here"
            if len(models) == 1
            else "not known: not all of these models have run here"
        )
    if estimate.gpu_hours is not None:
        gpu = duration(estimate.gpu_hours * 3600)
    return Expected(estimate, time, why, gpu)
