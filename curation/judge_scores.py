# SPDX-License-Identifier: Apache-2.0
"""How far a judge model agrees with people: its answers beside what holds now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.core.cache import cache
from django.db.models import Max

from jobs.answer_text import parsed, read
from jobs.models import Result
from jobs.refusals import Refused

from .agreement import (
    LabelScore,
    Level,
    Weights,
    cohen_kappa,
    krippendorff_alpha,
    label_scores,
)
from .judging import (
    READ_AT_ONCE,
    decided,
    is_swapped,
    name_of,
    questions_for,
    slices,
)
from .models import ItemVersion, JudgeRun, Resolution, ReviewQueue
from .questions import Question, read_answers

# Fewer pairs say nothing.
LEAST_PAIRS = 2
SWAPPED = {"a": "b", "b": "a"}
KEPT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Score:
    """Of one question: the judge beside what people decided, over `pairs` items.

    `kappa` is Cohen's, quadratically weighted for ratings and None for numbers, which
    have `alpha` alone (Krippendorff's). `labels` are there for questions with labels,
    and `f1` is their mean (macro-averaged).
    """

    question: Question
    pairs: int
    percent: float | None = None
    kappa: float | None = None
    alpha: float | None = None
    labels: Sequence[LabelScore] = ()

    @property
    def is_enough(self) -> bool:
        """Whether there are pairs enough to tell."""
        return self.pairs >= LEAST_PAIRS

    @property
    def f1(self) -> float | None:
        """The mean of the labels' F1."""
        if not self.labels:
            return None
        return sum(one.f1 for one in self.labels) / len(self.labels)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run came out: answers that fit the rubric, those that did not, no answer."""

    scores: Sequence[Score]
    read: int
    unreadable: int
    failed: int


def standing(run: JudgeRun) -> Standing:
    """How the run came out; computed once for all answers and decisions there are."""
    held = Resolution.objects.filter(version__item__queue=run.queue)
    newest = held.aggregate(at=Max("created_at"))["at"]
    batch = run.batch
    key = f"curation:judge:{run.pk}:{batch.completed}:{batch.failed}:{held.count()}"
    key += f":{newest.timestamp() if newest else 0}"
    found: Standing | None = cache.get(key)
    if found is None:
        found = compute(run)
        cache.set(key, found, KEPT_SECONDS)
    return found


def compute(run: JudgeRun) -> Standing:
    """The judge's answers beside what holds of the same versions now."""
    questions = questions_for(run.queue)
    pairs: defaultdict[str, list[tuple[Any, Any]]] = defaultdict(list)
    readable = unreadable = 0
    for some in slices(_results(run)):
        held = _by_name(run.queue, [name for name, _ in some])
        for name, text in some:
            version = held.get(name)
            if version is None:
                continue
            said = _judgement(questions, text, version)
            if said is None:
                unreadable += 1
                continue
            readable += 1
            answers = version.resolution.answers
            for question in questions:
                both = answers.get(question.key), said.get(question.key)
                if None not in both:
                    people, judge = (_comparable(value) for value in both)
                    pairs[question.key].append((people, judge))
    return Standing(
        [_score(question, pairs[question.key]) for question in questions],
        readable,
        unreadable,
        run.batch.failed,
    )


def _results(run: JudgeRun) -> Iterator[tuple[str, str]]:
    """Names of versions, and what the judge said of each."""
    rows = Result.objects.filter(batch=run.batch, outcome=Result.Outcome.COMPLETED)
    after = -1
    while found := list(
        rows.filter(index__gt=after)
        .select_related("request")
        .order_by("index")[:READ_AT_ONCE]
    ):
        for result in found:
            answer = read(result.body, result.finish_reason)
            yield result.request.custom_id, answer.text or ""
        after = found[-1].index


def _by_name(queue: ReviewQueue, names: Sequence[str]) -> dict[str, ItemVersion]:
    items = [name.partition("#")[0] for name in names]
    rows = decided(queue).filter(item__public_id__in=items)
    return {
        name_of(version): version
        for version in rows.select_related("item", "resolution")
    }


def _judgement(
    questions: Sequence[Question], text: str, version: ItemVersion
) -> dict[str, Any] | None:
    """The judge's answers that fit the rubric; None when it is no such object."""
    given = parsed(text[max(text.find("{"), 0) : text.rfind("}") + 1])
    if not isinstance(given, dict):
        return None
    # Judges explain themselves in further members.
    asked = {question.key: given.get(question.key) for question in questions}
    two = any(question.type == "pairwise" for question in questions)
    try:
        said = read_answers(questions, asked, final=False, candidates=2 if two else 1)
    except Refused:
        return None
    if is_swapped(version):
        votes = [q.key for q in questions if q.type == "pairwise" and q.key in said]
        said |= {key: SWAPPED.get(said[key], said[key]) for key in votes}
    return said


def _comparable(value: Any) -> Any:
    """Several labels are one value: the set that was chosen."""
    return tuple(sorted(value)) if isinstance(value, list) else value


def _score(question: Question, pairs: Sequence[tuple[Any, Any]]) -> Score:
    level = question.level
    if len(pairs) < LEAST_PAIRS or level is None:
        return Score(question, len(pairs))
    same = sum(people == judge for people, judge in pairs) / len(pairs)
    kappa = None
    if level == Level.NOMINAL:
        kappa = cohen_kappa(pairs)
    elif level == Level.ORDINAL:
        scale = tuple(range(int(question.low or 0), int(question.high or 10) + 1))
        kappa = cohen_kappa(pairs, weights=Weights.QUADRATIC, scale=scale)
    units = [{"people": people, "judge": judge} for people, judge in pairs]
    alpha = krippendorff_alpha(units, level=level)
    return Score(question, len(pairs), same, kappa, alpha, _labels(question, pairs))


def _labels(question: Question, pairs: Sequence[tuple[Any, Any]]) -> list[LabelScore]:
    """Of each label; where several may be chosen, whether each one was."""
    if question.level != Level.NOMINAL:
        return []
    if question.type != "multi_label":
        return label_scores(pairs)
    found = []
    for label in question.values:
        chosen = [(label in people, label in judge) for people, judge in pairs]
        found += [
            replace(one, label=label)
            for one in label_scores(chosen)
            if one.label is True
        ]
    return found
