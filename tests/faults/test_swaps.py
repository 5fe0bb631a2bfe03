# SPDX-License-Identifier: Apache-2.0
"""Two models that take turns on one engine under load: no request is lost or failed."""

from __future__ import annotations

import json

import pytest

from tests.site import DATABASES, Site

from .checks import assert_exactly_once, seed, wait_until_final

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("site", DATABASES, indirect=True),
]
# Some 10 seconds of work for each, in a window of ten.
ROWS = 300


def test_swaps_lose_no_request_and_turn_none_into_an_error(site: Site) -> None:
    for name in ("a", "b"):
        arguments = ("--engine-args", "--max-num-seqs 8")
        site.run("addmodel", name, "--source", f"org/{name}", *arguments)
    batches = [seed(site, "batch", rows=ROWS, model=m, delay=0.3) for m in ("a", "b")]
    # Each has the engine for some seconds while the other one waits.
    hurry = {"BATCHSITE_MODEL_STAY": "2", "BATCHSITE_MODEL_WAIT": "2"}
    site.start("runengine", "--name", "gpu0", **hurry).expect("runs")
    site.start("runworker", **hurry).expect("Control worker is ready.")
    site.start("runworker", "--engine", "gpu0", **hurry).expect("is ready")
    for batch, model in zip(batches, ("a", "b"), strict=True):
        wait_until_final(site, batch, timeout=300)
        row = assert_exactly_once(site, batch, ROWS)
        assert (row["completed"], row["failed"]) == (ROWS, 0)
        for result in site.query(
            "SELECT attempts, body, provenance FROM jobs_result WHERE batch_id = %s",
            row["id"],
        ):
            # What was in flight was waited for, so that nothing was sent twice.
            assert result["attempts"] == 1
            assert json.loads(result["body"])["model"] == model
            provenance = result["provenance"]
            if isinstance(provenance, str):
                provenance = json.loads(provenance)
            assert provenance["model_source"] == f"org/{model}"
    # There and back at least.
    assert site.engine("gpu0")["generation"] >= 3
