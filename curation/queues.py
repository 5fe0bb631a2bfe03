# SPDX-License-Identifier: Apache-2.0
"""Making review queues, changing them, and putting answers into them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import IntegrityError, transaction
from django.db.models import OuterRef, Subquery
from django.utils import timezone

from batchsite.accounts.models import Team, User
from batchsite.accounts.permissions import user_may
from jobs.answer_text import parsed, text_of
from jobs.auditing import note
from jobs.models import Batch, Result
from jobs.row_checks.parameters import bad, title

from .models import (
    Candidate,
    ItemVersion,
    Resolution,
    ReviewEvent,
    ReviewItem,
    ReviewQueue,
    RubricVersion,
)
from .questions import read_answers

ADDED_AT_ONCE = 100
RANKED_MOST = 10
SETTINGS = frozenset(
    {
        *("overlap", "coverage", "blind_model", "blind_others", "gold_rate"),
        *("lock_minutes", "skips", "auto_advance", "auto_resolve"),
        *("guidelines", "due_at"),
    }
)
Kind = ReviewQueue.Kind
# What a queue's rubric must ask, by the queue's kind.
ASKS = {Kind.PAIRWISE: "pairwise", Kind.RANKING: "ranking"}


@dataclass(frozen=True, slots=True)
class Subject:
    """What one item is about: an answer, or several to the same request.

    `gold` are its right answers where they are known.
    """

    results: Sequence[Result]
    priority: int = 0
    gold: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """Names the answers whatever their order."""
        return "|".join(sorted(f"{r.batch.public_id}#{r.index}" for r in self.results))


@dataclass(frozen=True, slots=True)
class Added:
    """How many items were made, were there before, and had no answer to judge."""

    added: int = 0
    known: int = 0
    without_answer: int = 0


def create_queue(
    *,
    team: Team,
    name: str,
    kind: str,
    rubric_version: RubricVersion,
    user: User | None,
    assignees: Iterable[User] = (),
    address: str | None = None,
    **settings: Any,
) -> ReviewQueue:
    """A queue without items; its rubric's version never changes from now on.

    Refused for a name that the team has, a rubric of another team or that does not ask
    what the kind needs, and for a reviewer who may not curate.
    """
    if unknown := settings.keys() - SETTINGS:
        raise ValueError(f"No queue has {', '.join(sorted(unknown))}.")
    name = title("name", name)
    people = _reviewers(team, assignees)
    queue = ReviewQueue(
        team=team,
        name=name,
        kind=kind,
        rubric_version=rubric_version,
        created_by=user,
        **settings,
    )
    _check(queue)
    try:
        with transaction.atomic():
            # Read under its lock: somebody may be changing it.
            asked = RubricVersion.objects.select_for_update().get(pk=rubric_version.pk)
            _check_rubric(team, kind, asked)
            queue.rubric_version = asked
            RubricVersion.objects.filter(pk=asked.pk).update(used=True)
            queue.save(force_insert=True)
            queue.assignees.set(people)
            note("queue.create", queue, user, address)
    except IntegrityError:
        raise _name_taken(queue) from None
    return queue


def change_queue(
    *,
    queue: ReviewQueue,
    user: User | None,
    address: str | None = None,
    assignees: Iterable[User] | None = None,
    **changes: Any,
) -> ReviewQueue:
    """Change a queue's name, state, settings or reviewers.

    Another overlap or coverage holds for items that come later. Refused as by
    create_queue.
    """
    if unknown := changes.keys() - SETTINGS - {"name", "state"}:
        raise ValueError(f"No queue is changed in {', '.join(sorted(unknown))}.")
    if "name" in changes:
        changes["name"] = title("name", changes["name"])
    people = None if assignees is None else _reviewers(queue.team, assignees)
    try:
        with transaction.atomic():
            locked = ReviewQueue.objects.select_for_update().get(pk=queue.pk)
            new = {k: v for k, v in changes.items() if getattr(locked, k) != v}
            for name, value in new.items():
                setattr(locked, name, value)
            _check(locked)
            locked.save(update_fields=list(new))
            if people is not None:
                locked.assignees.set(people)
                new["assignees"] = [person.email for person in people]
            if new:
                note("queue.change", locked, user, address, changed=sorted(new))
    except IntegrityError:
        raise _name_taken(locked) from None
    return locked


def _check(queue: ReviewQueue) -> None:
    """Refuse the first field whose value is out of bounds."""
    for field in ReviewQueue._meta.fields:
        value = getattr(queue, field.attname)
        if field.choices and value not in dict(field.flatchoices):
            raise bad(
                field.name, f"it is none of {', '.join(dict(field.flatchoices))}."
            )
        for bound in field.validators:
            if not isinstance(bound, MinValueValidator | MaxValueValidator):
                continue
            limit: Any = bound.limit_value
            if value is not None and bound.compare(value, limit):
                more = "more" if isinstance(bound, MinValueValidator) else "less"
                raise bad(field.name, f"expected {limit} or {more}.")
    if "\0" in queue.guidelines:
        raise bad("guidelines", "the string has a NUL character.")


def _check_rubric(team: Team, kind: str, version: RubricVersion) -> None:
    rubric = version.rubric
    if rubric.team_id != team.pk:
        raise bad("rubric", "it is no rubric of this team.")
    if rubric.archived_at:
        raise bad("rubric", "it is archived.")
    if kind not in Kind.values:
        raise bad("kind", f"it is none of {', '.join(Kind.values)}.")
    types = {question.type for question in version.questions}
    needed = ASKS.get(Kind(kind))
    if needed and needed not in types:
        raise bad("rubric", f"a {kind} queue needs a question of type '{needed}'.")
    for other, type_ in ASKS.items():
        if type_ in types and other != kind:
            raise bad(
                "rubric", f"its question of type '{type_}' is for {other} queues."
            )


def _reviewers(team: Team, people: Iterable[User]) -> list[User]:
    found = list(people)
    for person in found:
        if not user_may(person, team, "curation:write"):
            raise bad("assignees", f"{person} may not curate in this team.")
    return found


def _name_taken(queue: ReviewQueue) -> Exception:
    if ReviewQueue.objects.filter(team=queue.team, name=queue.name).exists():
        return bad("name", "the team has a queue of this name.")
    return bad("queue", "it cannot be stored so.")


# --- items


def add_items(
    *,
    queue: ReviewQueue,
    subjects: Iterable[Subject],
    user: User | None,
    assigned_to: User | None = None,
    address: str | None = None,
    noted: bool = True,
) -> Added:
    """Put answers into the queue, each once however often it is sent.

    The answers are copied: they outlive their batches. In slices, each a transaction;
    what is there already is left out, so that a feed that was cut off goes on. `noted`:
    in the audit log.
    """
    coming = iter(subjects)
    done = Added()
    while some := list(islice(coming, ADDED_AT_ONCE)):
        part = _add_slice(queue, some, user, assigned_to)
        done = Added(
            done.added + part.added,
            done.known + part.known,
            done.without_answer + part.without_answer,
        )
    if done.added and noted:
        note("queue.feed", queue, user, address, items=done.added)
    return done


def _add_slice(
    queue: ReviewQueue,
    subjects: Sequence[Subject],
    user: User | None,
    assigned_to: User | None,
) -> Added:
    answered = [s for s in subjects if all(_is_answer(r) for r in s.results)]
    for subject in answered:
        _check_count(queue, subject)
    by_key = {subject.key: subject for subject in answered}
    with transaction.atomic():
        # Two feeds of one queue are one after the other, so that both count right.
        ReviewQueue.objects.select_for_update().get(pk=queue.pk)
        there = ReviewItem.objects.filter(queue=queue, key__in=list(by_key))
        known = set(there.values_list("key", flat=True))
        fresh = {key: one for key, one in by_key.items() if key not in known}
        items = ReviewItem.objects.bulk_create(
            ReviewItem(
                queue=queue,
                key=key,
                needed=_needed(queue, key),
                priority=subject.priority,
                assigned_to=assigned_to,
                gold_text=_gold_text(queue, subject),
            )
            for key, subject in fresh.items()
        )
        _add_versions(items, fresh)
        ReviewEvent.objects.bulk_create(
            ReviewEvent(item=item, user=user, kind="added") for item in items
        )
    return Added(len(items), len(answered) - len(items), len(subjects) - len(answered))


def _add_versions(items: Sequence[ReviewItem], subjects: dict[str, Subject]) -> None:
    """What reviewers see of new items; pairs of the same answer are ties at once."""
    versions = ItemVersion.objects.bulk_create(
        ItemVersion(
            item=item,
            custom_id=subjects[item.key].results[0].request.custom_id,
            endpoint=subjects[item.key].results[0].request.url,
            request_body=subjects[item.key].results[0].request.body,
        )
        for item in items
    )
    Candidate.objects.bulk_create(
        candidate_of(version, place, result)
        for item, version in zip(items, versions, strict=True)
        for place, result in enumerate(subjects[item.key].results)
    )
    newest = ItemVersion.objects.filter(item=OuterRef("pk")).order_by("-number")
    made = ReviewItem.objects.filter(pk__in=[item.pk for item in items])
    made.update(version=Subquery(newest.values("pk")[:1]))
    same = [
        version
        for item, version in zip(items, versions, strict=True)
        if item.queue.kind == Kind.PAIRWISE and _says_the_same(subjects[item.key])
    ]
    for version in same:
        _tie(version)


def candidate_of(version: ItemVersion, place: int, result: Result) -> Candidate:
    """A result's copy as a candidate of a version; not saved."""
    return Candidate(
        version=version,
        place=place,
        result=result,
        batch=result.batch,
        index=result.index,
        batch_code=result.batch.public_id,
        model=result.request.model or result.batch.model,
        provenance=result.provenance,
        body=result.body,
        finish_reason=result.finish_reason,
    )


