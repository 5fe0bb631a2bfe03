# SPDX-License-Identifier: Apache-2.0
"""Rubrics to begin with: each as its JSON is written by hand, and imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ready:
    """A rubric that ships; `kind` is the kind of queue it is for."""

    slug: str
    name: str
    about: str
    kind: str
    questions: Sequence[dict[str, Any]]


def _label(key: str, title: str, *options: str, **more: Any) -> dict[str, Any]:
    listed = [
        dict(zip(("value", "title"), o.split("|"), strict=False)) for o in options
    ]
    return {"key": key, "type": "label", "title": title, "options": listed, **more}


def _rating(key: str, title: str, help_: str = "", high: int = 5) -> dict[str, Any]:
    made = {"key": key, "type": "rating", "title": title, "min": 1, "max": high}
    return {**made, "goal": "higher", **({"help": help_} if help_ else {})}


def _yes(key: str, title: str, goal: str = "higher") -> dict[str, Any]:
    return {"key": key, "type": "boolean", "title": title, "goal": goal}


def _note(key: str = "note", title: str = "What should the next reader know?") -> Any:
    return {"key": key, "type": "text", "title": title, "required": False}


def _spans(*options: str, title: str) -> dict[str, Any]:
    listed = [
        dict(zip(("value", "title"), o.split("|"), strict=False)) for o in options
    ]
    made = {"key": "passages", "type": "spans", "title": title, "options": listed}
    return {**made, "required": False}


CORRECTED_TEXT = {
    "key": "corrected",
    "type": "correction",
    "title": "The answer as it should be",
    "help": "Leave it as it is where nothing is wrong.",
    "required": False,
}
CORRECTED_JSON = {**CORRECTED_TEXT, "format": "json"}
USABLE = _label(
    "verdict",
    "Can it be used?",
    "yes|Yes, as it is",
    "edited|Yes, once corrected",
    "no|No",
)
READY: Sequence[Ready] = (
    Ready(
        "candidate-evaluation",
        "Candidate evaluation",
        "Whether a summary of an applicant is fair, complete and useful for a decision.",
        "single",
        [
            USABLE,
            _rating("evidence", "Each claim is backed by the documents"),
            _rating("complete", "Nothing that matters is missing"),
            _yes("fair", "It judges the work, and no personal trait"),
            _label(
                "recommendation",
                "Its recommendation follows from what it says",
                "follows|Follows",
                "too_high|Too favourable",
                "too_low|Too harsh",
                "none|It makes none",
            ),
            _spans(
                "unfounded|Not in the documents",
                "unfair|Unfair",
                title="Mark what must not stay",
            ),
            CORRECTED_TEXT,
            _note(),
        ],
    ),
    Ready(
        "cv-parsing",
        "CV parsing",
        "Whether the fields that were read from a CV are right.",
        "single",
        [
            USABLE,
            {
                "key": "wrong_fields",
                "type": "multi_label",
                "title": "Which fields are wrong?",
                "options": [
                    {"value": "name", "title": "Name"},
                    {"value": "contact", "title": "Contact"},
                    {"value": "positions", "title": "Positions"},
                    {"value": "dates", "title": "Dates"},
                    {"value": "education", "title": "Education"},
                    {"value": "skills", "title": "Skills"},
                    {"value": "languages", "title": "Languages"},
                ],
                "required": False,
            },
            _yes("invented", "Something is in it that the CV does not say", "lower"),
            CORRECTED_JSON,
            _note(),
        ],
    ),
    Ready(
        "email-evaluation",
        "E-mail evaluation",
        "Whether a drafted reply could be sent.",
        "single",
        [
            USABLE,
            _rating("answers", "It answers what was asked"),
            _rating("correct", "What it says is right"),
            _rating("tone", "Its tone fits the sender and the matter"),
            _label(
                "length",
                "Its length",
                "short|Too short",
                "right|Right",
                "long|Too long",
            ),
            _yes("promise", "It promises what nobody agreed to", "lower"),
            CORRECTED_TEXT,
            _note(),
        ],
    ),
    Ready(
        "report-evaluation",
        "Report evaluation",
        "Whether a longer text is right, clear and complete.",
        "single",
        [
            USABLE,
            _rating("faithful", "It says only what its sources say"),
            _rating("complete", "The main points are all there"),
            _rating("structure", "It is in good order"),
            _rating("language", "It reads well"),
            _spans(
                "wrong|Wrong",
                "unsupported|Not in the sources",
                "unclear|Unclear",
                title="Mark passages",
            ),
            CORRECTED_TEXT,
            _note(),
        ],
    ),
    Ready(
        "classification",
        "Classification",
        "Whether a label is the right one. Put your own labels in.",
        "single",
        [
            _label(
                "label",
                "The right label",
                "positive|Positive",
                "neutral|Neutral",
                "negative|Negative",
            ),
            _label(
                "certainty",
                "How sure are you?",
                "sure|Sure",
                "unsure|Not quite sure",
                required=False,
            ),
        ],
    ),
    Ready(
        "free-answer",
        "Free answer with correction",
        "Whether an answer is good, and how it should read.",
        "single",
        [
            _label("verdict", "The answer is", "good|Good", "bad|Bad"),
            _rating("quality", "Its quality", high=10),
            CORRECTED_TEXT,
            _note("why", "Why?"),
        ],
    ),
    Ready(
        "pairwise-preference",
        "Pairwise preference",
        "Which of two answers to the same request is better.",
        "pairwise",
        [
            {"key": "better", "type": "pairwise", "title": "Which answer is better?"},
            _label(
                "reason",
                "What decided?",
                "correct|It is right",
                "complete|It is complete",
                "clear|It is clearer",
                "safe|It does no harm",
                "form|It keeps to the form",
                required=False,
            ),
            _note("why", "Why?"),
        ],
    ),
    Ready(
        "ranking",
        "Ranking",
        "The order of three or more answers to the same request, ties allowed.",
        "ranking",
        [
            {"key": "order", "type": "ranking", "title": "From the best to the worst"},
            _note("why", "Why?"),
        ],
    ),
)
