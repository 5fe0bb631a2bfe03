# SPDX-License-Identifier: Apache-2.0
"""Rows that are not made of what holds: each judgement as it was given, and examples."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db.models import Exists, F, OuterRef, Prefetch

from jobs.answer_text import parsed, question_of, text_of

from . import sources
from .examples import CONSIDERED, Example, choose
from .models import (
    Candidate,
    ItemVersion,
    Resolution,
    Response,
    ReviewItem,
    ReviewQueue,
)
from .records import Accept, Judged, NotExported, best_of, prompt_of

Row = dict[str, Any]


def judgements(
    queue: ReviewQueue, *, pseudonyms: bool
) -> Iterator[tuple[str, list[Row], list[Candidate]]]:
    """An item's key, each judgement of its newest version, and the answers it is about.

    With `pseudonyms` a person is the same letters in all rows of the queue, and no
    address.
    """
    said = Response.objects.submitted().select_related("user").order_by("pk")
    versions = (
        ItemVersion.objects.filter(
            Exists(said.filter(version=OuterRef("pk"))),
            item__queue=queue,
            item__gold_text="",
            pk=F("item__version"),
        )
        .exclude(item__state=ReviewItem.State.EXCLUDED)
        .select_related("item", "resolution")
        .prefetch_related("candidates", Prefetch("responses", said))
        .order_by("item_id")
    )
    after = 0
    while found := list(versions.filter(item_id__gt=after)[: sources.READ_AT_ONCE]):
        for version in found:
            rows = [
                _row(version, response, pseudonyms)
                for response in version.responses.all()
            ]
            yield version.item.key, rows, list(version.candidates.all())
        after = found[-1].item_id


def _row(version: ItemVersion, response: Response, pseudonyms: bool) -> Row:
    try:
        asked: Any = prompt_of(version.request_body)
    except NotExported:
        asked = []
    held: Resolution | None = getattr(version, "resolution", None)
    candidates = list(version.candidates.all())
    reviewer = response.user.email
    if pseudonyms:
        reviewer = _pseudonym(version.item.queue_id, response.user_id)
    return {
        "id": version.item.key,
        "custom_id": version.custom_id,
        "version": version.number,
        "state": version.item.state,
        "input": asked,
        "outputs": [text_of(parsed(one.body)) for one in candidates],
        "models": [one.model for one in candidates],
        "reviewer": reviewer,
        "answers": response.answers,
        "seconds": response.seconds,
        "submitted_at": response.submitted_at and response.submitted_at.isoformat(),
        "resolution": held and held.answers,
        "resolved_by": held and held.how,
    }


def _pseudonym(queue: int, user: int) -> str:
    digest = hashlib.sha256(f"{queue}/{user}".encode()).hexdigest()
    return f"reviewer-{digest[:8]}"


class Examples:
    """The best examples of what was accepted, in bounded memory; `chosen` at the end."""

    def __init__(self, *, most: int, tokens: int) -> None:
        self._most, self._tokens = most, tokens
        # The worst of those kept first; the number keeps examples from being compared.
        self._kept: list[tuple[float, int, Example, Sequence[Candidate]]] = []
        self.count = 0

    def add(
        self, judged: Judged, accept: Accept, candidates: Sequence[Candidate]
    ) -> None:
        """Consider an item; NotExported where it is not good enough or has no text."""
        if not accept.takes(judged):
            raise NotExported("it is not good enough")
        question = question_of(parsed(judged.request))
        answer = best_of(judged).get("content")
        if not question or not isinstance(answer, str) or not answer:
            raise NotExported("it has no text")
        self.count += 1
        example = Example(judged.key, question, answer, quality(judged))
        entry = (example.quality, -self.count, example, candidates)
        if len(self._kept) < CONSIDERED:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)

    def chosen(self) -> Iterator[tuple[str, Row, Sequence[Candidate]]]:
        """The examples that stand in a prompt: key, row, and the answers it is of."""
        kept = [example for _, _, example, _ in self._kept]
        candidates = {example.key: found for _, _, example, found in self._kept}
        for one in choose(kept, most=self._most, tokens=self._tokens):
            row = {"input": one.question, "output": one.answer}
            yield one.key, row, candidates[one.key]


def quality(judged: Judged) -> float:
    """The mean of what was rated, each from 0 to 1, more being better unless it says so."""
    if judged.quality is not None:
        return judged.quality
    rated = [
        _part(judged.answers, question.key, question.low, question.high, question.goal)
        for question in judged.questions
        if question.type == "rating" and question.key in judged.answers
    ]
    return sum(rated) / len(rated) if rated else 0.0


def _part(
    answers: Mapping[str, Any],
    key: str,
    low: float | None,
    high: float | None,
    goal: str,
) -> float:
    least, most = low or 0, high or 10
    share = (float(answers[key]) - least) / (most - least)
    return 1 - share if goal == "lower" else share
