# SPDX-License-Identifier: Apache-2.0
"""How fast a model runs here, from its measurements.

Each measurement weighs by its size and its age. Those of the present set-up come first:
the same hardware, engine arguments and revision, with about as many requests at once.
Where they are too few, others help out, and that is said.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from django.utils import timezone

from .models import Engine, Measurement, ServedModel
from .sampling import arguments_of, hardware_of

# Used for sizing chunks only, until the model has been measured here.
DEFAULT_TOKENS_PER_SECOND = 1000.0
NEWEST = 200
# A measurement weighs half as much after so many days.
HALF_LIFE = 14.0
# So much speaks for itself; of less, the next best measurements are added.
ENOUGH_ROWS = 100
# No range is narrower than this part of its middle, to either side, nor one of few
# answers than this.
LEAST_SPREAD = 0.1
MOST_SPREAD = 0.5
# The price of a prompt token is told apart from that of an answer's token only where
# at least so many measurements vary so much in their mixture.
FIT_LEAST = 6
FIT_VARIES = 0.02
FIT_GAIN = 0.8


@dataclass(frozen=True, slots=True)
class Taken:
    """One measurement; `weight` is its age's, `gpus` 0 where they are not known."""

    rows: float
    fresh: float
    cached: float
    output: float
    seconds: float
    latency: float
    concurrency: float
    weight: float
    hardware: str = ""
    is_current: bool = True
    window: int = 0
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Speed:
    """How a model runs on one engine.

    Requests and output tokens a second; seconds a prompt token that is not cached and
    an output token, where these could be told apart; mean latency in seconds; the part
    of prompt tokens that is cached; the slow and the fast fifth of the measurements as
    parts of the middle; the engine's GPUs (0: not known); the basis in words.
    """

    rows: float
    tokens: float
    a_prompt_token: float
    an_output_token: float
    latency: float
    cached: float
    slow: float
    fast: float
    gpus: int
    basis: str

    @property
    def tokens_a_row(self) -> float:
        """Mean output tokens of a request."""
        return self.tokens / self.rows if self.rows else 0.0

    def seconds(self, rows: float, input_tokens: float, output_tokens: float) -> float:
        """How long so much work takes alone on one engine, never less than one answer."""
        if not rows:
            return 0.0
        if self.an_output_token:
            fresh = input_tokens * (1 - self.cached)
            work = fresh * self.a_prompt_token + output_tokens * self.an_output_token
        elif self.tokens:
            work = output_tokens / self.tokens
        else:
            work = rows / self.rows
        one = self.latency
        if self.tokens_a_row:
            one *= output_tokens / rows / self.tokens_a_row
        return max(work, one)


def speed_of(model: str, *, rows: int = 0) -> Speed | None:
    """The model's speed; None when it never was measured here.

    `rows`: how many requests there are to run, where they may be fewer than an engine
    runs at once.
    """
    found = history(model)
    return speed_from(found, model=model, rows=rows) if found else None


def tokens_per_second(model: str) -> float:
    """Output tokens a second of the model, or a guess that is good enough for chunks."""
    speed = speed_of(model)
    return speed.tokens if speed and speed.tokens else DEFAULT_TOKENS_PER_SECOND


def history(model: str) -> list[Taken]:
    """The model's newest measurements that have answers."""
    served = ServedModel.objects.filter(name=model).first()
    if served is None:
        return []
    measured = Measurement.objects.filter(served_model=served, rows__gt=0)
    newest = list(measured.order_by("-created_at")[:NEWEST])
    keys = {one.engine_id for one in newest if one.engine_id}
    engines = Engine.objects.in_bulk(keys) if keys else {}
    now = timezone.now()
    return [
        Taken(
            rows=one.rows,
            fresh=max(one.input_tokens - one.cached_tokens, 0),
            cached=min(one.cached_tokens, one.input_tokens),
            output=one.output_tokens,
            seconds=one.seconds,
            latency=one.latency,
            concurrency=one.concurrency,
            weight=0.5 ** (max((now - one.created_at).days, 0) / HALF_LIFE),
            hardware=one.hardware,
            is_current=_is_current(one, served, engines.get(one.engine_id or 0)),
            window=one.window,
            gpus=_gpus(engines.get(one.engine_id or 0)),
        )
        for one in newest
    ]


def _is_current(one: Measurement, served: ServedModel, engine: Engine | None) -> bool:
    """Whether the engine still has the hardware and arguments of that time."""
    if engine is None or hardware_of(engine) not in ("", one.hardware):
        return False
    if engine.kind == Engine.Kind.EXTERNAL:
        return True
    now = (arguments_of(served), served.revision)
    return now == (one.engine_args, one.revision)


def _gpus(engine: Engine | None) -> int:
    gpus = engine.gauges.get("gpus") if engine else None
    return len(gpus) if isinstance(gpus, list) else 0


