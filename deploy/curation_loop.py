# SPDX-License-Identifier: Apache-2.0
"""`make measure-loop`: batch, review, dataset, few-shot batch, and what that was good for.

The bundled model labels short texts. What it said of the first ones is reviewed and
corrected, the best corrections become examples in the prompt, and the same model labels
other texts without and with them. Measured is the share of answers that are one of the
allowed labels, and whether McNemar's test takes the difference for chance.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["LOG_LEVEL"] = "WARNING"
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "batchsite.settings")

from curation.examples import Example, with_examples  # noqa: E402 - needs the path above
from jobs.statistics import mcnemar  # noqa: E402 - as above
from tests.e2e.client import Running, start_up  # noqa: E402 - as above
from tests.site import Site, wait_for  # noqa: E402 - as above

LABELS = ("positive", "negative", "neutral")
PROMPT = "You label short texts. Answer with exactly one word: positive, negative or neutral."
THINGS = ("soup", "train", "film", "hotel", "phone", "book", "garden", "concert")
# What is said of a thing, and its label.
SAYINGS = (
    ("The {} was wonderful, I would come again.", "positive"),
    ("I was delighted by the {}.", "positive"),
    ("What a pleasant {}, all of us enjoyed it.", "positive"),
    ("The {} made my day.", "positive"),
    ("Best {} in years!", "positive"),
    ("The {} was awful and far too expensive.", "negative"),
    ("I want my money back for that {}.", "negative"),
    ("Nobody should have to put up with such a {}.", "negative"),
    ("The {} let us down badly.", "negative"),
    ("Never again, that {} was a mistake.", "negative"),
    ("The {} is on the second floor.", "neutral"),
    ("The {} begins at noon.", "neutral"),
    ("There is a {} near the station.", "neutral"),
    ("She asked where the {} was.", "neutral"),
    ("The {} is open on Tuesdays.", "neutral"),
)
QUESTIONS = [
    {
        "key": "verdict",
        "type": "label",
        "title": "It is",
        "options": ["right", "wrong"],
    },
    {"key": "label", "type": "correction", "title": "The right label"},
]


@dataclass(frozen=True, slots=True)
class Text:
    """A text, and what it should be labelled."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Answers that are labels, without and with examples, of so many; `p` is McNemar's."""

    count: int
    plain: int
    shown: int
    right_plain: int
    right_shown: int
    examples: int
    p: float


def texts() -> list[Text]:
    """All there are, 120, in an order in which labels and things alternate."""
    pairs = itertools.product(THINGS, SAYINGS)
    made = [Text(saying.format(thing), label) for thing, (saying, label) in pairs]
    return [made[(n * 47) % len(made)] for n in range(len(made))]


def body_of(text: Text, model: str) -> dict[str, Any]:
    """A chat request that asks for the label."""
    return {
        "model": model,
        "messages": [
            {"role": "system", "content": PROMPT},
            {"role": "user", "content": text.text},
        ],
        "max_tokens": 8,
        "temperature": 0,
    }