def _is_answer(result: Result) -> bool:
    return result.outcome == Result.Outcome.COMPLETED


def _check_count(queue: ReviewQueue, subject: Subject) -> None:
    count = len(subject.results)
    allowed = {
        Kind.SINGLE: range(1, 2),
        Kind.PAIRWISE: range(2, 3),
        Kind.RANKING: range(2, RANKED_MOST + 1),
    }[Kind(queue.kind)]
    if count not in allowed:
        raise bad(
            "results", f"an item of a {queue.kind} queue has not {count} answers."
        )


def _needed(queue: ReviewQueue, key: str) -> int:
    """How many judge the item: by its name, so that it is the same however it comes."""
    digest = hashlib.sha256(f"{queue.public_id}/{key}".encode()).digest()
    covered = int.from_bytes(digest[:4]) % 100 < queue.coverage
    return queue.overlap if covered else 1


def _gold_text(queue: ReviewQueue, subject: Subject) -> str:
    if subject.gold is None:
        return ""
    questions = queue.rubric_version.questions
    several = len(subject.results)
    known = read_answers(
        questions, subject.gold, final=False, candidates=several, param="gold"
    )
    if not known:
        raise bad("gold", "a gold item needs a right answer at least.")
    return json.dumps(known)


def _says_the_same(subject: Subject) -> bool:
    texts = [text_of(parsed(result.body)).strip() for result in subject.results]
    return bool(texts[0]) and len(set(texts)) == 1


