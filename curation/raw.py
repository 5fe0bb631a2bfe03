# SPDX-License-Identifier: Apache-2.0
"""Rows that are not made of what holds: each judgement as it was given, and examples."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import F

from jobs.answer_text import parsed, question_of, text_of

from .examples import CONSIDERED, Example, choose
from .models import Resolution, Response, ReviewItem, ReviewQueue
from .records import Accept, Judged, NotExported, best_of, prompt_of

READ_AT_ONCE = 200
Row = dict[str, Any]


def judgements(queue: ReviewQueue, *, pseudonyms: bool) -> Iterator[tuple[str, Row]]:
    """Each submitted judgement of an item's newest version, by the item's key.

    With `pseudonyms` a person is the same letters in all rows of the queue, and no
    address.
    """
    said = (
        Response.objects.submitted()
        .filter(
            version__item__queue=queue,
            version__item__gold_text="",
            version=F("version__item__version"),
        )
        .exclude(version__item__state=ReviewItem.State.EXCLUDED)
        .select_related("version__item", "user")
        .prefetch_related("version__candidates")
        .order_by("pk")
    )
    after = 0
    while found := list(said.filter(pk__gt=after)[:READ_AT_ONCE]):
        versions = [response.version_id for response in found]
        held = {
            one.version_id: one
            for one in Resolution.objects.filter(version__in=versions)
        }
        for response in found:
            resolution = held.get(response.version_id)
            yield response.version.item.key, _row(response, resolution, pseudonyms)
        after = found[-1].pk


def _row(response: Response, held: Resolution | None, pseudonyms: bool) -> Row:
    version = response.version
    try:
        asked: Any = prompt_of(version.request_body)
    except NotExported:
        asked = []
    candidates = list(version.candidates.all())
    return {
        "id": version.item.key,
        "custom_id": version.custom_id,
        "version": version.number,
        "state": version.item.state,
        "input": asked,
        "outputs": [text_of(parsed(one.body)) for one in candidates],
        "models": [one.model for one in candidates],
        "reviewer": _pseudonym(response) if pseudonyms else response.user.email,
        "answers": response.answers,
        "seconds": response.seconds,
        "submitted_at": response.submitted_at and response.submitted_at.isoformat(),
        "resolution": held and held.answers,
        "resolved_by": held and held.how,
    }


def _pseudonym(response: Response) -> str:
    text = f"{response.version.item.queue_id}/{response.user_id}"
    return f"reviewer-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


class Examples:
    """The best examples of what was accepted, in bounded memory; `chosen` at the end."""

    def __init__(self, *, most: int, tokens: int) -> None:
        self._most, self._tokens = most, tokens
        # The worst of those kept first; the number keeps examples from being compared.
        self._kept: list[tuple[float, int, Example]] = []
        self._count = 0

    def add(self, judged: Judged, accept: Accept) -> None:
        """Consider an item; NotExported where it is not good enough or has no text."""
        if not accept.takes(judged):
            raise NotExported("it is not good enough")
        question = question_of(parsed(judged.request))
        answer = best_of(judged).get("content")
        if not question or not isinstance(answer, str) or not answer:
            raise NotExported("it has no text")
        self._count += 1
        example = Example(judged.key, question, answer, quality(judged))
        entry = (example.quality, -self._count, example)
        if len(self._kept) < CONSIDERED:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)

    def chosen(self) -> Iterator[tuple[str, Row]]:
        """The examples that stand in a prompt, by their keys."""
        kept = [example for _, _, example in self._kept]
        for one in choose(kept, most=self._most, tokens=self._tokens):
            yield one.key, {"input": one.question, "output": one.answer}


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
