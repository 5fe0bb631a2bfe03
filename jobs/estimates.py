# SPDX-License-Identifier: Apache-2.0
"""What past work says about coming work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from batchsite.accounts.models import Team

from . import track_record
from .checks import CHARACTERS_A_TOKEN, Plan
from .ordering import RUNS_NOT
from .speeds import Speed, speed_of
from .track_record import Accuracy, Outcome

# These endpoints answer with numbers, not with tokens.
TOKENLESS = frozenset({"/v1/embeddings", "/v1/score", "/v1/rerank"})


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a file will cost on one engine that runs nothing else; None: not known.

    `output_tokens_most` is what the requests allow, `output_tokens` what answers of
    these models usually have. `basis` says in words where the figures come from,
    `accuracy` how earlier ones for the model held.
    """

    input_tokens: int
    output_tokens_most: int | None
    output_tokens: int | None
    seconds: float | None
    seconds_low: float | None
    seconds_high: float | None
    gpu_hours: float | None
    basis: str
    accuracy: Accuracy | None = None


@dataclass(frozen=True, slots=True)
class _Share:
    """One model's part of a file; `tokens` None: how long answers are is not known."""

    model: str
    rows: int
    input_tokens: float
    tokens: float | None
    speed: Speed | None
    words: Sequence[str]

    @property
    def seconds(self) -> float | None:
        """On one engine."""
        if self.speed is None or self.tokens is None:
            return None
        return self.speed.seconds(self.rows, self.input_tokens, self.tokens)


def estimate(plan: Plan, *, endpoint: str, team: Team | None = None) -> Estimate:
    """What the requests of a checked file will cost; copies cost nothing."""
    running = [i for i, at in enumerate(plan.order.run_order) if at != RUNS_NOT]
    by_model: list[list[int]] = [[] for _ in plan.models]
    for index in running:
        by_model[plan.model_of[index]].append(index)
    past = {model: track_record.outcomes(model) for model in plan.models}
    shares = [
        _share(plan, model, rows, endpoint, team, past[model])
        for model, rows in zip(plan.models, by_model, strict=True)
        if rows
    ]
    # A file of several models is judged by files of several models.
    judged = past[plan.models[0]] if len(past) == 1 else track_record.outcomes("")
    limited = endpoint in TOKENLESS or all(plan.limit[i] for i in running)
    most = 0 if endpoint in TOKENLESS else sum(plan.limit[i] for i in running)
    counts = [share.tokens for share in shares]
    known = [count for count in counts if count is not None]
    middle, low, high = _range(shares, judged)
    return Estimate(
        input_tokens=round(sum(share.input_tokens for share in shares)),
        output_tokens_most=most if limited else None,
        output_tokens=round(sum(known)) if len(known) == len(counts) else None,
        seconds=middle,
        seconds_low=low,
        seconds_high=high,
        gpu_hours=_gpu_hours(shares),
        basis=_basis(shares, judged),
        accuracy=track_record.accuracy(judged),
    )


def _range(
    shares: Sequence[_Share], judged: Sequence[Outcome]
) -> tuple[float, float, float] | tuple[None, None, None]:
    """Seconds: what is expected, and between which the truth should lie.

    By the errors of past estimates once there are enough of them, else by how much the
    speed has varied.
    """
    middle = low = high = 0.0
    for share in shares:
        if share.seconds is None or share.speed is None:
            return None, None, None
        middle += share.seconds
        low += share.seconds / share.speed.fast
        high += share.seconds / share.speed.slow
    if held := track_record.held_range(judged):
        low, high = middle * min(held[0], 1.0), middle * max(held[1], 1.0)
    return middle, low, high


def _gpu_hours(shares: Sequence[_Share]) -> float | None:
    seconds = 0.0
    for share in shares:
        if share.seconds is None or share.speed is None or not share.speed.gpus:
            return None
        seconds += share.seconds * share.speed.gpus
    return round(seconds / 3600, 4)


def _share(
    plan: Plan,
    model: str,
    rows: Sequence[int],
    endpoint: str,
    team: Team | None,
    past: Sequence[Outcome],
) -> _Share:
    speed = speed_of(model, rows=len(rows))
    characters = sum(plan.body_end[i] - plan.body_start[i] for i in rows)
    words = []
    if measured := track_record.characters_a_token(past):
        ratio, batches = measured
        words.append(
            f"Input tokens: {ratio:.2f} characters each, as measured on {batches}"
            f" batch{'es' if batches != 1 else ''} of {model}."
        )
    else:
        ratio = CHARACTERS_A_TOKEN
        words.append(
            f"Input tokens are counted as four characters each: those of {model} were"
            " not measured yet."
        )
    if endpoint in TOKENLESS:
        tokens: float | None = 0.0
    else:
        tokens, said = _answers(plan, model, rows, endpoint, team, past, speed)
        words.append(said)
    if speed is not None:
        words.append(speed.basis)
    else:
        words.append(f"{model} never ran here, so that the time is not known.")
    return _Share(model, len(rows), characters / ratio, tokens, speed, words)


def _answers(
    plan: Plan,
    model: str,
    rows: Sequence[int],
    endpoint: str,
    team: Team | None,
    past: Sequence[Outcome],
    speed: Speed | None,
) -> tuple[float | None, str]:
    """Output tokens of the rows, and whence, in words.

    A request answers as others did, or as much as it allows if that is less.
    """
    limits = Counter(plan.limit[i] for i in rows)
    if found := track_record.lengths_for(past, team=team, endpoint=endpoint):
        lengths, whose = found
        tokens = sum(n * lengths.expected(limit) for limit, n in limits.items())
        return tokens, f"Answers: as long as those of {whose} with {model}."
    if speed is not None and speed.tokens:
        usual = speed.tokens_a_row
        tokens = sum(n * min(usual, limit or usual) for limit, n in limits.items())
        return tokens, f"Answers: {usual:,.0f} tokens, the mean of {model} so far."
    return None, f"How long answers of {model} are is not known yet."


def _basis(shares: Sequence[_Share], judged: Sequence[Outcome]) -> str:
    words = [word for share in shares for word in share.words]
    if all(share.seconds is not None for share in shares):
        words.append("The time is that of one engine; waiting for it is not included.")
        if track_record.held_range(judged):
            words.append("The range is as wide as the errors of past estimates.")
    if found := track_record.accuracy(judged):
        words.append(f"Past estimates were {found.words}.")
    return " ".join(words)