def _tie(version: ItemVersion) -> None:
    """Nobody has to compare two answers that are the same."""
    questions = version.item.queue.rubric_version.questions
    key = next(q.key for q in questions if q.type == "pairwise")
    Resolution.objects.create(
        version=version,
        how=Resolution.How.IDENTICAL,
        answers_text=json.dumps({key: "tie"}),
    )
    ReviewItem.objects.filter(pk=version.item_id).update(
        state=ReviewItem.State.COMPLETED, closed_at=timezone.now()
    )


# --- what is fed


def answers_of(batch: Batch, indexes: Iterable[int] | None = None) -> Iterator[Subject]:
    """Each answer of a batch, or those at these places, for a single queue."""
    for results in _slices(batch, indexes):
        yield from (Subject([result]) for result in results)


def same_requests(batches: Sequence[Batch]) -> Iterator[Subject]:
    """Answers of several batches to the requests that all of them have, by custom_id."""
    first, *others = batches
    for results in _slices(first, None):
        yield from beside(results, others)


def beside(results: Sequence[Result], others: Sequence[Batch]) -> Iterator[Subject]:
    """Each of one batch's results with those of the others to the same request.

    What one of the others lacks is left out; without others each stands alone.
    """
    ids = [result.request.custom_id for result in results]
    columns = [
        {
            other.request.custom_id: other
            for other in Result.objects.filter(
                batch=batch, request__custom_id__in=ids
            ).select_related("request", "batch")
        }
        for batch in others
    ]
    for result in results:
        code = result.request.custom_id
        if all(code in column for column in columns):
            yield Subject([result, *(column[code] for column in columns)])


def _slices(batch: Batch, indexes: Iterable[int] | None) -> Iterator[list[Result]]:
    rows = Result.objects.filter(batch=batch).select_related("request", "batch")
    if indexes is not None:
        wanted = iter(sorted(set(indexes)))
        while some := list(islice(wanted, ADDED_AT_ONCE)):
            yield list(rows.filter(index__in=some).order_by("index"))
        return
    after = -1
    while found := list(rows.filter(index__gt=after).order_by("index")[:ADDED_AT_ONCE]):
        yield found
        after = found[-1].index
