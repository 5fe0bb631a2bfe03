# SPDX-License-Identifier: Apache-2.0
"""Which test proves which promise: the mark, and what a run of the suite showed."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from .checklist import PROMISES

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "api.md"
BEGIN, END = "<!-- conformance table: begin -->", "<!-- conformance table: end -->"
Test = TypeVar("Test", bound=Callable[..., Any])


def proves(*ids: str) -> Callable[[Test], Test]:
    """Mark a test as the proof of those promises, and as part of the suite."""
    unknown = set(ids) - set(PROMISES)
    assert ids, "a test of the suite proves something"
    assert not unknown, unknown

    def mark(test: Test) -> Test:
        marked: Test = pytest.mark.conformance(pytest.mark.proves(*ids)(test))
        return marked

    return mark


def proofs() -> dict[str, list[str]]:
    """The names of the tests that carry each id, as the suite's source says."""
    found: dict[str, list[str]] = {name: [] for name in PROMISES}
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            for mark in node.decorator_list:
                match mark:
                    case ast.Call(func=ast.Name(id="proves"), args=args):
                        for arg in args:
                            assert isinstance(arg, ast.Constant)
                            found[str(arg.value)].append(node.name)
    return found


def table(outcomes: dict[str, dict[str, bool]]) -> str:
    """The Markdown table of the promises; `outcomes` is id -> test -> whether it passed."""
    lines = ["| Id | Promise | Proof |", "|---|---|---|"]
    for name, promise in PROMISES.items():
        shown = [
            f"`{test}`" if passed else f"`{test}` (failed)"
            for test, passed in sorted(outcomes.get(name, {}).items())
        ]
        lines.append(f"| {name} | {promise} | {', '.join(shown) or 'none'} |")
    return "\n".join(lines)


def write_table(outcomes: dict[str, dict[str, bool]]) -> None:
    """Put the table of a run between the two marks of docs/api.md."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table(outcomes)}\n{END}{after}")


def documented() -> dict[str, tuple[str, list[str]]]:
    """The promise and the proving tests of each id, as docs/api.md has them."""
    section = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    rows = re.findall(r"^\| ([A-Z]-\d\d) \| (.*?) \| (.*?) \|$", section, re.MULTILINE)
    return {
        name: (promise, re.findall(r"`(test_\w+)`", proof))
        for name, promise, proof in rows
    }
