# SPDX-License-Identifier: Apache-2.0
"""Batch, review, dataset, few-shot batch: the whole loop on a running site.

What it does for a real model is measured by `make measure-loop`.
"""

from __future__ import annotations

import pytest

from deploy.curation_loop import LABELS, label_of, measure, texts
from tests.site import DATABASES, Site

from .client import Running, start_up

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("site", DATABASES, indirect=True)
def test_reviewed_answers_become_examples_of_the_next_batch(
    site: Site, test_engine: str
) -> None:
    running: Running = start_up(site, "--no-engine")
    site.run("addengine", "first", "--url", f"{test_engine}/v1")
    running.up.expect("Worker of engine first is ready.", timeout=60)
    known = {text.text: text.label for text in texts()}

    found = measure(
        running, "tiny", reviewed=texts()[:12], tested=texts()[12:20], timeout=120
    )

    # The test engine labels nothing: only the way is tested here.
    assert (found.count, found.plain, found.shown, found.p) == (8, 0, 0, 1.0)
    assert found.examples == 9
    (used,) = site.query("SELECT body FROM jobs_batchrequest ORDER BY id DESC LIMIT 1")
    assert used["body"].count('"role": "assistant"') == 9
    # Each example is a text with the label that the reviewer gave it.
    rows = site.query("SELECT answers_text FROM curation_resolution")
    assert len(rows) == 12
    assert all(any(label in row["answers_text"] for label in LABELS) for row in rows)
    assert set(known.values()) == set(LABELS)
    assert label_of(" Positive.") == "positive"
    assert label_of("It is positive") == ""
