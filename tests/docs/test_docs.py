# SPDX-License-Identifier: Apache-2.0
"""README and docs name only commands, options, files and places that exist, and all error codes."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.core
import typer.main
from django.core.management import get_commands, load_command_class
from django.urls import URLPattern

from batchsite.cli import problems
from batchsite.cli.main import app
from jobs.api.urls import api_urls
from jobs.models import Batch
from tests.site import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Not "page": that is Playwright's name for a browser's.
every_page = pytest.mark.parametrize("document", PAGES, ids=NAMES)


def code_of(document: Path) -> list[str]:
    """Lines of code blocks and spans of inline code."""
    text = document.read_text()
    lines = [line for _, block in FENCE.findall(text) for line in block.splitlines()]
    return lines + re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def anchors(document: Path) -> set[str]:
    """The places of a page that links can name, as hosts of Markdown make them."""
    headings = re.findall(
        r"^#+ (.+)$", FENCE.sub("", document.read_text()), re.MULTILINE
    )
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {word.replace(" ", "-") for word in words}


@every_page
def test_relative_links_resolve(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", document.read_text())):
        assert not target.startswith(("http:", "https:")), f"{target} is no part of us"
        name, _, place = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        assert file.exists(), target
        if place:
            assert place in anchors(file), target


@every_page
def test_make_targets_exist(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for code in code_of(document):
        for words in re.findall(
            r"(?:^|[&(;]\s*)make(?: -s)?((?: [a-z][a-z-]*)+)", code
        ):
            assert set(words.split()) <= targets, code


@every_page
def test_commands_and_their_options_exist(document: Path) -> None:
    for code in code_of(document):
        for name, rest in re.findall(r"manage\.py ([a-z]\w*)([^#|&]*)", code):
            check_command(name, rest, code)


def test_the_readmes_table_of_commands_is_true() -> None:
    section = (ROOT / "README.md").read_text().split("\n## Commands\n")[1]
    rows = re.findall(
        r"^\| `([a-z]+)([^`…]*(?:\"…\"[^`]*)?)` \|", section.split("\n## ")[0], re.M
    )
    assert len(rows) == 8
    for name, rest in rows:
        check_command(name, rest, name)


def check_command(name: str, rest: str, code: str) -> None:
    """The command exists, and has the options that follow its name."""
    apps = get_commands()
    assert name in apps, code
    parser = load_command_class(str(apps[name]), name).create_parser("manage.py", name)
    known = parser._option_string_actions
    # What stands in quotes is another program's.
    for word in shlex.split(re.sub(r"[\[\]]", " ", rest), posix=False):
        if word.startswith("--"):
            assert word.partition("=")[0] in known, code


# A command of the client; those of a group have two words.
NAME = "bench [a-z]+|[a-z]+"


@every_page
def test_commands_of_the_client_and_their_options_exist(document: Path) -> None:
    known = {
        name: {option for param in command.params for option in param.opts}
        for name, command in client_commands().items()
    }
    text = document.read_text().replace("\\\n", " ")
    for code in [text for _, text in FENCE.findall(text)] + code_of(document):
        for name, rest in re.findall(
            rf"(?:^|\$\(|[;&|]|if )\s*batchsite ({NAME})([^\n;|)]*)", code, re.M
        ):
            assert name in known, code
            options = re.findall(r"(?<= )--?[a-z][a-z-]*", re.sub(r'".*?"', "", rest))
            assert set(options) <= known[name], code


def client_commands() -> dict[str, Any]:
    """The commands of `batchsite` as their parser has them; `bench run` is one."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            inner = command.commands.items()
            found |= {f"{name} {word}": one for word, one in inner}
        else:
            found[name] = command
    return found


def test_the_client_is_documented_whole() -> None:
    text = (ROOT / "docs" / "guide.md").read_text()
    section = text.split("\n## Command line\n")[1].split("\n## ")[0]
    assert set(re.findall(rf"`batchsite ({NAME})`", section)) == set(client_commands())
    codes = {str(code) for code in vars(problems).values() if isinstance(code, int)}
    assert set(re.findall(r"^\| `(\d+)` \|", section, re.M)) == codes


@every_page
def test_named_files_of_the_source_exist(document: Path) -> None:
    for code in code_of(document):
        if re.fullmatch(r"(jobs|batchsite|tests|deploy|examples|\.ci)/[\w/.]+", code):
            assert (ROOT / code).exists(), code


@every_page
def test_python_examples_compile(document: Path) -> None:
    for language, block in FENCE.findall(document.read_text()):
        if language == "python":
            compile(block, str(document), "exec")


@every_page
def test_no_page_speaks_of_what_is_not_the_product(document: Path) -> None:
    words = re.compile(
        r"\bTODO\b|\b[Ii]ssue [A-Z]\b|DESIGN\.md|style\.md|\bsession [A-Z]\b"
    )
    assert not words.search(document.read_text())


def test_every_route_of_the_api_is_documented() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    documented = set(re.findall(r"^\| `[A-Z]+ /v1/([^`]+)` \|", text, re.MULTILINE))
    routes = {
        re.sub(r"<\w+:(\w+)>", r"{\1}", str(url.pattern))
        for url in api_urls
        if isinstance(url, URLPattern) and url.name
    }
    assert documented == routes


def error_codes() -> set[str]:
    """Codes of line errors, row errors and errors of calls, as the source names them."""
    found: set[str] = set()
    for path in (ROOT / "jobs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Name(id="LineError" | "error_result"),
                    args=[ast.Constant(value=str(code)), *_],
                ):
                    found.add(code)
                case ast.keyword(
                    arg="code" | "error_code", value=ast.Constant(value=str(code))
                ):
                    found.add(code)
                case ast.Assign(
                    targets=[ast.Name(id="code")], value=ast.Constant(value=str(code))
                ):
                    found.add(code)
    return found - {""}


def test_every_error_code_is_documented() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    codes = error_codes() | {"batch_cancelled", "batch_expired", "more_errors"}
    assert len(codes) > 25
    missing = {code for code in codes if f"`{code}`" not in text}
    assert not missing


def test_every_status_is_documented() -> None:
    text = (ROOT / "docs" / "guide.md").read_text()
    for status in Batch.Status.values:
        assert f"| `{status}` |" in text
