# SPDX-License-Identifier: Apache-2.0
"""Metrics over the words of an answer."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from typing import Any

from jobs.row_checks.patterns import Pattern

from .scorers import NotScored, Params, Scorer

ARTICLES = re.compile(r"\b(?:a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def _texts(reference: Any) -> list[str]:
    """The right answers: one string, or several of which each is right."""
    if isinstance(reference, str):
        return [reference]
    several = isinstance(reference, list) and bool(reference)
    if several and all(isinstance(one, str) for one in reference):
        return list(reference)
    if isinstance(reference, (int, float)) and not isinstance(reference, bool):
        return [json.dumps(reference)]
    raise NotScored("the reference is no text")


def normalised(text: str) -> str:
    """Lower case, without punctuation, articles, and further spaces.

    As SQuAD's evaluation does: Rajpurkar, P. et al. (2016). SQuAD: 100,000+ questions
    for machine comprehension of text. EMNLP, section 6.1.
    """
    return " ".join(ARTICLES.sub(" ", text.casefold().translate(PUNCTUATION)).split())


def by_exact(params: Params) -> Scorer:
    def score(text: str, reference: Any) -> float:
        return float(text.strip() in [one.strip() for one in _texts(reference)])

    return score


def by_normalised(params: Params) -> Scorer:
    def score(text: str, reference: Any) -> float:
        return float(normalised(text) in [normalised(one) for one in _texts(reference)])

    return score


def by_contains(params: Params) -> Scorer:
    def score(text: str, reference: Any) -> float:
        folded = text.casefold()
        return float(any(one.casefold() in folded for one in _texts(reference)))

    return score


def by_token_f1(params: Params) -> Scorer:
    """Over the words of both; the best of several references (SQuAD's F1, as above)."""

    def score(text: str, reference: Any) -> float:
        said = Counter(normalised(text).split())
        wanted = [Counter(normalised(one).split()) for one in _texts(reference)]
        return max(f1(said, one) for one in wanted)

    return score


def f1(found: Counter[Any], wanted: Counter[Any]) -> float:
    """The harmonic mean of precision and recall, by what both have in common.

    van Rijsbergen, C. J. (1979). Information Retrieval (2nd ed.), chapter 7.
    """
    if not found or not wanted:
        return float(found == wanted)
    common = (found & wanted).total()
    return 2 * common / (found.total() + wanted.total())


def by_regex(params: Params) -> Scorer:
    pattern = Pattern(params["pattern"], ignore_case=params.get("ignore_case", False))

    def score(text: str, reference: Any) -> float:
        return float(pattern.is_in(text) != params.get("negate", False))

    return score
