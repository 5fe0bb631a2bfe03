# SPDX-License-Identifier: Apache-2.0
"""docs/settings.md lists exactly what settings.py reads, with the defaults."""

from __future__ import annotations

import ast
import re

from tests.site import ROOT

# It runs on other machines than the site, and docs/guide.md has its variables.
CLIENT = ROOT / "batchsite" / "cli"
ROW = re.compile(r"^\| `([A-Z_0-9]+)` \|(.*?)\|(.+)\|$", re.MULTILINE)


def settings_read() -> dict[str, ast.expr | None]:
    """Names that settings.py reads from the environment, and their defaults."""
    found: dict[str, ast.expr | None] = {}
    tree = ast.parse((ROOT / "batchsite" / "settings.py").read_text())
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="env")),
                args=[ast.Constant(value=str(name)), *_],
                keywords=keywords,
            ):
                defaults = [k.value for k in keywords if k.arg == "default"]
                found[name] = defaults[0] if defaults else None
    return found


def documented() -> dict[str, tuple[str, str]]:
    """Names in the tables, with default and meaning."""
    text = (ROOT / "docs" / "settings.md").read_text()
    return {name: (default, meaning) for name, default, meaning in ROW.findall(text)}


def as_written(value: object) -> str:
    """A default as the tables show it."""
    match value:
        case bool():
            return "`on`" if value else "`off`"
        case list():
            return as_written(",".join(value))
        case "":
            return ""
    return f"`{value}`"


def test_every_setting_is_documented_and_none_is_invented() -> None:
    assert set(documented()) == set(settings_read())
    assert len(documented()) > 20


def test_constant_defaults_are_the_documented_ones() -> None:
    known = documented()
    compared = 0
    for name, default in settings_read().items():
        try:
            value = ast.literal_eval(default) if default else None
        except ValueError:
            # Made from other settings: the table says how, in words.
            continue
        if name == "SECRET_KEY":
            # "" stands for the generated key.
            continue
        compared += 1
        assert known[name][0].strip() == as_written(value), name
    assert compared > 15


def test_nothing_else_reads_the_environment_for_settings() -> None:
    """A knob that another module read by itself would be in no table."""
    reads = re.compile(r"environ(?:\.get\(|\[)\s*[\"']([A-Z_]+)[\"']")
    foreign = {"PATH", "DJANGO_SETTINGS_MODULE"}
    # Hugging Face's and vLLM's own, which the site foresees the effect of.
    foreign |= {"HF_HOME", "HF_HUB_CACHE", "VLLM_CPU_KVCACHE_SPACE"}
    for app in ("batchsite", "jobs", "curation", "benchmarks"):
        for path in (ROOT / app).rglob("*.py"):
            if path.is_relative_to(CLIENT):
                continue
            names = set(reads.findall(path.read_text())) - foreign
            assert not names, f"{path}: {names}"
