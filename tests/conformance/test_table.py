# SPDX-License-Identifier: Apache-2.0
"""The suite covers its checklist, and the table in docs/api.md is the suite's."""

from __future__ import annotations

from .checklist import PROMISES
from .proof import documented, proofs

COUNTS = {"T": 11, "F": 14, "B": 28, "L": 8, "E": 25, "U": 5}


def test_the_checklist_is_whole() -> None:
    assert len(PROMISES) == sum(COUNTS.values())
    for letter, count in COUNTS.items():
        assert sum(name.startswith(letter) for name in PROMISES) == count
    assert not [promise for promise in PROMISES.values() if "|" in promise]


def test_every_promise_has_a_proof() -> None:
    assert [name for name, tests in proofs().items() if not tests] == []


def test_the_documented_table_is_that_of_the_suite() -> None:
    found = documented()

    assert {name: promise for name, (promise, _) in found.items()} == PROMISES
    for name, tests in proofs().items():
        assert set(found[name][1]) == set(tests), f"{name}: run make conformance-table"