class Curator:
    """Calls of the curation API with the client's key."""

    def __init__(self, running: Running) -> None:
        self._base = str(running.client.base_url)
        self._key = running.client.api_key

    def call(self, path: str, body: Any = None) -> Any:
        """POST with a body, else GET; the answer."""
        request = urllib.request.Request(
            f"{self._base}curation/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self._key}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())


def answer_all(
    running: Running, bodies: Sequence[dict[str, Any]], *, timeout: float
) -> tuple[str, list[str]]:
    """Run the requests as a batch: its id, and what was said to each."""
    lines = [
        json.dumps(
            {
                "custom_id": f"text-{n}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": body,
            }
        )
        for n, body in enumerate(bodies)
    ]
    batch = running.submit(("\n".join(lines) + "\n").encode())
    batch = running.wait(batch, timeout=timeout, every=1)
    assert batch.status == "completed", batch
    assert batch.error_file_id is None, running.lines(batch.error_file_id)
    said = {
        line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"]
        for line in running.lines(batch.output_file_id)
    }
    return batch.id, [said[f"text-{n}"] for n in range(len(bodies))]


def label_of(said: str) -> str:
    """The label that an answer is, "" for any other text."""
    word = said.strip().strip(".!\"'").lower()
    return word if word in LABELS else ""


def examples_of(
    running: Running, model: str, reviewed: Sequence[Text], *, timeout: float
) -> list[dict[str, str]]:
    """Have the texts labelled, judge each answer, and make a dataset of examples."""
    curator = Curator(running)
    bodies = [body_of(text, model) for text in reviewed]
    batch, _ = answer_all(running, bodies, timeout=timeout)
    rubric = curator.call("rubrics", {"name": "Labels", "questions": QUESTIONS})
    queue = curator.call("queues", {"name": "Labels", "rubric_id": rubric["id"]})
    curator.call(f"queues/{queue['id']}/feeds", {"batch_id": batch})
    wait_for(
        lambda: (
            curator.call(f"queues/{queue['id']}")["item_counts"]["total"]
            == len(reviewed)
        ),
        timeout=120,
        what="the answers in the queue",
    )
    truth = {text.text: text.label for text in reviewed}
    while work := curator.call(f"queues/{queue['id']}/next", {})["work"]:
        asked = work["request"]["messages"][-1]["content"]
        said = work["answers"][0]["body"]["choices"][0]["message"]["content"]
        right = label_of(said) == truth[asked]
        answers = {"verdict": "right" if right else "wrong", "label": truth[asked]}
        curator.call(f"items/{work['id']}/responses", {"answers": answers})
    dataset = curator.call("datasets", {"name": "Labels"})
    path = f"datasets/{dataset['id']}"
    curator.call(
        f"{path}/versions",
        {"queue_ids": [queue["id"]], "format": "few_shot", "most": 9},
    )
    wait_for(
        lambda: curator.call(path)["versions"],
        timeout=120,
        what="the dataset's version",
    )
    (version,) = curator.call(path)["versions"]
    return running.lines(version["train_file_id"])


def measure(
    running: Running,
    model: str,
    *,
    reviewed: Sequence[Text],
    tested: Sequence[Text],
    timeout: float = 1800,
) -> Outcome:
    """The whole loop, and what came of it."""
    found = examples_of(running, model, reviewed, timeout=timeout)
    plain = [body_of(text, model) for text in tested]
    shown = [with_turns(body, found) for body in plain]
    _, without = answer_all(running, plain, timeout=timeout)
    _, with_ = answer_all(running, shown, timeout=timeout)
    allowed = [
        (bool(label_of(a)), bool(label_of(b)))
        for a, b in zip(without, with_, strict=True)
    ]
    right = [
        (label_of(a) == text.label, label_of(b) == text.label)
        for a, b, text in zip(without, with_, tested, strict=True)
    ]
    return Outcome(
        count=len(tested),
        plain=sum(a for a, _ in allowed),
        shown=sum(b for _, b in allowed),
        right_plain=sum(a for a, _ in right),
        right_shown=sum(b for _, b in right),
        examples=len(found),
        p=mcnemar(
            sum(a and not b for a, b in allowed), sum(b and not a for a, b in allowed)
        ),
    )


def with_turns(body: dict[str, Any], found: Sequence[dict[str, str]]) -> dict[str, Any]:
    """The request with the examples as turns before its last message."""
    examples = [
        Example(str(n), one["input"], one["output"]) for n, one in enumerate(found)
    ]
    return with_examples(body, examples)


def main() -> None:
    """Measure with real vLLM and the bundled model, and print the figures."""
    from deploy.bench_vllm import REAL_ENGINE, bundled_model

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tested", type=int, default=100)
    options = parser.parse_args()
    all_texts = texts()
    with tempfile.TemporaryDirectory() as scratch:
        site = Site(Path(scratch) / "site")
        site.run("migrate", "--verbosity", "0")
        model = bundled_model(())
        site.run("addmodel", model.name, "--source", model.source)
        running = start_up(site, **REAL_ENGINE)
        try:
            found = measure(
                running,
                model.name,
                reviewed=all_texts[:20],
                tested=all_texts[20 : 20 + options.tested],
            )
        finally:
            running.up.stop()
            site.close()
    print(
        f"{found.count} texts, {found.examples} examples of 20 reviewed answers\n"
        f"answers that are one of the labels  {found.plain} without, {found.shown} with"
        f" examples (McNemar, exact: p = {found.p:.2g})\n"
        f"answers that are the right label    {found.right_plain} without,"
        f" {found.right_shown} with examples"
    )


if __name__ == "__main__":
    main()
