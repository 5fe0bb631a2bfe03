# SPDX-License-Identifier: Apache-2.0
"""How much a team, and all teams together, may have waiting.

A team's own column wins over the site's setting; a setting of 0 means no limit. The
checks run in the transaction that adds the work, under a lock on the team's row (and
on the installation's row for the total), so that two at once cannot both take the last
place. SQLite runs such transactions one after the other by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, F, Q, QuerySet, Sum, When
from django.utils import timezone

from batchsite.accounts.installation import ensure_row
from batchsite.accounts.models import Installation, Team

from .jsonl import LineError
from .models import Batch, BatchFile, Upload
from .refusals import Refused

HOUR = timedelta(hours=1)
# When a queue has room again, nobody knows; clients that wait come so often.
FULL_RETRY_SECONDS = 60
# Requests of a batch that have no result yet; while it is validated, those expected.
WAITING = Case(
    When(status=Batch.Status.VALIDATING, then=F("expected_requests")),
    default=F("total") - F("completed") - F("failed"),
)


class LimitReached(Refused):
    """A limit is reached: 429. `kind` is OpenAI's error type: "requests" or "tokens".

    `retry_after` is in seconds, None where waiting does not help.
    """

    def __init__(
        self, message: str, *, kind: str = "requests", retry_after: int | None = None
    ) -> None:
        super().__init__(message, code="rate_limit_exceeded")
        self.kind = kind
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a limit is used; `limit` is None where there is none."""

    used: int
    limit: int | None

    @property
    def free(self) -> int | None:
        """What may still be added; None without a limit."""
        return None if self.limit is None else max(self.limit - self.used, 0)

    def has_room(self, more: int) -> bool:
        """Whether that much may be added."""
        return self.limit is None or self.used + more <= self.limit

    def told(self, what: str) -> str:
        """The limit, what is used and what is free, in words; only with a limit."""
        return (
            f"Limit: {self.limit:,} {what}, used: {self.used:,}, free: {self.free:,}."
        )


def queued_requests_limit(team: Team) -> int | None:
    """Most requests of the team that may wait or run."""
    return _own_or(team.max_queued_requests, settings.BATCHSITE_MAX_QUEUED_REQUESTS)


def queued_tokens_limit(team: Team) -> int | None:
    """Most input tokens of one model that the team may have waiting or running."""
    return _own_or(team.max_queued_tokens, settings.BATCHSITE_MAX_QUEUED_TOKENS)


def batches_per_hour(team: Team) -> int | None:
    """Most batches that the team may create in any hour."""
    return _own_or(team.max_batches_per_hour, settings.BATCHSITE_BATCHES_PER_HOUR)


def _own_or(own: int | None, of_site: int) -> int | None:
    return own if own is not None else of_site or None


def queued() -> QuerySet[Batch]:
    """Batches whose requests wait or run; `active` brings the index."""
    return Batch.objects.active().filter(
        status__in=[Batch.Status.VALIDATING, Batch.Status.IN_PROGRESS]
    )


def check_create(*, team: Team, file: BatchFile | None) -> None:
    """LimitReached when the team may not have one more batch, of that file, now.

    Call it in the transaction that creates the batch, with `expected_requests` of the
    new batch set to the file's lines.
    """
    team = _lock(team, everybody=bool(settings.BATCHSITE_MAX_QUEUED_REQUESTS_TOTAL))
    _check_hour(team)
    _check_queue(team, max(file.lines, 1) if file else 0)


def _check_queue(team: Team, lines: int) -> None:
    """LimitReached when so many requests more may not wait."""
    ours, all_teams = requests_usage(team)
    if not ours.has_room(lines):
        raise LimitReached(
            f"Queued request limit reached for {team}: this file has {lines:,} lines."
            f" {ours.told('queued requests')} Please try again once some batches have"
            " been completed.",
            retry_after=FULL_RETRY_SECONDS,
        )
    if not all_teams.has_room(lines):
        raise LimitReached(
            f"The queue of this site is full: this file has {lines:,} lines."
            f" {all_teams.told('queued requests of all teams')} Please try again once"
            " some batches have been completed.",
            retry_after=FULL_RETRY_SECONDS,
        )


def check_room(*, team: Team, lines: int) -> None:
    """LimitReached when a batch of so many lines would be refused, as far as is seen now.

    For before work is put into its file; create asks again, under the locks.
    """
    _check_hour(team)
    _check_queue(team, lines)


def stored_usage(team: Team) -> Usage:
    """Bytes of the files that the team keeps, and those declared for pending uploads."""
    kept = BatchFile.objects.filter(team=team, deleted_at__isnull=True)
    pending = Upload.objects.filter(team=team, status=Upload.Status.PENDING)
    used = sum(rows.aggregate(sum=Sum("bytes"))["sum"] or 0 for rows in (kept, pending))
    return Usage(used, settings.BATCHSITE_MAX_STORED_BYTES or None)


