# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""What is curated in the admin: to look at, in lists that have no end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from batchsite.accounts.addresses import client_address
from batchsite.accounts.admin_lists import Scope
from batchsite.accounts.admin_parts import Question, actor, unsure
from batchsite.accounts.models import User
from jobs.admin_tables import ReadOnly, hostile, long_text, rows_of
from jobs.refusals import Refused

from . import models, reviewing, tending

LEAVE_OUT = Question(
    "Leave items out",
    "Nobody judges them any more, and no dataset has them. They can be taken in again.",
    "Leave these out",
    "Why (may be empty)",
)
GIVE = Question(
    "Give items to a person",
    "Only that person judges them from now on; empty: whoever comes.",
    "Give them",
    "E-mail address",
)
FLAG = Question(
    "Flag items", "Reviewers and whoever looks after the queue see it.", "Flag", "Why"
)
DECIDE = Question(
    "Decide by majority",
    "Items that wait for a decision get the answers of most of their judgements, as your"
    " decision. Those without a majority stay as they are.",
    "Decide them",
)


def _items(count: int) -> str:
    return f"{count} item was" if count == 1 else f"{count} items were"


class RubricAdmin(ReadOnly):
    prefix = "rubric_"
    list_display = ["public_id", hostile("name"), "team", "created_by", "created_at"]
    list_filter = ["team", ("archived_at", admin.EmptyFieldListFilter)]
    list_select_related = ["team", "created_by"]
    search_fields = ["name"]


class RubricVersionAdmin(ReadOnly):
    list_display = [hostile("rubric.name", "rubric"), "number", "used", "created_at"]
    list_filter = ["used"]
    list_select_related = ["rubric"]
    search_fields = ["rubric__name"]
    fields = ["rubric", "number", "used", "questions_shown", "created_by", "created_at"]
    questions_shown = staticmethod(long_text("questions_text", "Questions"))


class ReviewQueueAdmin(ReadOnly):
    prefix = "queue_"
    list_display = [
        *("public_id", hostile("name"), "kind", "state", "team"),
        *("overlap", "coverage", "auto_resolve", "due_at", "created_at"),
    ]
    list_filter = ["state", "kind", "team"]
    list_select_related = ["team"]
    search_fields = ["name"]


class OfQueue(ReadOnly):
    """Rows that belong to a queue or an item of one: the public id finds them."""

    queue_path = "queue"
    item_path = ""
    search_help_text = (
        "The id of a queue or an item finds its rows. Anything else looks through all"
        " rows, newest first, 10,000 a page."
    )

    def scope_of(self, term: str) -> Scope:
        """The rows of that queue or item; else all."""
        if self.item_path and term.strip().startswith("item_"):
            return rows_of(models.ReviewItem, "item_", self.item_path, term)
        return rows_of(models.ReviewQueue, "queue_", self.queue_path, term)


