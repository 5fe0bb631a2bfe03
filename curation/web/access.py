# SPDX-License-Identifier: Apache-2.0
"""Fetch what is curated for a signed-in person, or answer 404; 403 without the right."""

from __future__ import annotations

from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404

from batchsite.accounts import permissions
from curation.models import ItemVersion, ReviewItem, ReviewQueue, Rubric
from jobs.access import found_or_404, person

READ = "curation:read"
WRITE = "curation:write"


def get_queue(request: HttpRequest, code: str, *, right: str = READ) -> ReviewQueue:
    """The queue with that public id, with its rubric and team."""
    user = person(request)
    rows = ReviewQueue.objects.visible_to(user)
    rows = rows.select_related("team", "rubric_version__rubric", "created_by")
    queue = found_or_404(rows.find(code))
    permissions.require(user, queue.team, right)
    return queue


def get_item(queue: ReviewQueue, code: str) -> ReviewItem:
    """The queue's item with that public id."""
    rows = ReviewItem.objects.filter(queue=queue).select_related("version")
    item = found_or_404(rows.find(code))
    # What was just checked need not be read again.
    item.queue = queue
    return item


def get_version(item: ReviewItem, number: str) -> ItemVersion:
    """The item's version with that number, as a form names it."""
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise Http404("No version is named so.")
    version = get_object_or_404(item.versions, number=int(number))
    version.item = item
    return version


def get_rubric(request: HttpRequest, code: str, *, right: str = READ) -> Rubric:
    """The rubric with that public id."""
    user = person(request)
    rows = Rubric.objects.visible_to(user).select_related("team", "created_by")
    rubric = found_or_404(rows.find(code))
    permissions.require(user, rubric.team, right)
    return rubric