def speed_from(found: Sequence[Taken], *, model: str, rows: int = 0) -> Speed:
    """The speed that measurements tell, newest first, at least one of them."""
    chosen, why = choose(found, rows=rows)
    weight = sum(one.weight * one.seconds for one in chosen)

    def mean(value: Callable[[Taken], float]) -> float:
        return sum(one.weight * value(one) for one in chosen)

    prompt, output = fit(chosen)
    inputs = mean(lambda one: one.fresh + one.cached)
    speed = Speed(
        rows=mean(lambda one: one.rows) / weight,
        tokens=mean(lambda one: one.output) / weight,
        a_prompt_token=prompt,
        an_output_token=output,
        latency=mean(lambda one: one.rows * one.latency) / mean(lambda one: one.rows),
        cached=mean(lambda one: one.cached) / inputs if inputs else 0.0,
        slow=1.0,
        fast=1.0,
        gpus=chosen[0].gpus,
        basis=_basis(model, chosen, why, fitted=bool(output)),
    )
    slow, fast = _spread(chosen, speed)
    return replace(speed, slow=slow, fast=fast)


def choose(found: Sequence[Taken], *, rows: int = 0) -> tuple[list[Taken], str]:
    """The measurements that tell most of the coming work, and what is odd about them.

    The hardware is that on which most of the recent work of the present set-up ran.
    """
    current = [one for one in found if one.is_current]
    done: defaultdict[str, float] = defaultdict(float)
    for one in current or found:
        done[one.hardware] += one.weight * one.seconds
    hardware = max(done, key=lambda name: done[name])
    same = [one for one in current if one.hardware == hardware]
    window = max((one.window for one in same or found), default=0)
    wanted = min(rows, window) if rows else window
    tiers: tuple[tuple[str, list[Taken]], ...] = (
        ("", [one for one in same if _is_like(one, wanted)]),
        ("with more or fewer requests at once", same),
        (
            "with other engine arguments",
            [one for one in found if one.hardware == hardware],
        ),
        ("on other hardware", list(found)),
    )
    # Each holds the one before; the last one holds all there are.
    return next(
        (tier, why)
        for why, tier in tiers
        if sum(one.rows for one in tier) >= ENOUGH_ROWS or len(tier) == len(found)
    )


def _is_like(one: Taken, wanted: float) -> bool:
    """Whether it had about as many requests at once: half to twice as many."""
    if not wanted or not one.concurrency:
        return True
    return abs(math.log2(one.concurrency / wanted)) <= 1


def fit(taken: Sequence[Taken]) -> tuple[float, float]:
    """Seconds a prompt token and an output token; zeros where they cannot be told apart.

    Weighted least squares of seconds = a * prompt + b * output without a constant. The
    error of a measurement's seconds grows with their root, hence the weights. Not used
    where the measurements are few or alike in their mixture, where a price came out
    negative, or where it explains them hardly better than output tokens alone.
    """
    used = [one for one in taken if one.fresh and one.output]
    if len(used) < FIT_LEAST:
        return 0.0, 0.0

    def total(value: Callable[[Taken], float]) -> float:
        return sum(one.weight / one.seconds * value(one) for one in used)

    pp = total(lambda one: one.fresh * one.fresh)
    po = total(lambda one: one.fresh * one.output)
    oo = total(lambda one: one.output * one.output)
    ps = total(lambda one: one.fresh * one.seconds)
    os = total(lambda one: one.output * one.seconds)
    determinant = pp * oo - po * po
    if determinant < FIT_VARIES * pp * oo:
        return 0.0, 0.0
    a, b = (ps * oo - os * po) / determinant, (os * pp - ps * po) / determinant
    alone = os / oo
    error = total(lambda one: (one.seconds - a * one.fresh - b * one.output) ** 2)
    before = total(lambda one: (one.seconds - alone * one.output) ** 2)
    if a <= 0 or b <= 0 or error > FIT_GAIN * before:
        return 0.0, 0.0
    return a, b


def _spread(taken: Sequence[Taken], speed: Speed) -> tuple[float, float]:
    """The slow and the fast fifth of the work as parts of the speed.

    A mean over n answers, which vary about as much as they are long, is known to one
    part in the root of n.
    """
    rows = sum(one.rows for one in taken)
    least = min(max(LEAST_SPREAD, 1 / math.sqrt(rows)), MOST_SPREAD)
    ratios = sorted(
        (_predicted(one, speed) / one.seconds, one.weight * one.seconds)
        for one in taken
    )
    whole = sum(weight for _, weight in ratios)
    return (
        min(_quantile(ratios, 0.2 * whole), 1 - least),
        max(_quantile(ratios, 0.8 * whole), 1 + least),
    )


def _predicted(one: Taken, speed: Speed) -> float:
    if speed.an_output_token:
        return one.fresh * speed.a_prompt_token + one.output * speed.an_output_token
    return one.output / speed.tokens if speed.tokens else one.rows / speed.rows


def _quantile(values: Sequence[tuple[float, float]], weight: float) -> float:
    """The value below which so much of the weight lies."""
    for value, own in values:
        weight -= own
        if weight < 0:
            return value
    return values[-1][0]


def _basis(model: str, taken: Sequence[Taken], why: str, *, fitted: bool) -> str:
    rows = round(sum(one.rows for one in taken))
    on = {one.hardware for one in taken}
    where = f" on {on.pop()}" if len(on) == 1 and "" not in on else ""
    words = f"Time: {rows:,} measured requests of {model}{where}"
    words += f", some of them {why}" if why else ""
    words += ", newer and larger measurements weigh more"
    if fitted:
        words += "; prompts and answers were told apart"
    return f"{words}."
