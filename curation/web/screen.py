# SPDX-License-Identifier: Apache-2.0
"""What a reviewer sees of an item: the request, the answer or answers, and the questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from batchsite.accounts.models import User
from curation import reviewing, standing
from curation.models import Candidate, Response, ReviewQueue
from curation.questions import Question, read_answers
from curation.reviewing import Work
from jobs.answer_text import messages_of, parsed, question_of, text_of
from jobs.refusals import Refused
from jobs.templatetags.figures import printable
from jobs.web import markdown
from jobs.web.reading import RENDERED_TEXT, SHOWN_TEXT, indented
from jobs.web.worddiff import Piece, differences

from . import answers

EVENTS_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer as it is read: as Markdown, or as it is where it is JSON or is marked."""

    letter: str
    text: str
    html: str
    model: str
    finish_reason: str
    cut_at: int


# --- one item


def original(version_candidates: list[Candidate]) -> str:
    """The text that a correction begins with: the only answer, or none."""
    if len(version_candidates) != 1:
        return ""
    return pretty(text_of(parsed(version_candidates[0].body)))


def pretty(text: str) -> str:
    """JSON with its lines indented, and any other text as it is."""
    start = text.lstrip()[:1]
    return indented(text) if start in ("{", "[") else text


def context(
    work: Work,
    user: User,
    *,
    given: Mapping[str, Any] | None = None,
    refused: Refused | None = None,
) -> dict[str, Any]:
    """What the review screen shows of a held item, or of one that is looked back at.

    `given` are answers that were refused, which stay in the form.
    """
    item, version, queue = work.item, work.version, work.item.queue
    questions = queue.rubric_version.questions
    said = work.response.state == Response.State.SUBMITTED
    before, after = reviewing.beside(work)
    layout = [candidate.place for candidate in work.shown]
    errors = errors_of(refused)
    return {
        **frame(queue),
        "item": item,
        "version": version,
        "response": work.response,
        "submitted": said,
        "asked": request_of(version.request_body),
        "shown": answers_of(
            queue,
            work.candidates,
            layout,
            shows_model=said or not queue.blind_model,
        ),
        "fields": answers.fields(
            questions,
            work.response.answers if given is None else given,
            original=original(work.candidates),
            layout=layout,
            errors=errors,
        ),
        "refused": refused,
        "has_errors": bool(errors),
        "is_one": len(questions) == 1,
        "others": _others(work) if said else [],
        "before": before,
        "after": after,
        "events": item.events.select_related("user")[:EVENTS_SHOWN] if said else [],
    }


def frame(queue: ReviewQueue) -> dict[str, Any]:
    """What stands above each item of the queue."""
    return {
        "queue": queue,
        "standing": standing.of(queue),
        "guidelines": markdown.rendered(queue.guidelines[:RENDERED_TEXT]),
    }


def errors_of(refused: Refused | None) -> dict[str, str]:
    """The refusal at the question that it names."""
    if refused is None or not refused.param:
        return {}
    area, _, key = refused.param.partition(".")
    if area != "answers":
        return {}
    # Without the path into the question, and the field's name before the words.
    _, _, words = refused.message.partition("': ")
    why = words or refused.message
    return {key.partition("[")[0].partition(".")[0]: f"{why[:1].upper()}{why[1:]}"}


def request_of(body: str) -> list[tuple[str, str, int]]:
    """Roles, their texts, and where each is cut off."""
    return [
        (printable(role), printable(text[:SHOWN_TEXT]), _cut(text, SHOWN_TEXT))
        for role, text in messages_of(parsed(body))
    ]


def _cut(text: str, most: int) -> int:
    return most if len(text) > most else 0


def question(body: str) -> str:
    """The last thing that a request says, for a line of a list."""
    return question_of(parsed(body))


def answers_of(
    queue: ReviewQueue,
    candidates: list[Candidate],
    layout: list[int],
    *,
    shows_model: bool,
) -> list[Shown]:
    """The answers in this order of their places; several have letters."""
    raw = any(q.type == "spans" for q in queue.rubric_version.questions)
    named = answers.letters(layout)
    return [
        _shown(
            candidate,
            named[candidate.place] if len(candidates) > 1 else "",
            raw=raw,
            model=candidate.model if shows_model else "",
        )
        for candidate in sorted(candidates, key=lambda one: layout.index(one.place))
    ]


