# SPDX-License-Identifier: Apache-2.0
"""Rows of datasets, made of what holds of an item: plain functions, without a database.

Formats as their readers name them: SFT and preference rows are TRL's conversational
ones (dataset formats and types of its documentation), KTO its unpaired preference;
OpenAI's preference rows are those of its fine-tuning guide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from jobs.answer_text import (
    first_choice,
    members,
    messages_of,
    parsed,
    question_of,
    text_of,
)
from jobs.row_checks.parameters import bad

from .questions import Question

Row = dict[str, Any]
Message = dict[str, Any]
# Roles that a message of a request may have, in OpenAI's and everybody's spelling.
ROLES = {"instructions": "system", "developer": "system", "input": "user"}
# Of a message, what trainers read.
KEPT = ("content", "tool_calls")


class NotExported(Exception):
    """The item makes no row of this format; the message is the reason, for counts."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An item with what holds of it.

    `bodies` and `models` are the candidates' in the order of their places, the bodies
    as JSON text, as `request` is.
    """

    key: str
    request: str
    bodies: Sequence[str]
    models: Sequence[str]
    questions: Sequence[Question]
    answers: Mapping[str, Any]
    custom_id: str = ""
    # What somebody gave it in passing, 0 to 1; None: what is rated says it.
    quality: float | None = None

    def answer_to(self, type_: str) -> Any:
        """What holds for the first question of that type; None: nothing."""
        key = next((q.key for q in self.questions if q.type == type_), None)
        return None if key is None else self.answers.get(key)


@dataclass(frozen=True, slots=True)
class Condition:
    """What an answer must be: one of `values`, or a number within bounds."""

    values: frozenset[str] = frozenset()
    least: float | None = None
    most: float | None = None

    def holds(self, answer: Any) -> bool:
        """Whether the answer is so; no answer never is."""
        if answer is None:
            return False
        if self.values:
            given = answer if isinstance(answer, list) else [answer]
            return any(_word(one) in self.values for one in given)
        if isinstance(answer, bool) or not isinstance(answer, int | float):
            return False
        low = self.least is None or answer >= self.least
        return low and (self.most is None or answer <= self.most)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class Accept:
    """Which items are good enough: every condition holds."""

    conditions: Mapping[str, Condition] = field(default_factory=dict)

    def takes(self, judged: Judged) -> bool:
        """Whether the item is one of them."""
        return all(
            condition.holds(judged.answers.get(key))
            for key, condition in self.conditions.items()
        )


ALL = Accept()


def read_accept(param: str, value: Any, questions: Sequence[Question]) -> Accept:
    """Conditions by question: `{"verdict": ["good"], "stars": {"least": 4}}`.

    Refused for a question that the rubric has not, or a condition that none can meet.
    """
    if not isinstance(value, dict):
        raise bad(param, "expected an object.", "invalid_type")
    known = {question.key: question for question in questions}
    found = {}
    for key, wanted in value.items():
        where = f"{param}.{str(key)[:50]}"
        if key not in known:
            raise bad(where, "the rubric has no such question.", "unknown_parameter")
        found[key] = _condition(where, wanted, known[key])
    return Accept(found)


def _condition(param: str, wanted: Any, question: Question) -> Condition:
    if isinstance(wanted, list):
        words = frozenset(_word(one) for one in wanted)
        allowed = {
            "boolean": {"true", "false"},
            "pairwise": {"a", "b", "tie", "both_bad"},
        }
        options = allowed.get(question.type) or set(question.values)
        if not words or not words <= options:
            raise bad(
                param, f"expected some of {', '.join(sorted(options)) or 'nothing'}."
            )
        return Condition(words)
    if isinstance(wanted, dict) and wanted and wanted.keys() <= {"least", "most"}:
        if question.type not in ("rating", "number"):
            raise bad(param, "bounds are for ratings and numbers.")
        numbers = list(wanted.values())
        if any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
            raise bad(param, "expected numbers.", "invalid_type")
        return Condition(least=wanted.get("least"), most=wanted.get("most"))
    raise bad(param, "expected an array of answers, or least and most.", "invalid_type")


# --- messages


def prompt_of(request: str) -> list[Message]:
    """What was asked, as chat messages; those of a chat as they were sent."""
    body = parsed(request)
    if isinstance(body, dict) and (sent := members(body.get("messages"))):
        return [_kept(message, ROLES.get(message.get("role", ""))) for message in sent]
    said = messages_of(body)
    if not said:
        raise NotExported("the request has no text")
    return [{"role": ROLES.get(role, role), "content": text} for role, text in said]


def _kept(message: Message, role: str | None) -> Message:
    made = {"role": role or str(message.get("role", "user"))}
    made |= {name: message[name] for name in KEPT if message.get(name) is not None}
    names = ("name", "tool_call_id")
    return made | {name: message[name] for name in names if name in message}


def reply_of(body: str) -> Message:
    """An answer as the assistant's message, with the tools that it calls."""
    said = parsed(body)
    if not isinstance(said, dict):
        raise NotExported("the answer is no JSON")
    message = first_choice(said).get("message")
    if isinstance(message, dict) and (
        message.get("content") or message.get("tool_calls")
    ):
        return _kept(message, "assistant")
    if not (text := text_of(said)):
        raise NotExported("the answer has no text")
    return {"role": "assistant", "content": text}


