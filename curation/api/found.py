# SPDX-License-Identifier: Apache-2.0
"""What a path of the API names, among what the key's team has."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request

from curation.models import Dataset, ReviewItem, ReviewQueue, Rubric
from jobs.api.auth import caller, client_address
from jobs.api.errors import ApiError, quoted


def unknown(kind: str, public_id: str) -> ApiError:
    """404 for what does not exist or is another team's."""
    return ApiError(f"No {kind} found with id '{quoted(public_id)}'", status=404)


def who(request: Request) -> dict[str, Any]:
    """Who calls, as operations take it."""
    return {"user": caller(request).user, "address": client_address(request)}


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
