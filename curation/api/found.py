# SPDX-License-Identifier: Apache-2.0
"""What a path of the API names, among what the key's team has."""

from __future__ import annotations

from rest_framework.request import Request

from curation.models import Dataset, FeedRule, JudgeRun, ReviewItem, ReviewQueue, Rubric
from jobs.api.auth import caller
from jobs.api.found import numbered, unknown

# What an id begins with that has no name of its own in the database.
FEED, RULE, JUDGE_RUN = "feed_", "rule_", "judgerun_"


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
    return numbered(rows, JUDGE_RUN, run_id, "judge's run")


def rule_or_404(request: Request, rule_id: str) -> FeedRule:
    """The rule with that id, of one of the team's queues."""
    rows = FeedRule.objects.filter(queue__team=caller(request).team)
    return numbered(rows.select_related("queue"), RULE, rule_id, "rule")