def best_of(judged: Judged) -> Message:
    """The answer that people would have given: corrected, or the best of several."""
    corrected = judged.answer_to("correction")
    if corrected:
        return {"role": "assistant", "content": corrected}
    return reply_of(judged.bodies[_best_place(judged)])


def _best_place(judged: Judged) -> int:
    if len(judged.bodies) == 1:
        return 0
    if vote := judged.answer_to("pairwise"):
        place = {"a": 0, "b": 1}.get(vote)
        if place is None:
            raise NotExported("neither answer is the better one")
        return place
    order = judged.answer_to("ranking")
    if not order:
        raise NotExported("nobody said which answer is the best")
    first: int = order[0][0]
    return first


def notes_of(judged: Judged) -> str:
    """What people wrote beside what holds."""
    texts = [judged.answers.get(q.key) for q in judged.questions if q.type == "text"]
    return "\n\n".join(text for text in texts if text)


def compared(judged: Judged) -> str:
    """What tells whether two items are alike: the last word of the request, and the answer."""
    asked = question_of(parsed(judged.request))
    corrected = judged.answer_to("correction")
    said = corrected or text_of(parsed(judged.bodies[0]))
    return f"{asked}\n{said}"


# --- formats


def sft(judged: Judged, accept: Accept) -> Iterator[Row]:
    """Supervised fine-tuning: the request's messages, and the accepted answer."""
    if not accept.takes(judged):
        raise NotExported("it is not good enough")
    yield {"messages": [*prompt_of(judged.request), best_of(judged)]}


def preference_pairs(judged: Judged) -> Iterator[tuple[Message, Message]]:
    """The better and the worse of two answers: by a vote, a ranking or a correction."""
    if len(judged.bodies) == 1:
        corrected = judged.answer_to("correction")
        original = reply_of(judged.bodies[0])
        if not corrected or corrected == original.get("content"):
            raise NotExported("nothing was corrected")
        yield {"role": "assistant", "content": corrected}, original
        return
    replies = [reply_of(body) for body in judged.bodies]
    if vote := judged.answer_to("pairwise"):
        if vote not in ("a", "b"):
            raise NotExported("neither answer is the better one")
        better = "ab".index(vote)
        yield replies[better], replies[1 - better]
        return
    order = judged.answer_to("ranking") or []
    if len(order) < 2:
        raise NotExported("neither answer is the better one")
    for above, below in combinations(order, 2):
        yield from ((replies[a], replies[b]) for a in above for b in below)


def dpo(judged: Judged, accept: Accept) -> Iterator[Row]:
    """TRL's preference rows."""
    if not accept.takes(judged):
        raise NotExported("it is not good enough")
    prompt = prompt_of(judged.request)
    for chosen, rejected in preference_pairs(judged):
        yield {"prompt": prompt, "chosen": [chosen], "rejected": [rejected]}


def openai_preference(judged: Judged, accept: Accept) -> Iterator[Row]:
    """OpenAI's preference fine-tuning rows."""
    if not accept.takes(judged):
        raise NotExported("it is not good enough")
    body = parsed(judged.request)
    tools = body.get("tools") if isinstance(body, dict) else None
    given: Row = {"messages": prompt_of(judged.request)}
    given |= {"tools": tools or [], "parallel_tool_calls": True}
    for chosen, rejected in preference_pairs(judged):
        yield {
            "input": given,
            "preferred_output": [chosen],
            "non_preferred_output": [rejected],
        }


def kto(judged: Judged, accept: Accept) -> Iterator[Row]:
    """TRL's unpaired preference: each answer, and whether it is a good one."""
    if not accept.conditions:
        raise bad("accept", "say which answers are good: KTO learns from both kinds.")
    if len(judged.bodies) != 1:
        raise NotExported("it has several answers")
    yield {
        "prompt": prompt_of(judged.request),
        "completion": [reply_of(judged.bodies[0])],
        "label": accept.takes(judged),
    }


def reward(judged: Judged, accept: Accept) -> Iterator[Row]:
    """For reward models and evaluations: what was asked, what is right, and why."""
    if not accept.takes(judged):
        raise NotExported("it is not good enough")
    compared = {q.key for q in judged.questions if q.type not in ("text", "correction")}
    alone = len(judged.bodies) == 1
    only = reply_of(judged.bodies[0]).get("content") if alone else None
    yield {
        "id": judged.key,
        "input": prompt_of(judged.request),
        "output": only,
        "expected_output": best_of(judged).get("content"),
        "scores": {k: v for k, v in judged.answers.items() if k in compared},
        "rationale": notes_of(judged),
    }


Format = Callable[[Judged, Accept], Iterator[Row]]
FORMATS: dict[str, Format] = {
    "sft": sft,
    "dpo": dpo,
    "kto": kto,
    "openai_preference": openai_preference,
    "reward": reward,
}