class ReviewItemAdmin(OfQueue):
    item_path = "pk"
    list_display = [
        *("public_id", hostile("queue.name", "queue"), "state", "submitted", "needed"),
        *("priority", "flagged", "assigned_to", "created_at"),
    ]
    list_filter = ["state", "flagged"]
    list_select_related = ["queue", "assigned_to"]
    search_fields = ["key", "flag_reason"]
    actions = [
        *("leave_out", "take_in", "give_to", "flag", "unflag"),
        *("decide", "reopen", "make_gold", "no_gold"),
    ]

    def has_curate_permission(self, request: HttpRequest) -> bool:
        """Who may change items."""
        return actor(request).has_perm("curation.change_reviewitem")

    @admin.action(description="Leave the chosen items out", permissions=["curate"])
    def leave_out(
        self, request: HttpRequest, queryset: QuerySet[models.ReviewItem]
    ) -> HttpResponse | None:
        """Nobody judges them any more; the reason is asked for."""
        if asked := unsure(self, request, queryset, LEAVE_OUT):
            return asked
        reason = request.POST.get("line", "")
        self._each(request, queryset, tending.exclude, "left out", reason=reason)
        return None

    @admin.action(description="Take the chosen items in again", permissions=["curate"])
    def take_in(
        self, request: HttpRequest, queryset: QuerySet[models.ReviewItem]
    ) -> None:
        """What was said of them holds as before."""
        self._each(request, queryset, tending.include, "taken in again")

    @admin.action(
        description="Give the chosen items to a person", permissions=["curate"]
    )
    def give_to(
        self, request: HttpRequest, queryset: QuerySet[models.ReviewItem]
    ) -> HttpResponse | None:
        """Asks for the e-mail address; an empty one gives them to whoever comes."""
        if asked := unsure(self, request, queryset, GIVE):
            return asked
        email = request.POST.get("line", "").strip()
        person = User.objects.filter(email__iexact=email).first() if email else None
        if email and person is None:
            self.message_user(
                request, f"Nobody has the address {email}.", messages.ERROR
            )
            return None
        self._each(request, queryset, tending.assign, "given", to=person)
        return None

    @admin.action(description="Flag the chosen items", permissions=["curate"])
    def flag(
        self, request: HttpRequest, queryset: QuerySet[models.ReviewItem]
    ) -> HttpResponse | None:
        """Asks what is wrong with them."""
        if asked := unsure(self, request, queryset, FLAG):
            return asked
        reason, count = request.POST.get("line", ""), 0
        for item in queryset.select_related("version__item"):
            if item.version is None:
                continue
            try:
                reviewing.flag(version=item.version, user=actor(request), reason=reason)
            except Refused as refused:
                self.message_user(request, refused.message, messages.WARNING)
                break
            count += 1
        self.message_user(request, f"{_items(count)} flagged.")
        return None

    @admin.action(description="Take the flag off", permissions=["curate"])
    def unflag(
        self, request: HttpRequest, queryset: QuerySet[models.ReviewItem]
    ) -> None:
        """They were looked after."""
        flagged = list(queryset.filter(flagged=True))
        for item in flagged:
            reviewing.unflag(item=item, user=actor(request))
        self.message_user(request, f"{_items(len(flagged))} no longer flagged.")

    @admin.action(description="Decide by majority", permissions=["curate"])
    def decide(
        self, request: HttpRequest, queryset: QuerySet[models.ReviewItem]
    ) -> HttpResponse | None:
        """Those that wait for a decision and have a majority."""
        if asked := unsure(self, request, queryset, DECIDE):
            return asked
        self._each(request, queryset, tending.decide_by_majority, "decided")
        return None

    @admin.action(description="Take decisions back", permissions=["curate"])
    def reopen(
        self, request: HttpRequest, queryset: QuerySet[models.ReviewItem]
    ) -> None:
        """Decisions of people; the queue's rule holds again."""
        self._each(request, queryset, tending.reopen, "reopened")

    @admin.action(description="Make gold items of them", permissions=["curate"])
    def make_gold(
        self, request: HttpRequest, queryset: QuerySet[models.ReviewItem]
    ) -> None:
        """What holds of them are right answers."""
        self._each(request, queryset, tending.make_gold, "made gold items")

    @admin.action(description="No gold items any more", permissions=["curate"])
    def no_gold(
        self, request: HttpRequest, queryset: QuerySet[models.ReviewItem]
    ) -> None:
        """They are items like others."""
        self._each(request, queryset, tending.no_gold, "made ordinary")

    def _each(
        self,
        request: HttpRequest,
        rows: QuerySet[models.ReviewItem],
        do: Callable[..., int],
        done: str,
        **named: Any,
    ) -> None:
        """Do it queue by queue; says with how many, and why not with others."""
        by_queue: defaultdict[models.ReviewQueue, list[models.ReviewItem]]
        by_queue, count = defaultdict(list), 0
        for item in rows.select_related("queue__team", "queue__rubric_version"):
            by_queue[item.queue].append(item)
        for queue, items in by_queue.items():
            try:
                count += do(
                    queue=queue,
                    items=items,
                    user=actor(request),
                    address=client_address(request),
                    **named,
                )
            except Refused as refused:
                words = f"Left as they were, in {queue}: {refused.message}"
                self.message_user(request, words, messages.WARNING)
        self.message_user(request, f"{_items(count)} {done}.")


class ItemVersionAdmin(OfQueue):
    queue_path = "item__queue"
    item_path = "item"
    list_display = ["item", "number", hostile("custom_id"), "endpoint", "created_at"]
    list_select_related = ["item"]
    search_fields = ["custom_id"]
    fields = ["item", "number", "custom_id", "endpoint", "request_shown", "why"]
    request_shown = staticmethod(long_text("request_body", "Request"))


class CandidateAdmin(OfQueue):
    queue_path = "version__item__queue"
    item_path = "version__item"
    list_display = ["version", "place", hostile("model"), "batch_code", "finish_reason"]
    list_select_related = ["version"]
    search_fields = ["model", "batch_code"]
    fields = [
        *("version", "place", "model", "batch_code", "batch", "result"),
        *("finish_reason", "provenance", "body_shown"),
    ]
    body_shown = staticmethod(long_text("body", "Answer"))


class ClaimAdmin(OfQueue):
    queue_path = "version__item__queue"
    item_path = "version__item"
    list_display = ["version", "user", "expires_at", "created_at"]
    list_select_related = ["version", "user"]
    search_fields = ["user__email"]


class ResponseAdmin(OfQueue):
    queue_path = "version__item__queue"
    item_path = "version__item"
    list_display = ["version", "user", "state", "seconds", "submitted_at"]
    list_filter = ["state"]
    list_select_related = ["version", "user"]
    search_fields = ["user__email"]
    fields = [
        *("version", "user", "state", "answers_shown", "layout", "seconds"),
        *("created_at", "updated_at", "submitted_at"),
    ]
    answers_shown = staticmethod(long_text("answers_text", "Answers"))


class SkipAdmin(OfQueue):
    queue_path = "version__item__queue"
    item_path = "version__item"
    list_display = ["version", "user", hostile("reason"), "created_at"]
    list_select_related = ["version", "user"]
    search_fields = ["user__email", "reason"]


