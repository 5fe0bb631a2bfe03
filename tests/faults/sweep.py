# SPDX-License-Identifier: Apache-2.0
"""Rounds of the fault sweep: a batch through the API, faults meanwhile, and the checks."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from openai import APIConnectionError, InternalServerError, OpenAI

from jobs.processes import provably_gone, read_token
from tests.engine_journal import Reader
from tests.site import Site, wait_for

from .chaos import Deck, Phase, Scene, Victim, strike
from .checks import FINAL, assert_exactly_once, batch_row
from .keepers import ENGINE, MODEL

ROWS = 2000
RESUME_SECONDS = 20.0
# Answers are stored about once a second; the rest is slack for a machine that is busy
# with other things, on which a commit, and the way of an answer to it, take a while.
STORED_WITHIN = 1.0 + 2.0
# After so long something does not work at all, however busy the machine is.
PATIENCE = 150.0
ROUND_SECONDS = 300.0
UNREACHABLE = (APIConnectionError, InternalServerError)


@dataclass
class Kill:
    """One fault and what came of it; times in seconds.

    `load` is how many processes shared a core meanwhile: the site would have resumed
    about so many times faster on a machine of its own.
    """

    victim: Victim
    moment: str
    at: float
    over: float
    resumed: float
    load: float
    redone: int = 0
    oldest: float = 0.0
    cut: int = 0

    @property
    def in_time(self) -> bool:
        """Whether work went on soon enough, with allowance for what else ran here."""
        return self.resumed / self.load <= RESUME_SECONDS

    def causes(self, answered: float, again: float) -> bool:
        """Whether it explains that a request answered at one time was asked at the other."""
        return (
            self.victim.redoes
            and self.at - STORED_WITHIN <= answered <= self.over + RESUME_SECONDS
            and again >= self.at
        )


def rows_of(number: int, rng: random.Random) -> bytes:
    """A batch file whose requests take the engine 0.2 to 0.8 s each."""
    lines = [
        {
            "custom_id": f"r{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": MODEL,
                "messages": [{"role": "user", "content": f"say {n} " + "x" * 500}],
                "test": {
                    "key": f"{number}/r{n}",
                    "delay": round(rng.uniform(0.2, 0.8), 3),
                },
            },
        }
        for n in range(ROWS)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def moments(kills: int, rng: random.Random) -> list[tuple[Phase, float]]:
    """When to strike in one round: the phase, and how much of the batch is answered."""
    running = sorted(rng.uniform(0.02, 0.9) for _ in range(max(1, kills - 3)))
    found: list[tuple[Phase, float]] = [("running", share) for share in running]
    if kills > 2:
        found = [("intake", 0.0), *found, ("ending", 1.0)]
    if kills > 3:
        found = [("upload", 0.0), *found]
    return found[:kills]


@dataclass
class Sweep:
    """The rounds on one site; `kills` is the record of all of them."""

    scene: Scene
    client: OpenAI
    journal: Reader
    deck: Deck
    kills: list[Kill] = field(default_factory=list)
    rounds: int = 0
    poisoned: int = 0

    @property
    def site(self) -> Site:
        return self.scene.site

    # --- one round

    def round(self, kills: int) -> None:
        """Upload, run and check one batch with so many faults on the way."""
        self.rounds += 1
        plan = moments(kills, self.scene.rng)
        before = len(self.kills)
        public_id = self._submit(plan)
        with Watcher(self.client, public_id) as watcher:
            for phase, share in plan:
                if phase != "upload":
                    self._strike_at(phase, share, public_id)
            wait_for(
                lambda: self._row(public_id).get("status") in FINAL,
                timeout=ROUND_SECONDS,
                what=f"the end of {self._row(public_id)}; {self.scene.keepers.state()}",
            )
        watcher.check()
        self._check(public_id)
        self._account(self.kills[before:])

    def _submit(self, plan: list[tuple[Phase, float]]) -> str:
        """Upload and create as a client does that repeats what fails."""
        lines = rows_of(self.rounds, self.scene.rng)
        uploaded: list[str] = []

        def upload() -> None:
            call = self.client.files.create
            made = again(lambda: call(file=("in.jsonl", lines), purpose="batch"))
            uploaded.append(made.id)

        thread = threading.Thread(target=upload)
        thread.start()
        if any(phase == "upload" for phase, _ in plan):
            time.sleep(self.scene.rng.uniform(0, 0.15))
            victim = self.deck.draw("upload")
            began, over = strike(victim, self.scene)
            self._measure(victim, "upload", began, over, lambda: bool(uploaded))
        thread.join(PATIENCE)
        assert uploaded, "the upload did not come to an end"
        batch = again(
            lambda: self.client.batches.create(
                input_file_id=uploaded[0],
                endpoint="/v1/chat/completions",
                completion_window="24h",
                # The call is repeated when its answer is lost with the web process.
                extra_headers={"Idempotency-Key": f"round {self.rounds}"},
            )
        )
        return str(batch.id)

    def _strike_at(self, phase: Phase, share: float, public_id: str) -> None:
        """Wait for the moment, strike, and wait until work goes on."""
        if phase != "intake":
            wait_for(
                lambda: self._row(public_id).get("result_seq", 0) >= share * ROWS,
                timeout=ROUND_SECONDS,
                what=f"{share:.0%} of {self._row(public_id)}",
            )
        time.sleep(self.scene.rng.uniform(0, 1.0 if phase == "running" else 0.5))
        victim = self.deck.draw(phase)
        row = self._row(public_id)
        began, over = strike(victim, self.scene)
        moment = f"{row['result_seq']} answers" if phase == "running" else phase
        self._measure(
            victim, moment, began, over, lambda: self._has_resumed(row, began)
        )

    def _measure(
        self,
        victim: Victim,
        moment: str,
        began: float,
        over: float,
        resumed: Callable[[], bool],
    ) -> None:
        """Wait until work goes on and the API answers; note how long it took."""
        loads = [1.0]
        while not (resumed() and self._answers(victim)):
            loads.append(runnable_a_core())
            assert time.monotonic() < over + PATIENCE, (
                f"{victim.name} at {moment}: work does not go on;"
                f" {self.scene.keepers.state()}\n{self.table()}"
            )
            time.sleep(0.1)
        took = time.monotonic() - over
        load = max(1.0, sum(loads) / len(loads))
        self.kills.append(Kill(victim, moment, began, over, took, load))

    def _row(self, public_id: str) -> dict[str, Any]:
        """The batch's row; empty while the database does not answer."""
        try:
            return batch_row(self.site, public_id)
        except psycopg.OperationalError:
            return {}

    def _has_resumed(self, before: dict[str, Any], began: float) -> bool:
        """Whether something is stored that was begun after the fault."""
        now = self._row(before["public_id"])
        if not now or now["status"] == "validating":
            return False
        if now["status"] in FINAL or before["status"] == "validating":
            return True
        if before["result_seq"] == ROWS:
            return False
        fresh = self._stored_after(now["id"], before["result_seq"])
        self.journal.read()
        return any(self.journal.last_asked(key) > began for key in fresh) or (
            # Nothing is left to ask for: what follows is the control worker's part.
            now["result_seq"] == ROWS
        )

    def _stored_after(self, batch: int, seq: int) -> Iterator[str]:
        """Keys of results with a higher seq, the newest first."""
        try:
            found = self.site.query(
                "SELECT q.custom_id FROM jobs_result r"
                " JOIN jobs_batchrequest q ON q.id = r.request_id"
                " WHERE r.batch_id = %s AND r.seq > %s ORDER BY r.seq DESC LIMIT 20",
                batch,
                seq,
            )
        except psycopg.OperationalError:
            return
        for row in found:
            yield f"{self.rounds}/{row['custom_id']}"

    def _answers(self, victim: Victim) -> bool:
        """Whether the API answers; of a killed web process the heir, not its orphans."""
        if victim.of == "web" and not self.scene.keepers.kept["web"].whole:
            return False
        try:
            self.client.models.list()
        except UNREACHABLE:
            return False
        return True

    # --- after a round

    def _check(self, public_id: str) -> None:
        """Nothing lost, nothing twice, nothing stuck, nobody left."""
        row = assert_exactly_once(self.site, public_id, ROWS)
        self._check_files(public_id)
        self._check_failures(row)
        (made,) = self.site.query("SELECT COUNT(*) AS n FROM jobs_batch")
        assert made["n"] == self.rounds
        stuck = self.site.query("SELECT id FROM jobs_chunk WHERE state <> 'done'")
        assert stuck == []
        owned = self.site.query("SELECT id FROM jobs_batch WHERE stage_owner <> ''")
        assert owned == []
        wait_for(
            self._engine_is_sane,
            timeout=60,
            what=f"a sane engine: {self.site.engine(ENGINE)}",
        )
        orphans = self.scene.keepers.orphans
        wait_for(lambda: not orphans(), timeout=20, what=f"no orphans: {orphans()}")

    def _check_files(self, public_id: str) -> None:
        """Clients read what the database says, and no other result file is there."""
        batch = again(lambda: self.client.batches.retrieve(public_id))
        assert batch.request_counts is not None
        assert batch.request_counts.total == ROWS
        lines = 0
        for name in filter(None, (batch.output_file_id, batch.error_file_id)):
            content = again(lambda name=name: self.client.files.content(name).read())
            lines += len(content.splitlines())
        assert lines == ROWS
        folder = self.site.folder / "files" / "results"
        stored = {str(p) for p in folder.rglob("*") if p.is_file()}
        named = self.site.query(
            "SELECT storage_name FROM jobs_batchfile WHERE purpose = 'batch_output'"
        )
        files = self.site.folder / "files"
        assert stored == {str(files / row["storage_name"]) for row in named}

    def _check_failures(self, row: dict[str, Any]) -> None:
        """Only a request that was alone at two deaths of the engine may have failed."""
        failed = self.site.query(
            "SELECT r.error_code, s.lonely_deaths FROM jobs_result r"
            " LEFT JOIN jobs_suspect s ON s.request_id = r.request_id"
            " WHERE r.batch_id = %s AND r.outcome = 'failed'",
            row["id"],
        )
        for result in failed:
            assert result["error_code"] == "engine_crashed", result
            assert result["lonely_deaths"] >= 2
        self.poisoned += len(failed)

    def _engine_is_sane(self) -> bool:
        engine = self.site.engine(ENGINE)
        kept = self.scene.keepers.kept
        tokens = {"worker_token": "feeder", "host_token": "host"}
        for column, name in tokens.items():
            named = read_token(engine[column])
            if named is None or named.pid != kept[name].pid:
                return False
            if provably_gone(engine[column]):
                return False
        return (
            engine["state"] == "ready"
            and engine["loaded_model_id"] is not None
            and (engine["in_flight"], engine["fault"]) == (0, "")
        )

    def _account(self, kills: list[Kill]) -> None:
        """Every answer that was made again must be explained by a fault."""
        for answered, again_at in self._redone():
            cause = next((k for k in kills if k.causes(answered, again_at)), None)
            assert cause is not None, (
                f"answered at {answered:.2f}, asked again at {again_at:.2f}, and yet:"
                f" {[(k.victim.name, k.at, k.over) for k in kills]}"
            )
            if answered > cause.at:
                cause.cut += 1
                continue
            cause.redone += 1
            cause.oldest = max(cause.oldest, cause.at - answered)

    def _redone(self) -> Iterator[tuple[float, float]]:
        """When a request of this round was answered, and then asked again."""
        mine = f"{self.rounds}/"
        self.journal.read()
        for key, entries in self.journal.entries.items():
            answered: float | None = None
            for entry in entries if key.startswith(mine) else ():
                if entry.what == "answered":
                    answered = entry.at
                elif answered is not None:
                    yield answered, entry.at
                    answered = None

    def table(self) -> str:
        """What was killed, when, and what came of it."""
        lines = [
            f"{'victim':<24} {'moment':<14} {'resumed':>8} {'load':>5} {'redone':>7}"
            f" {'oldest':>7} {'cut off':>8}"
        ]
        lines += [
            f"{k.victim.name:<24} {k.moment:<14} {k.resumed:>6.1f} s {k.load:>5.1f} {k.redone:>7}"
            f" {k.oldest:>5.1f} s {k.cut:>8}"
            for k in self.kills
        ]
        return "\n".join(lines)


class Watcher:
    """Polls the batch as clients do; nothing that it sees may go backwards."""

    ORDER = ("validating", "in_progress", "finalizing", "completed")

    def __init__(self, client: OpenAI, public_id: str) -> None:
        self._client = client
        self._public_id = public_id
        self._seen: list[tuple[int, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            try:
                batch = self._client.batches.retrieve(self._public_id)
            except UNREACHABLE:
                continue
            counts = batch.request_counts
            done = counts.completed + counts.failed if counts else 0
            self._seen.append((self.ORDER.index(batch.status), done))

    def check(self) -> None:
        """Statuses and counts only ever rose."""
        assert len(self._seen) > 2
        for earlier, later in zip(self._seen, self._seen[1:], strict=False):
            assert later[0] >= earlier[0], self._seen
            assert later[1] >= earlier[1], self._seen


def runnable_a_core() -> float:
    """How many processes of this machine want to run now, for each core."""
    running = Path("/proc/loadavg").read_text().split()[3].partition("/")[0]
    return int(running) / (os.cpu_count() or 1)


def again(call: Any) -> Any:
    """Call until the web process answers."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except UNREACHABLE:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
