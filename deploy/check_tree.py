# SPDX-License-Identifier: Apache-2.0
"""Promises about the tree itself that no linter knows: licence lines, addresses, sizes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {".py", ".sh", ".css", ".js", ".toml", ".yml", ".yaml"}
OTHERS_WORK = ("static/vendor/",)
LICENCE = "SPDX-License-Identifier: Apache-2.0"
# Addresses that only ever stand where the real one was forgotten. Assembled here, so
# that this file does not find itself.
PLACEHOLDERS = re.compile(
    "|".join(
        [
            r"(your|my)-?(org|company|domain|name|user)[./]",
            r"\b" + "example" + r"\.(com|org)/(repo|batchsite)\b",
            r"github\.com/(" + "user" + r"|owner|org|username)/",
            "CHANGE" + "ME",
        ]
    ),
    re.IGNORECASE,
)
CONSTRAINT = re.compile(r"[a-z0-9-]+==[A-Za-z0-9.!+]+")


def tracked() -> list[str]:
    """Paths that git tracks."""
    done = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def problems() -> Iterator[str]:
    """What is wrong, a line each."""
    for name in tracked():
        path = ROOT / name
        if not path.is_file() or name.startswith(OTHERS_WORK):
            continue
        if path.stat().st_size > 1_000_000:
            yield f"{name}: larger than 1 MB"
        if path.suffix in {".png", ".ico", ".woff2"}:
            continue
        text = path.read_text(errors="replace")
        empty_init = path.name == "__init__.py" and not text
        wants_licence = path.suffix in SOURCES and "migrations" not in path.parts
        if wants_licence and not empty_init and LICENCE not in text[:400]:
            yield f"{name}: no line '{LICENCE}'"
        for number, line in enumerate(text.splitlines(), start=1):
            if PLACEHOLDERS.search(line):
                yield f"{name}:{number}: a placeholder address is left"
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    for number, line in enumerate(constraints, start=1):
        if not line.startswith("#") and not CONSTRAINT.fullmatch(line.strip()):
            yield f"constraints.txt:{number}: not plain name==version"
    if len((ROOT / "README.md").read_text().splitlines()) > 120:
        yield "README.md: longer than 120 lines"


def main() -> int:
    """Print every problem; the exit code says whether there is any."""
    found = list(problems())
    for problem in found:
        print(problem)
    print(f"{len(found)} problems in the tree" if found else "the tree is as promised")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
