# SPDX-License-Identifier: Apache-2.0
"""Label Studio's tasks and annotations: out of a queue, and judgements from there in.

Source: Label Studio's documentation, "Task format" and "Tags": a task has `data`, and
`annotations` with a `result` of regions, each with from_name, to_name, type and value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from django.db import transaction

from batchsite.accounts.models import User
from jobs import auditing
from jobs.answer_text import messages_of, parsed, text_of
from jobs.api.parsers import is_storable
from jobs.refusals import NotForThem, NotNow, Refused
from jobs.row_checks.parameters import bad

from . import reviewing
from .models import ItemVersion, Response, ReviewItem, ReviewQueue
from .questions import VOTES, Question

READ_AT_ONCE = 200
MOST_TASKS = 20_000
DAY_SECONDS = 86_400
TO_JUDGE = (ReviewItem.State.PENDING, ReviewItem.State.IN_PROGRESS)
ITEM, VERSION = "batchsite_item", "batchsite_version"
ASKED, SAID = "request", "answer"


# --- the labelling configuration


def config(queue: ReviewQueue) -> str:
    """The XML of a project that asks what the queue asks.

    Refused for rankings, which Label Studio keeps in a form of its own.
    """
    view = ET.Element("View")
    ET.SubElement(view, "Header", value="Request")
    ET.SubElement(view, "Text", name=ASKED, value=f"${ASKED}")
    for name in _answers(queue):
        ET.SubElement(view, "Header", value=name.replace("_", " ").capitalize())
        ET.SubElement(view, "Text", name=name, value=f"${name}")
    about = _answers(queue)[0]
    for question in queue.rubric_version.questions:
        ET.SubElement(view, "Header", value=question.title)
        _tag(view, question, about)
    ET.indent(view)
    return ET.tostring(view, encoding="unicode")


def _answers(queue: ReviewQueue) -> list[str]:
    """The names of the answers that are shown."""
    if queue.kind == ReviewQueue.Kind.SINGLE:
        return [SAID]
    if queue.kind == ReviewQueue.Kind.PAIRWISE:
        return ["answer_a", "answer_b"]
    raise bad("queue", "Label Studio takes no rankings from here.")


def _tag(view: ET.Element, question: Question, about: str) -> None:
    common: dict[str, str] = {"name": question.key, "toName": about}
    if question.required and question.type != "spans":
        common["required"] = "true"
    match question.type:
        case "label" | "multi_label" | "boolean" | "pairwise":
            several = question.type == "multi_label"
            choice = "multiple" if several else "single"
            tag = ET.SubElement(view, "Choices", common, choice=choice)
            for value in _values(question):
                ET.SubElement(tag, "Choice", value=value)
        case "rating":
            most = str(int(question.high or 10))
            ET.SubElement(view, "Rating", common, maxRating=most)
        case "number":
            ET.SubElement(view, "Number", common)
        case "spans":
            tag = ET.SubElement(view, "Labels", common)
            for value in question.values:
                ET.SubElement(tag, "Label", value=value)
        case _:
            ET.SubElement(view, "TextArea", common, maxSubmissions="1")


def _values(question: Question) -> Sequence[str]:
    if question.type == "boolean":
        return ("yes", "no")
    return VOTES if question.type == "pairwise" else question.values


# --- out


def tasks(queue: ReviewQueue, *, user: User) -> Iterator[dict[str, Any]]:
    """A task for each item, with the judgements that were submitted; in slices.

    Of a blind queue `user` gets none of an item that he may still judge himself.
    """
    hides = queue.blind_others and reviewing.may_review(queue, user)
    names = _answers(queue)
    questions = queue.rubric_version.questions
    rows = (
        ReviewItem.objects.filter(queue=queue, gold_text="")
        .exclude(state=ReviewItem.State.EXCLUDED)
        .select_related("version")
        .order_by("pk")
    )
    after = 0
    while found := list(rows.filter(pk__gt=after)[:READ_AT_ONCE]):
        versions = [item.version_id for item in found]
        said: dict[int, list[Response]] = {}
        for response in (
            Response.objects.submitted()
            .filter(version__in=versions)
            .select_related("user")
            .order_by("pk")
        ):
            said.setdefault(response.version_id, []).append(response)
        for item in found:
            version = item.version
            if version is not None:
                given = said.get(version.pk, [])
                if hides and item.state in TO_JUDGE and not _is_of(given, user):
                    given = []
                yield _task(item, version, names, questions, given)
        after = found[-1].pk


def _is_of(said: Sequence[Response], user: User) -> bool:
    return any(response.user_id == user.pk for response in said)


def _task(
    item: ReviewItem,
    version: ItemVersion,
    names: Sequence[str],
    questions: Sequence[Question],
    said: Sequence[Response],
) -> dict[str, Any]:
    candidates = list(version.candidates.all())
    asked = messages_of(parsed(version.request_body))
    texts = [text_of(parsed(candidate.body)) for candidate in candidates]
    return {
        "id": item.pk,
        "data": {
            ITEM: item.public_id,
            VERSION: version.number,
            "custom_id": version.custom_id,
            ASKED: "\n\n".join(f"{role}: {text}" for role, text in asked),
            **dict(zip(names, texts, strict=False)),
        },
        "annotations": [
            {
                "id": response.pk,
                "completed_by": {"email": response.user.email},
                "lead_time": response.seconds,
                "result": _result(questions, response.answers, names[0], texts[0]),
            }
            for response in said
        ],
        "predictions": [],
    }


def _result(
    questions: Sequence[Question], answers: Mapping[str, Any], about: str, text: str
) -> list[dict[str, Any]]:
    found = []
    for question in questions:
        value = answers.get(question.key)
        if value is None:
            continue
        kind, values = OUT[question.type](value, text)
        for number, one in enumerate(values):
            found.append(
                {
                    "id": f"{question.key}-{number}",
                    "from_name": question.key,
                    "to_name": about,
                    "type": kind,
                    "value": one,
                }
            )
    return found


Out = Callable[[Any, str], tuple[str, list[dict[str, Any]]]]


def _choices(value: Any, _: str) -> tuple[str, list[dict[str, Any]]]:
    chosen = value if isinstance(value, list) else [value]
    words = [{True: "yes", False: "no"}.get(one, one) for one in chosen]
    return "choices", [{"choices": words}]


def _spans(value: Any, text: str) -> tuple[str, list[dict[str, Any]]]:
    return "labels", [
        {
            "start": one["start"],
            "end": one["end"],
            "text": text[one["start"] : one["end"]],
            "labels": [one["label"]],
        }
        for one in value
    ]


OUT: dict[str, Out] = {
    "label": _choices,
    "multi_label": _choices,
    "boolean": _choices,
    "pairwise": _choices,
    "rating": lambda value, _: ("rating", [{"rating": value}]),
    "number": lambda value, _: ("number", [{"number": value}]),
    "text": lambda value, _: ("textarea", [{"text": [value]}]),
    "correction": lambda value, _: ("textarea", [{"text": [value]}]),
    "spans": _spans,
}


# --- in


@dataclass(frozen=True, slots=True)
class Taken:
    """How many judgements came in, and why others did not."""

    taken: int
    left: list[str]


def take(
    queue: ReviewQueue, content: Any, *, user: User, address: str | None = None
) -> Taken:
    """Judgements of exported tasks; each is the person's who is named there by the
    address, else `user`'s. What does not fit is left and named; nothing counts twice.

    Refused for what is no list of tasks.
    """
    if not isinstance(content, list) or any(not isinstance(t, dict) for t in content):
        raise Refused("Label Studio's export is a JSON array of tasks.")
    many = [task.get("annotations") for task in content]
    judged = sum(len(some) for some in many if isinstance(some, list))
    if max(len(content), judged) > MOST_TASKS:
        raise Refused(f"{MOST_TASKS:,} tasks and judgements are taken at a time.")
    if not is_storable(content):
        raise Refused("The file has NUL characters or lone surrogates.")
    count, left = 0, []
    for number, task in enumerate(content):
        annotations = task.get("annotations")
        for annotation in annotations if isinstance(annotations, list) else []:
            try:
                count += _take_one(queue, task, annotation, user)
            except (Refused, NotNow, NotForThem) as why:
                left.append(f"task {number + 1}: {why}")
    facts = {"taken": count, "left": len(left)}
    auditing.note("queue.import", queue, user, address, **facts)
    return Taken(count, left)


def _take_one(
    queue: ReviewQueue, task: Mapping[str, Any], annotation: Any, user: User
) -> bool:
    if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
        return False
    data = task.get("data")
    code = data.get(ITEM) if isinstance(data, dict) else None
    rows = ReviewItem.objects.filter(queue=queue).select_related("queue", "version")
    item = rows.find(code) if isinstance(code, str) else None
    if item is None or item.version is None:
        raise bad(ITEM, "it names no item of this queue.")
    if isinstance(data, dict) and data.get(VERSION) != item.version.number:
        raise bad(VERSION, "the item has another version by now.")
    person = _person(queue, annotation.get("completed_by"), user)
    said = Response.objects.submitted().filter(version=item.version, user=person)
    if said.exists():
        return False
    answers = _read(queue.rubric_version.questions, annotation.get("result"))
    seconds = annotation.get("lead_time")
    if not isinstance(seconds, int | float) or not 0 <= seconds <= DAY_SECONDS:
        seconds = 0.0
    # Nobody holds an item whose judgement does not fit.
    with transaction.atomic():
        reviewing.open_item(item=item, user=person)
        reviewing.submit(
            version=item.version, user=person, answers=answers, seconds=float(seconds)
        )
    return True


def _person(queue: ReviewQueue, named: Any, user: User) -> User:
    """Whose judgement it is."""
    email = named.get("email") if isinstance(named, dict) else named
    if isinstance(email, str):
        found = User.objects.filter(email__iexact=email).first()
        if found is not None and reviewing.may_review(queue, found):
            return found
    return user


def _read(questions: Sequence[Question], result: Any) -> dict[str, Any]:
    """Answers of a result's regions, for read_answers to judge."""
    known = {question.key: question for question in questions}
    found: dict[str, Any] = {}
    for region in result if isinstance(result, list) else []:
        if not isinstance(region, dict) or not isinstance(region.get("value"), dict):
            continue
        question = known.get(str(region.get("from_name")))
        if question is None:
            continue
        value = region["value"]
        match question.type:
            case "label" | "pairwise" | "multi_label" | "boolean":
                chosen = value.get("choices")
                chosen = chosen if isinstance(chosen, list) else [chosen]
                found[question.key] = _chosen(question, chosen)
            case "rating":
                found[question.key] = value.get("rating")
            case "number":
                found[question.key] = value.get("number")
            case "spans":
                found.setdefault(question.key, []).append(_span(value))
            case _:
                text = value.get("text")
                found[question.key] = (
                    "\n".join(map(str, text)) if isinstance(text, list) else text
                )
    return found


def _chosen(question: Question, chosen: list[Any]) -> Any:
    if question.type == "multi_label":
        return chosen
    first = chosen[0] if chosen else None
    if question.type == "boolean":
        return {"yes": True, "no": False}.get(str(first), first)
    return first


def _span(value: Mapping[str, Any]) -> dict[str, Any]:
    labels = value.get("labels")
    label = labels[0] if isinstance(labels, list) and labels else None
    return {"start": value.get("start"), "end": value.get("end"), "label": label}


def as_lines(queue: ReviewQueue, *, user: User) -> Iterator[str]:
    """All tasks as one JSON array, piece by piece."""
    start = "["
    for task in tasks(queue, user=user):
        # In ASCII: answers may hold what UTF-8 cannot say.
        yield f"{start}{json.dumps(task)}"
        start = ",\n"
    yield "[]\n" if start == "[" else "]\n"
