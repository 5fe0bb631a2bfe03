# SPDX-License-Identifier: Apache-2.0
"""What the rows of a dataset are made of, read in slices: judged or marked answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import F

from batchsite.accounts.models import Team

from .models import Candidate, Mark, Resolution, ReviewItem, ReviewQueue
from .records import Judged

READ_AT_ONCE = 200
# An item, and the answers that it is about.
Source = Iterator[tuple[Judged, list[Candidate]]]


def judged(queue: ReviewQueue) -> Source:
    """What is resolved of the items' newest versions, in the order of the items."""
    questions = queue.rubric_version.questions
    resolved = (
        Resolution.objects.filter(
            version__item__queue=queue,
            version__item__gold_text="",
            version=F("version__item__version"),
        )
        .exclude(version__item__state=ReviewItem.State.EXCLUDED)
        .select_related("version__item")
        .prefetch_related("version__candidates")
        .order_by("version__item_id")
    )
    after = 0
    while found := list(resolved.filter(version__item_id__gt=after)[:READ_AT_ONCE]):
        for resolution in found:
            version = resolution.version
            candidates = list(version.candidates.all())
            yield (
                Judged(
                    key=version.item.key,
                    request=version.request_body,
                    bodies=[candidate.body for candidate in candidates],
                    models=[candidate.model for candidate in candidates],
                    questions=questions,
                    answers=resolution.answers,
                    custom_id=version.custom_id,
                ),
                candidates,
            )
        after = found[-1].version.item_id


def marked(team: Team, wanted: Mapping[str, Any]) -> Source:
    """Answers with such marks, as if somebody had judged them, in the order of marks."""
    marks = Mark.objects.visible_to_team(team).chosen(
        starred=wanted.get("starred", False),
        least=wanted.get("least"),
        tag=wanted.get("tag", ""),
    )
    rows = marks.select_related("result__request", "result__batch").order_by("pk")
    after = 0
    while found := list(rows.filter(pk__gt=after)[:READ_AT_ONCE]):
        for mark in found:
            result = mark.result
            candidate = Candidate(
                batch_code=result.batch.public_id,
                model=result.request.model or result.batch.model,
                provenance=result.provenance,
            )
            judged = Judged(
                key=f"{result.batch.public_id}#{result.index}",
                request=result.request.body,
                bodies=[result.body],
                models=[candidate.model],
                questions=[],
                answers={},
                custom_id=result.request.custom_id,
                quality=(mark.quality or 0) / 10,
            )
            yield judged, [candidate]
        after = found[-1].pk