def check_storage(*, team: Team, more: int) -> None:
    """Refused when the team may not keep that many bytes more."""
    if not settings.BATCHSITE_MAX_STORED_BYTES:
        return
    usage = stored_usage(team)
    if not usage.has_room(more):
        raise Refused(
            f"The storage of {team} is full: {more:,} bytes more do not fit."
            f" {usage.told('bytes')} Delete files that are not needed any more."
        )


def lock_storage(team: Team) -> None:
    """Within a transaction: until it ends nobody else adds bytes to the team."""
    _lock(team, everybody=False)


def requests_usage(team: Team) -> tuple[Usage, Usage]:
    """Queued requests of the team, and of all teams together."""
    sums = queued().aggregate(ours=Sum(WAITING, filter=Q(team=team)), all=Sum(WAITING))
    return (
        Usage(sums["ours"] or 0, queued_requests_limit(team)),
        Usage(sums["all"] or 0, settings.BATCHSITE_MAX_QUEUED_REQUESTS_TOTAL or None),
    )


def tokens_usage(team: Team, *, model: str, without: int = 0) -> Usage:
    """Queued input tokens of one model ("": batches of several models) in the team.

    `without` leaves one batch out, by primary key.
    """
    batches = queued().filter(team=team, model=model).exclude(pk=without)
    used = batches.aggregate(tokens=Sum("expected_tokens"))["tokens"] or 0
    return Usage(used, queued_tokens_limit(team))


def hour_usage(team: Team) -> Usage:
    """Batches that the team created in the last hour."""
    since = timezone.now() - HOUR
    newest = Batch.objects.filter(team=team).order_by("-pk").values("created_at")
    limit = batches_per_hour(team)
    # The newest ones only: counting by time would read all that the team ever had.
    taken = newest[: limit if limit is not None else 10_000]
    used = sum(1 for row in taken if row["created_at"] > since)
    return Usage(used, limit)


def _check_hour(team: Team) -> None:
    """LimitReached while the Nth newest batch, N the limit, is not an hour old."""
    limit = batches_per_hour(team)
    if limit is None:
        return
    told = f"Batch creation limit reached for {team}: {limit:,} batches in an hour."
    if limit == 0:
        raise LimitReached(told)
    made = Batch.objects.filter(team=team).order_by("-pk")
    nth: datetime | None = made.values_list("created_at", flat=True)[
        limit - 1 : limit
    ].first()
    wait = nth + HOUR - timezone.now() if nth else timedelta(0)
    if wait > timedelta(0):
        seconds = math.ceil(wait.total_seconds())
        raise LimitReached(
            f"{told} {Usage(limit, limit).told('batches in an hour')} Please try again"
            f" in {seconds}s.",
            retry_after=seconds,
        )


def reserve_tokens(batch: Batch, tokens: int, *, model: str) -> None:
    """Count the batch's estimated input tokens against the limits, once.

    Writes `expected_tokens` and `model` ("" for several models) of a batch that is
    still being validated; repeating it is harmless. Raises LineError with OpenAI's
    code `token_limit_exceeded` when there is no room.
    """
    total = settings.BATCHSITE_MAX_QUEUED_TOKENS_TOTAL
    with transaction.atomic():
        _lock(batch.team, everybody=bool(total))
        usage = tokens_usage(batch.team, model=model, without=batch.pk)
        if not usage.has_room(tokens):
            raise _no_tokens(
                usage, f"{model or 'several models'} in organization {batch.team}"
            )
        if total:
            used = queued().exclude(pk=batch.pk).aggregate(all=Sum("expected_tokens"))
            everybody = Usage(used["all"] or 0, total)
            if not everybody.has_room(tokens):
                raise _no_tokens(everybody, "all organizations of this site")
        Batch.objects.filter(pk=batch.pk, status=Batch.Status.VALIDATING).update(
            expected_tokens=tokens, model=model
        )
    batch.expected_tokens, batch.model = tokens, model


def _no_tokens(usage: Usage, whose: str) -> LineError:
    return LineError(
        "token_limit_exceeded",
        f"Enqueued token limit reached for {whose}. Limit: {usage.limit} enqueued"
        " tokens. Please try again once some in_progress batches have been completed.",
    )


def _lock(team: Team, *, everybody: bool) -> Team:
    """Until the transaction ends nobody else passes a check of this team; its row now.

    With `everybody`, of any team. Always in this order. The lock does not hinder rows
    that only refer to the team.
    """
    if not connection.features.has_select_for_update:
        return Team.objects.get(pk=team.pk)
    team = Team.objects.select_for_update(no_key=True).get(pk=team.pk)
    if everybody:
        ensure_row()
        Installation.objects.select_for_update(no_key=True).get(pk=1)
    return team
