# SPDX-License-Identifier: Apache-2.0
"""The fault sweep: a batch of 2,000 requests after the other, and kills at random.

CI draws the same victims and moments each time. `make faults N=200` draws that many
new ones and prints the table; FAULT_SEED repeats what failed.
"""

from __future__ import annotations

import logging
import math
import os
import random
import sys
import time
from pathlib import Path

import pytest
from openai import OpenAI

from tests.engine_journal import Reader
from tests.postgres import PostgresServer
from tests.site import DATABASES, Site
from tests.web_server import new_key

from .chaos import Deck, Scene, victims
from .keepers import Keepers
from .sweep import Sweep

pytestmark = pytest.mark.sweep
# Over both databases. CI asks for 30 at least; this is each victim once on each.
USUAL = 36
WANTED = int(os.environ.get("FAULT_KILLS") or USUAL)
SEED = int(
    os.environ.get("FAULT_SEED") or (1 if WANTED == USUAL else time.time_ns() % 10**6)
)
KILLS_A_ROUND = 9


def server_of(request: pytest.FixtureRequest, site: Site) -> PostgresServer | None:
    """The server whose database the site has."""
    if not site.database_url:
        return None
    server: PostgresServer = request.getfixturevalue("postgres")
    return server


@pytest.mark.parametrize("site", DATABASES, indirect=True)
def test_no_kill_loses_work_or_does_it_twice(
    site: Site, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = server_of(request, site)
    name = "PostgreSQL" if server else "SQLite"
    sys.stdout.write(f"\nfault sweep on {name}: FAULT_SEED={SEED}\n")
    rng = random.Random(f"{SEED} {name}")
    kills = math.ceil(WANTED / len(DATABASES))
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    journal = tmp_path / "journal"
    arguments = ("--journal", str(journal), "--with-core", "--max-num-seqs", "16")
    with Keepers(site, *arguments) as keepers:
        scene = Scene(site, keepers, rng, server)
        cards = victims(server=server is not None)
        deck = Deck(cards, random.Random(f"{SEED} {name} deck"))
        with OpenAI(
            base_url=f"http://127.0.0.1:{keepers.port}/v1",
            api_key=new_key(site),
            max_retries=0,
            timeout=30,
        ) as client:
            sweep = Sweep(scene, client, Reader(journal), deck)
            try:
                while (left := kills - len(sweep.kills)) > 0:
                    sweep.round(min(left, KILLS_A_ROUND))
            finally:
                sys.stdout.write(sweep.table() + "\n")
    assert [k for k in sweep.kills if not k.in_time] == []
    if WANTED == USUAL:
        assert {k.victim.name for k in sweep.kills} == {v.name for v in cards}
