# SPDX-License-Identifier: Apache-2.0
"""What a path of the API names, among what the key's team has."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from rest_framework.request import Request

from curation.models import Dataset, FeedRule, JudgeRun, ReviewItem, ReviewQueue, Rubric
from jobs.api.auth import caller, client_address
from jobs.api.errors import ApiError, quoted
from jobs.row_checks.parameters import bad

# What an id begins with that has no name of its own in the database.
FEED, RULE, JUDGE_RUN = "feed_", "rule_", "judgerun_"
Numbered = TypeVar("Numbered", bound=Model)


def unknown(kind: str, public_id: str) -> ApiError:
    """404 for what does not exist or is another team's."""
    return ApiError(f"No {kind} found with id '{quoted(public_id)}'", status=404)


def who(request: Request) -> dict[str, Any]:
    """Who calls, as operations take it."""
    return {"user": caller(request).user, "address": client_address(request)}


def key_of(param: str, public_id: str, prefix: str, kind: str) -> int:
    """The key in an id like `feed_12`; Refused for what is none."""
    if (key := _key(public_id, prefix)) is None:
        raise bad(param, f"no {kind} has this id.")
    return key


def _key(public_id: str, prefix: str) -> int | None:
    digits = public_id.removeprefix(prefix)
    if digits.isascii() and digits.isdecimal() and len(digits) < 19:
        return int(digits)
    return None


def rubric_or_404(request: Request, rubric_id: str) -> Rubric:
    """The team's rubric with that id."""
    rows = Rubric.objects.visible_to_team(caller(request).team)
    found = rows.select_related("team").find(rubric_id)
    if found is None:
        raise unknown("rubric", rubric_id)
    return found


def queue_or_404(request: Request, queue_id: str) -> ReviewQueue:
    """The team's queue with that id, with its rubric."""
    rows = ReviewQueue.objects.visible_to_team(caller(request).team)
    found = rows.select_related("team", "rubric_version__rubric").find(queue_id)
    if found is None:
        raise unknown("queue", queue_id)
    return found


def item_or_404(request: Request, item_id: str) -> ReviewItem:
    """The item with that id in one of the team's queues."""
    rows = ReviewItem.objects.filter(queue__team=caller(request).team)
    found = rows.for_api().find(item_id)
    if found is None:
        raise unknown("item", item_id)
    return found


def dataset_or_404(request: Request, dataset_id: str) -> Dataset:
    """The team's dataset with that id."""
    rows = Dataset.objects.visible_to_team(caller(request).team)
    found = rows.select_related("team").find(dataset_id)
    if found is None:
        raise unknown("dataset", dataset_id)
    return found


def judge_run_or_404(request: Request, run_id: str) -> JudgeRun:
    """The judge's run with that id, of one of the team's queues."""
    rows = JudgeRun.objects.select_related("queue__rubric_version", "batch")
    rows = rows.filter(queue__team=caller(request).team)
    return _numbered(rows, JUDGE_RUN, run_id, "judge's run")


def rule_or_404(request: Request, rule_id: str) -> FeedRule:
    """The rule with that id, of one of the team's queues."""
    rows = FeedRule.objects.filter(queue__team=caller(request).team)
    return _numbered(rows.select_related("queue"), RULE, rule_id, "rule")


def _numbered(
    rows: QuerySet[Numbered], prefix: str, public_id: str, kind: str
) -> Numbered:
    key = _key(public_id, prefix)
    found = None if key is None else rows.filter(pk=key).first()
    if found is None:
        raise unknown(kind, public_id)
    return found
