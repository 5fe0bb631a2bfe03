# SPDX-License-Identifier: Apache-2.0
"""How states of queues and items are written on every page."""

from __future__ import annotations

from django import template

from curation.models import ReviewItem, ReviewQueue
from jobs.templatetags.figures import NOTHING

register = template.Library()

# state: (icon, colour, word)
QUEUE_CHIPS = {
    ReviewQueue.State.ACTIVE: ("play", "blue", "open"),
    ReviewQueue.State.PAUSED: ("pause", "amber", "paused"),
    ReviewQueue.State.ARCHIVED: ("off", "plain", "archived"),
}
ITEM_CHIPS = {
    ReviewItem.State.PENDING: ("clock", "plain", "waiting"),
    ReviewItem.State.IN_PROGRESS: ("pen", "blue", "in review"),
    ReviewItem.State.AWAITING_RESOLUTION: ("alert", "amber", "to be decided"),
    ReviewItem.State.COMPLETED: ("check", "green", "done"),
    ReviewItem.State.EXCLUDED: ("off", "plain", "left out"),
}
EVENT_WORDS = {
    "added": "put into the queue",
    "another_version": "another version",
    "changed": "judgement changed",
    "reworked": "run once more, in",
    "undid_submitted": "judgement taken back",
    "undid_skipped": "skip taken back",
    "undid_flagged": "flag taken back",
    "resolved": "decided",
    "made_gold": "made a gold item",
    "made_ordinary": "no gold item any more",
}


@register.inclusion_tag("jobs/_status_chip.html")
def queue_chip(queue: ReviewQueue) -> dict[str, str]:
    """The queue's state as icon and word."""
    return _chip(QUEUE_CHIPS[ReviewQueue.State(queue.state)])


@register.inclusion_tag("jobs/_status_chip.html")
def item_chip(item: ReviewItem) -> dict[str, str]:
    """The item's state as icon and word."""
    return _chip(ITEM_CHIPS[ReviewItem.State(item.state)])


def _chip(found: tuple[str, str, str]) -> dict[str, str]:
    picture, colour, word = found
    return {"picture": picture, "colour": colour, "word": word}


@register.filter
def event_words(kind: str) -> str:
    """What happened to an item, in words."""
    return EVENT_WORDS.get(kind, kind.replace("_", " "))


@register.filter
def coefficient(value: float | None) -> str:
    """A coefficient such as alpha, as 0.81; a dash for one that cannot be told."""
    return NOTHING if value is None else f"{value:.2f}"
