# SPDX-License-Identifier: Apache-2.0
"""Answers of a batch on their way into a queue: asked for by people, or by a rule."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from batchsite.accounts.models import User
from jobs import auditing, row_checks
from jobs.models import Batch, Result
from jobs.models.leases import TakenOver
from jobs.refusals import Refused
from jobs.result_search import ResultFilter, search
from jobs.row_checks.parameters import bad

from . import queues, sampling
from .models import Choosing, Feed, FeedRule, ReviewQueue
from .models.feeds import MOST_SAMPLED

TURN_SECONDS = 40.0
READ_AT_ONCE = 200
FEEDS_AT_ONCE = 20
MOST_RULES = 20
MOST_TICKED = 1000
Kind = ReviewQueue.Kind


def ask(
    *,
    queue: ReviewQueue,
    batch: Batch,
    user: User | None,
    wanted: ResultFilter | None = None,
    rows: Sequence[int] | None = None,
    beside: Sequence[Batch] = (),
    how: str = Choosing.ALL,
    most: int = 100,
    assigned_to: User | None = None,
    address: str | None = None,
) -> Feed:
    """Feed the batch's answers that match, or those at `rows`; `beside` to compare with.

    Work for a control worker. Refused where the kind of the queue asks for more batches,
    or for fewer, and for batches of another team.
    """
    _check(queue, [batch, *beside], how)
    if rows is not None and not 0 < len(rows) <= MOST_TICKED:
        raise bad("rows", f"choose 1 to {MOST_TICKED:,} rows.")
    if not 1 <= most <= MOST_SAMPLED:
        raise bad("most", f"expected 1 to {MOST_SAMPLED:,}.")
    with transaction.atomic():
        feed = Feed.objects.create(
            queue=queue,
            batch=batch,
            wanted_text=as_text(wanted or ResultFilter()),
            rows_text="" if rows is None else json.dumps(sorted(set(rows))),
            how=how,
            most=most,
            assigned_to=assigned_to,
            created_by=user,
        )
        feed.beside.set(beside)
        auditing.note("queue.send", queue, user, address, batch=batch.public_id)
    return feed


def _check(queue: ReviewQueue, batches: Sequence[Batch], how: str) -> None:
    if queue.state == ReviewQueue.State.ARCHIVED:
        raise bad("queue", "it is archived.")
    if any(batch.team_id != queue.team_id for batch in batches):
        raise bad("batch", "it is no batch of the queue's team.")
    if len({batch.pk for batch in batches}) < len(batches):
        raise bad("beside", "a batch is not compared with itself.")
    if how not in Choosing.values:
        raise bad("how", f"it is none of {', '.join(Choosing.values)}.")
    if how == Choosing.DISAGREEMENT and len(batches) == 1:
        raise bad("beside", "name the batch whose answers may differ.")
    if queue.kind == Kind.SINGLE and how != Choosing.DISAGREEMENT and len(batches) > 1:
        raise bad("beside", "this queue judges one answer at a time.")
    if queue.kind == Kind.PAIRWISE and len(batches) != 2:
        raise bad("beside", "a pairwise queue compares two batches.")
    if queue.kind == Kind.RANKING and not 2 <= len(batches) <= queues.RANKED_MOST:
        raise bad("beside", f"rank the answers of 2 to {queues.RANKED_MOST} batches.")


def add_rule(
    *,
    queue: ReviewQueue,
    user: User | None,
    model: str = "",
    tag: str = "",
    endpoint: str = "",
    wanted: ResultFilter | None = None,
    check: str = "",
    how: str = Choosing.RANDOM,
    most: int = 100,
    address: str | None = None,
) -> FeedRule:
    """Feed each batch of that kind that ends from now on. Refused for other queues than
    single ones, for what compares batches, and when there are enough rules.

    `check` is like `valid:failed`; without a name any check of the batch.
    """
    if queue.kind != Kind.SINGLE:
        raise bad("queue", "only queues of single answers are fed by themselves.")
    if how == Choosing.DISAGREEMENT or how not in Choosing.values:
        raise bad("how", "a rule cannot choose so.")
    if not 1 <= most <= MOST_SAMPLED:
        raise bad("most", f"expected 1 to {MOST_SAMPLED:,}.")
    if check and check.rpartition(":")[2] not in (
        one.value for one in row_checks.Outcome
    ):
        raise bad("check", f"expected NAME:failed; it is '{check[:100]}'.")
    if any("\0" in text for text in (model, tag, endpoint, check)):
        raise bad("model", "the string has a NUL character.")
    with transaction.atomic():
        locked = ReviewQueue.objects.select_for_update().get(pk=queue.pk)
        if locked.feed_rules.count() >= MOST_RULES:
            raise bad("queue", f"a queue has {MOST_RULES} rules at most.")
        rule = FeedRule.objects.create(
            queue=queue,
            model=model[:200],
            tag=tag[:64],
            endpoint=endpoint[:64],
            wanted_text=as_text(wanted or ResultFilter(), check),
            how=how,
            most=most,
            created_by=user,
        )
        auditing.note("queue.rule", queue, user, address, rule=str(rule))
    return rule


def remove_rule(
    *, rule: FeedRule, user: User | None, address: str | None = None
) -> None:
    """Feed nothing by it any more; what it fed stays."""
    with transaction.atomic():
        auditing.note("queue.rule_end", rule.queue, user, address, rule=str(rule))
        rule.delete()


# --- the filter as it is stored


def as_text(wanted: ResultFilter, check: str = "") -> str:
    """A filter as JSON that `from_text` reads; `check` where no batch is known yet."""
    found = asdict(replace(wanted, check=None))
    found["check"] = wanted.check.text if wanted.check else check
    return json.dumps({k: v for k, v in found.items() if v not in ("", None, ())})


def from_text(text: str, batch: Batch) -> ResultFilter:
    """The filter; Refused where the batch has no such check."""
    found: dict[str, Any] = json.loads(text)
    check = found.pop("check", None)
    found["more"] = tuple((name, value) for name, value in found.get("more", ()))
    if not check:
        return ResultFilter(**found)
    wanted = row_checks.wanted_by(batch, check)
    if wanted is None:
        raise bad("check", "this batch has no such check.")
    return ResultFilter(**found, check=wanted)


# --- the work


def wanted() -> bool:
    """Whether there is a feed to go on with, or a batch that a rule waits for."""
    return Feed.objects.due().exists() or any(
        rule.batches().exists() for rule in _rules()
    )


def _rules() -> Iterator[FeedRule]:
    live = FeedRule.objects.filter(queue__state=ReviewQueue.State.ACTIVE)
    return live.select_related("queue").order_by("pk").iterator()


def run(*, seconds: float = TURN_SECONDS) -> str:
    """Begin what rules ask for, and go on with feeds until `seconds` are over."""
    end = time.monotonic() + seconds
    for rule in _rules():
        now, batches = timezone.now(), list(rule.batches()[: FEEDS_AT_ONCE + 1])
        for batch in batches[:FEEDS_AT_ONCE]:
            _follow(rule, batch)
        if len(batches) <= FEEDS_AT_ONCE:
            FeedRule.objects.filter(pk=rule.pk).update(looked_at=now)
    count = 0
    while time.monotonic() < end and (feed := _take()) is not None:
        count += go_on(feed, end)
    return f"{count} items were added"


def _follow(rule: FeedRule, batch: Batch) -> None:
    try:
        with transaction.atomic():
            Feed.objects.create(
                queue=rule.queue,
                batch=batch,
                rule=rule,
                wanted_text=rule.wanted_text,
                how=rule.how,
                most=rule.most,
                created_by=rule.created_by,
            )
    except IntegrityError:
        # Another worker was quicker.
        return


def _take() -> Feed | None:
    """The next feed, held from now on; None when there is none."""
    due = Feed.objects.due().select_related("queue__rubric_version", "batch", "rule")
    for feed in due[:FEEDS_AT_ONCE]:
        if Feed.objects.due().take(feed):
            return feed
    return None


def go_on(feed: Feed, end: float) -> int:
    """Work on a held feed until it is done or `end`; how many items it added."""
    try:
        count = _turn(feed, end)
        feed.hold(taken_until=None)
    except Refused as refused:
        _end(feed, Feed.State.FAILED, refused.message)
        return 0
    except TakenOver:
        return 0
    return count


def _turn(feed: Feed, end: float) -> int:
    others = list(feed.beside.order_by("pk"))
    if "chosen" in feed.progress:
        return _add(feed, feed.progress["chosen"], others, end)
    if feed.rows_text:
        return _add(feed, json.loads(feed.rows_text), others, end)
    if _asks_nothing_of(feed):
        _end(feed, Feed.State.DONE)
        return 0
    asked = from_text(feed.wanted_text, feed.batch)
    if feed.how == Choosing.ALL:
        return _add_matching(feed, asked, others, end)
    return _sample(feed, asked, others, end)


def _asks_nothing_of(feed: Feed) -> bool:
    """Whether a rule's check is none of the batch's: it has others."""
    check = feed.rule.wanted_check if feed.rule else ""
    return bool(check) and row_checks.wanted_by(feed.batch, check) is None


def _add_matching(
    feed: Feed, asked: ResultFilter, others: Sequence[Batch], end: float
) -> int:
    """All that match, from where it came to."""
    count, after = 0, int(feed.progress.get("after", -1))
    while time.monotonic() < end:
        found = search(feed.batch, asked, after=after, limit=READ_AT_ONCE)
        after = found.reached
        indexes = [row.index for row in found.rows]
        count += _put(feed, indexes, others, {"after": after}, looked_at=after + 1)
        if found.ended:
            _end(feed, Feed.State.DONE)
            break
    return count


def _sample(
    feed: Feed, asked: ResultFilter, others: Sequence[Batch], end: float
) -> int:
    """Look at all that match, keep the chosen, and add them in the end."""
    after = int(feed.progress.get("after", -1))
    sample = sampling.Sample(feed.most, feed.progress.get("kept"))
    # The batch's name: the same rows whenever it is done again.
    salt = feed.batch.public_id
    while True:
        found = search(feed.batch, asked, after=after, limit=READ_AT_ONCE)
        results = _whole(feed.batch, [row.index for row in found.rows])
        several = feed.how == Choosing.DISAGREEMENT or feed.queue.kind != Kind.SINGLE
        compared = others if several else []
        for subject in queues.beside(results, compared):
            first, *rest = subject.results
            if any(r.outcome != Result.Outcome.COMPLETED for r in subject.results):
                continue
            placed = sampling.place(feed.how, first, rest, salt=salt)
            if placed is not None:
                sample.add(*placed, first.index)
        after = found.reached
        if found.ended:
            return _add(feed, sample.chosen(), others, end)
        if time.monotonic() >= end:
            kept = {"after": after, "kept": sample.as_json()}
            feed.hold(progress_text=json.dumps(kept), looked_at=after + 1)
            return 0


def _add(
    feed: Feed, indexes: Sequence[int], others: Sequence[Batch], end: float
) -> int:
    """Those at these places, from where it came to; the feed is done then."""
    count, start = 0, int(feed.progress.get("put", 0))
    while start < len(indexes):
        some, start = indexes[start : start + READ_AT_ONCE], start + READ_AT_ONCE
        progress = {"chosen": indexes, "put": start}
        count += _put(feed, some, others, progress)
        if time.monotonic() >= end and start < len(indexes):
            return count
    _end(feed, Feed.State.DONE)
    return count


def _whole(batch: Batch, indexes: Sequence[int]) -> list[Result]:
    rows = Result.objects.filter(batch=batch, index__in=list(indexes))
    return list(rows.select_related("request", "batch").order_by("index"))


def _put(
    feed: Feed,
    indexes: Sequence[int],
    others: Sequence[Batch],
    progress: dict[str, Any],
    **noted: Any,
) -> int:
    """Add the answers at these places and note it, as one: how many items there are more.

    `progress` is what another process would go on with.
    """
    results = _whole(feed.batch, indexes)
    if feed.queue.kind == Kind.SINGLE:
        others = []
    with transaction.atomic():
        # First, and so held until the end: of two processes the second one ends here.
        feed.hold(progress_text=json.dumps(progress), **noted)
        done = queues.add_items(
            queue=feed.queue,
            subjects=queues.beside(results, others),
            user=feed.created_by,
            assigned_to=feed.assigned_to,
            noted=False,
        )
        missing = len(results) - done.added - done.known - done.without_answer
        Feed.objects.filter(pk=feed.pk).update(
            added=F("added") + done.added,
            known=F("known") + done.known,
            without_answer=F("without_answer") + done.without_answer + missing,
        )
    return done.added


def _end(feed: Feed, state: str, problem: str = "") -> None:
    Feed.objects.filter(pk=feed.pk, turn=feed.turn, state=Feed.State.WAITING).update(
        state=state,
        problem=problem[:500],
        progress_text="{}",
        taken_until=None,
        ended_at=timezone.now(),
    )
