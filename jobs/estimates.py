# SPDX-License-Identifier: Apache-2.0
"""What past work says about coming work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .checks import Plan
from .models import Measurement
from .ordering import RUNS_NOT

# Used for sizing chunks only, until the model has been measured here.
DEFAULT_TOKENS_PER_SECOND = 1000.0
NEWEST = 20
# No range is narrower than this part of its middle, to either side.
LEAST_SPREAD = 0.1
# These endpoints answer with numbers, not with tokens.
TOKENLESS = frozenset({"/v1/embeddings", "/v1/score", "/v1/rerank"})


@dataclass(frozen=True, slots=True)
class Speed:
    """How a model ran on one engine, over its newest measurements.

    Rows and output tokens a second, the slow and the fast fifth of the measurements
    as parts of that, and the engine's GPUs (0: not known).
    """

    measurements: int
    rows: float
    tokens: float
    slow: float
    fast: float
    gpus: int

    @property
    def tokens_a_row(self) -> float:
        """Mean output tokens of a request."""
        return self.tokens / self.rows if self.rows else 0.0

    def seconds(self, rows: float, output_tokens: float) -> float:
        """How long so much work takes alone on one engine."""
        return output_tokens / self.tokens if self.tokens else rows / self.rows


def speed_of(model: str) -> Speed | None:
    """The model's speed; None when it never was measured here."""
    taken = list(
        Measurement.objects.filter(served_model__name=model, rows__gt=0)
        .select_related("engine")
        .order_by("-pk")[:NEWEST]
    )
    if not taken:
        return None
    seconds = sum(one.seconds for one in taken)
    rows = sum(one.rows for one in taken) / seconds
    tokens = sum(one.output_tokens for one in taken) / seconds
    rates = sorted(
        (one.output_tokens if tokens else one.rows) / one.seconds for one in taken
    )
    fifth = len(rates) // 5
    middle = tokens or rows
    engine = taken[0].engine
    gpus = engine.gauges.get("gpus") if engine else None
    return Speed(
        len(taken),
        rows,
        tokens,
        min(rates[fifth] / middle, 1 - LEAST_SPREAD),
        max(rates[-1 - fifth] / middle, 1 + LEAST_SPREAD),
        len(gpus) if isinstance(gpus, list) else 0,
    )


def tokens_per_second(model: str) -> float:
    """Output tokens a second of the model, or a guess that is good enough for chunks."""
    speed = speed_of(model)
    return speed.tokens if speed and speed.tokens else DEFAULT_TOKENS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a file will cost on one engine that runs nothing else; None: not known.

    `output_tokens_most` is what the requests allow, `output_tokens` what answers of
    these models usually have. `basis` says in words where the figures come from.
    """

    input_tokens: int
    output_tokens_most: int | None
    output_tokens: int | None
    seconds: int | None
    seconds_low: int | None
    seconds_high: int | None
    gpu_hours: float | None
    basis: str


@dataclass(frozen=True, slots=True)
class _Share:
    """One model's part of a file."""

    model: str
    rows: int
    output_tokens: float
    speed: Speed | None


def estimate(plan: Plan, *, endpoint: str) -> Estimate:
    """What the requests of a checked file will cost; copies cost nothing."""
    running = [i for i, at in enumerate(plan.order.run_order) if at != RUNS_NOT]
    by_model: list[list[int]] = [[] for _ in plan.models]
    for index in running:
        by_model[plan.model_of[index]].append(index)
    shares = [
        _share(plan, model, rows, endpoint)
        for model, rows in zip(plan.models, by_model, strict=True)
    ]
    limited = endpoint in TOKENLESS or all(plan.limit[i] for i in running)
    most = 0 if endpoint in TOKENLESS else sum(plan.limit[i] for i in running)
    unmeasured = [share.model for share in shares if share.speed is None]
    known = [(s, s.speed) for s in shares if s.speed is not None]
    middle = low = high = gpu_seconds = 0.0
    for share, speed in known:
        seconds = speed.seconds(share.rows, share.output_tokens)
        middle += seconds
        low += seconds / speed.fast
        high += seconds / speed.slow
        gpu_seconds += seconds * speed.gpus
    tokens = round(sum(share.output_tokens for share in shares))
    guess = bool(unmeasured)
    has_gpus = not guess and all(speed.gpus for _, speed in known)
    return Estimate(
        input_tokens=sum(plan.prompt_tokens(i) for i in running),
        output_tokens_most=most if limited else None,
        output_tokens=None if guess and endpoint not in TOKENLESS else tokens,
        seconds=None if guess else round(middle),
        seconds_low=None if guess else round(low),
        seconds_high=None if guess else round(high),
        gpu_hours=round(gpu_seconds / 3600, 4) if has_gpus else None,
        basis=_basis(shares, unmeasured),
    )


def _share(plan: Plan, model: str, rows: Sequence[int], endpoint: str) -> _Share:
    """A request answers as usual, or as much as it allows if that is less."""
    speed = speed_of(model)
    if speed is None or endpoint in TOKENLESS:
        return _Share(model, len(rows), 0.0, speed)
    usual = speed.tokens_a_row
    tokens = sum(min(usual, plan.limit[i] or usual) for i in rows)
    return _Share(model, len(rows), tokens, speed)


def _basis(shares: Sequence[_Share], unmeasured: Sequence[str]) -> str:
    words = ["Input tokens are counted as four characters each."]
    words += [
        f"Time and answers: the newest {share.speed.measurements} measurements of"
        f" {share.model} on this site, each about a minute of work."
        for share in shares
        if share.speed is not None
    ]
    if unmeasured:
        words.append(
            f"{' and '.join(unmeasured)} never ran here for a minute, so that time and"
            " answers are not known."
        )
    else:
        words.append("The time is that of one engine; waiting for it is not included.")
    return " ".join(words)
