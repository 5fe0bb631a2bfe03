# SPDX-License-Identifier: Apache-2.0
"""Twenty reviewers at once, each a process of its own, three of them killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys

import pytest

from jobs.processes import children
from tests.faults.checks import seed
from tests.site import DATABASES, ROOT, Site, wait_for

pytestmark = pytest.mark.slow
ITEMS, OVERLAP, REVIEWERS, KILLED = 500, 3, 20, 3


def start(site: Site, queue: str) -> subprocess.Popen[str]:
    """Let them judge until nothing is left."""
    arguments = json.dumps({"queue": queue, "reviewers": REVIEWERS})
    return subprocess.Popen(
        [sys.executable, "-m", "tests.seed", "review", arguments],
        cwd=ROOT,
        env=site.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Twenty at once would keep the tests beside this one from their cores.
        preexec_fn=lambda: os.nice(10),
    )


@pytest.mark.parametrize("site", DATABASES, indirect=True)
def test_never_more_than_three_judge_an_item_and_nothing_is_lost(site: Site) -> None:
    queue = seed(
        site, "review_queue", items=ITEMS, overlap=OVERLAP, reviewers=REVIEWERS
    )

    def judged() -> int:
        sql = "SELECT COUNT(*) AS n FROM curation_response WHERE state = 'submitted'"
        return int(site.query(sql)[0]["n"])

    running = start(site, queue)
    try:
        wait_for(lambda: judged() > 50, timeout=300, what="the first judgements")
        # The same people come back to what they hold.
        for pid in random.Random(5).sample(sorted(children(running.pid)), KILLED):
            os.kill(pid, signal.SIGKILL)
        shown, _ = running.communicate(timeout=600)
    finally:
        for pid in children(running.pid):
            os.kill(pid, signal.SIGKILL)
        running.kill()
    assert (running.returncode, shown.strip()) == (0, str(KILLED))
    found = site.query(
        "SELECT i.id, i.state, i.submitted, COUNT(r.id) AS n,"
        " COUNT(DISTINCT r.user_id) AS people FROM curation_reviewitem i"
        " LEFT JOIN curation_response r"
        " ON r.version_id = i.version_id AND r.state = 'submitted'"
        " GROUP BY i.id, i.state, i.submitted"
    )
    assert len(found) == ITEMS
    wrong = [
        row
        for row in found
        if (row["n"], row["people"], row["submitted"]) != (OVERLAP,) * 3
    ]
    assert wrong == []
    assert {row["state"] for row in found} == {"completed"}
    # Each has what three people said, and no place is held any more.
    (kept,) = site.query(
        "SELECT (SELECT COUNT(*) FROM curation_resolution) AS resolved,"
        " (SELECT COUNT(*) FROM curation_claim) AS held"
    )
    assert (kept["resolved"], kept["held"]) == (ITEMS, 0)