class ResolutionAdmin(OfQueue):
    queue_path = "version__item__queue"
    item_path = "version__item"
    list_display = ["version", "how", "by", hostile("note"), "created_at"]
    list_filter = ["how"]
    list_select_related = ["version", "by"]
    search_fields = ["by__email", "note"]
    fields = ["version", "how", "chosen", "answers_shown", "by", "note", "created_at"]
    answers_shown = staticmethod(long_text("answers_text", "Answers"))


class ReviewEventAdmin(OfQueue):
    queue_path = "item__queue"
    item_path = "item"
    list_display = ["created_at", "item", "kind", "user", hostile("message")]
    list_select_related = ["item", "user"]
    search_fields = ["kind", "user__email", "message"]


class ReworkAdmin(OfQueue):
    list_display = ["queue", "batch", hostile("note"), "created_at", "applied_at"]
    list_filter = [("applied_at", admin.EmptyFieldListFilter)]
    list_select_related = ["queue", "batch"]
    search_fields = ["note"]
    fields = ["queue", "batch", "note", "created_by", "created_at", "applied_at"]


class JudgeRunAdmin(OfQueue):
    list_display = ["queue", "batch", hostile("model"), "items", "created_at"]
    list_select_related = ["queue", "batch"]
    search_fields = ["model"]
    fields = ["queue", "batch", "model", "items", "created_by", "created_at"]


class FeedAdmin(OfQueue):
    list_display = ["queue", "batch", "how", "state", "added", "created_at", "ended_at"]
    list_filter = ["state", "how"]
    list_select_related = ["queue", "batch"]
    search_fields = ["problem"]
    fields = [
        *("queue", "batch", "rule", "how", "most", "state", "problem", "looked_at"),
        *("added", "known", "without_answer", "wanted_shown", "assigned_to"),
        *("created_by", "created_at", "ended_at"),
    ]
    wanted_shown = staticmethod(long_text("wanted_text", "Filter"))


class FeedRuleAdmin(OfQueue):
    list_display = ["queue", hostile("model"), hostile("tag"), "how", "most"]
    list_filter = ["how"]
    list_select_related = ["queue"]
    search_fields = ["model", "tag"]
    fields = [
        *("queue", "model", "tag", "endpoint", "how", "most", "wanted_shown"),
        *("created_by", "created_at"),
    ]
    wanted_shown = staticmethod(long_text("wanted_text", "Filter"))


class MarkAdmin(ReadOnly):
    list_display = ["batch", "starred", "quality", hostile("note"), "by", "updated_at"]
    list_filter = ["starred", "quality"]
    list_select_related = ["batch", "by"]
    search_fields = ["note", "by__email"]
    fields = [
        *("team", "batch", "result", "starred", "quality", "tags", "note_shown"),
        *("by", "created_at", "updated_at"),
    ]
    note_shown = staticmethod(long_text("note", "Note"))


class DatasetBuildAdmin(ReadOnly):
    list_display = ["dataset", "state", "tries", "version", "created_at", "ended_at"]
    list_filter = ["state"]
    list_select_related = ["dataset", "version__dataset"]
    search_fields = ["dataset__name", "problem"]
    fields = [
        *("dataset", "state", "problem", "tries", "version", "spec_shown"),
        *("created_by", "created_at", "ended_at"),
    ]
    spec_shown = staticmethod(long_text("spec_text", "Spec"))


class DatasetAdmin(ReadOnly):
    prefix = "dataset_"
    list_display = ["public_id", hostile("name"), "team", "created_by", "created_at"]
    list_filter = ["team"]
    list_select_related = ["team", "created_by"]
    search_fields = ["name"]


class DatasetVersionAdmin(ReadOnly):
    list_display = [
        *(hostile("dataset.name", "dataset"), "number", "format", "rows"),
        *("test_rows", "created_by", "created_at"),
    ]
    list_select_related = ["dataset", "created_by"]
    search_fields = ["dataset__name", "format"]
    fields = [
        *("dataset", "number", "format", "rows", "test_rows", "train_file"),
        *("test_file", "manifest_shown", "created_by", "created_at"),
    ]
    manifest_shown = staticmethod(long_text("manifest_text", "Manifest"))


for model, page in (
    (models.Rubric, RubricAdmin),
    (models.RubricVersion, RubricVersionAdmin),
    (models.ReviewQueue, ReviewQueueAdmin),
    (models.ReviewItem, ReviewItemAdmin),
    (models.ItemVersion, ItemVersionAdmin),
    (models.Candidate, CandidateAdmin),
    (models.Claim, ClaimAdmin),
    (models.Response, ResponseAdmin),
    (models.Skip, SkipAdmin),
    (models.Resolution, ResolutionAdmin),
    (models.ReviewEvent, ReviewEventAdmin),
    (models.Rework, ReworkAdmin),
    (models.JudgeRun, JudgeRunAdmin),
    (models.Feed, FeedAdmin),
    (models.FeedRule, FeedRuleAdmin),
    (models.DatasetBuild, DatasetBuildAdmin),
    (models.Mark, MarkAdmin),
    (models.Dataset, DatasetAdmin),
    (models.DatasetVersion, DatasetVersionAdmin),
):
    admin.site.register(model, page)