def _shown(candidate: Candidate, letter: str, *, raw: bool, model: str) -> Shown:
    text = text_of(parsed(candidate.body))
    laid_out = text if raw else pretty(text)
    as_is = raw or laid_out.lstrip()[:1] in ("{", "[")
    most = SHOWN_TEXT if as_is else RENDERED_TEXT
    html = "" if as_is else markdown.rendered(text[:most])
    return Shown(
        letter,
        # Marks count characters, of which `printable` leaves as many as there are.
        printable(laid_out[:most]) if as_is else "",
        html,
        printable(model),
        candidate.finish_reason,
        _cut(laid_out, most),
    )


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody else said of the same version, question by question."""

    who: str
    answers: list[tuple[str, str]]


def _others(work: Work) -> list[Said]:
    """Other people's judgements, for somebody who has given his."""
    questions = work.item.queue.rubric_version.questions
    rows = Response.objects.submitted().filter(version=work.version)
    rows = rows.exclude(pk=work.response.pk).select_related("user").order_by("pk")
    return [
        Said(str(row.user), spoken(questions, row.answers, work.response.layout))
        for row in rows
    ]


def spoken(
    questions: list[Question], said: Mapping[str, Any], layout: list[int]
) -> list[tuple[str, str]]:
    """Answers in words, with the titles of their questions; only what was answered."""
    return [
        (question.title, in_words(question, said[question.key], layout))
        for question in questions
        if question.key in said
    ]


def in_words(question: Question, value: Any, layout: list[int]) -> str:
    """One answer as people read it."""
    titles = {option.value: option.title for option in question.options}
    match question.type:
        case "label":
            return titles.get(value, str(value))
        case "multi_label":
            return ", ".join(titles.get(one, str(one)) for one in value)
        case "boolean":
            return "Yes" if value else "No"
        case "pairwise":
            shown = answers.fields([question], {}, original="", layout=layout)[0]
            return next((c.title for c in shown.choices if c.value == value), value)
        case "ranking":
            named = answers.letters(layout)
            tiers = (" = ".join(named[p] for p in tier) for tier in value)
            return " > ".join(tiers)
        case "spans":
            return ", ".join(
                f"{titles.get(one['label'], one['label'])} ({one['start']} to {one['end']})"
                for one in value
            )
        case _:
            return f"{value:g}" if isinstance(value, float) else str(value)


# --- a correction against what it corrects


@dataclass(frozen=True, slots=True)
class Compared:
    """A correction beside the original: stretches that were taken away and put in."""

    pieces: list[tuple[str, str]]
    changes: int
    problem: str
    question: Question

    @property
    def is_json(self) -> bool:
        """Whether it must be JSON."""
        return self.question.format == "json"


def compared(before: str, after: str, question: Question) -> Compared:
    """One text in which what is gone and what is new stand in their places."""
    old, new = differences(
        printable(before[:SHOWN_TEXT]), printable(after[:SHOWN_TEXT])
    )
    pieces = _woven(old, new)
    # What is gone and what stands in its place are one change.
    runs = groupby(kind == "same" for kind, _ in pieces)
    changes = sum(not same for same, _ in runs)
    return Compared(pieces, changes, _problem(after, question), question)


def _woven(old: list[Piece], new: list[Piece]) -> list[tuple[str, str]]:
    """Both texts as one; unchanged stretches are the same pieces in both."""
    found: list[tuple[str, str]] = []
    left, right = list(old), list(new)
    while left or right:
        if left and left[0].changed:
            found.append(("gone", left.pop(0).text))
        elif right and right[0].changed:
            found.append(("new", right.pop(0).text))
        else:
            if right:
                found.append(("same", right.pop(0).text))
            if left:
                left.pop(0)
    return found


def _problem(text: str, question: Question) -> str:
    """Why the correction is not in the form that its question names; "" where it is."""
    if question.format != "json":
        return ""
    try:
        read_answers([question], {question.key: text}, final=True)
    except Refused as refused:
        return errors_of(refused).get(question.key, refused.message)
    return ""
