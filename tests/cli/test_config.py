# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from batchsite.cli import config
from batchsite.cli.config import Access, clean_url
from batchsite.cli.problems import Problem, Unreachable


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://b.example.com/v1/", "https://b.example.com"),
        (" http://10.0.0.1:8000 ", "http://10.0.0.1:8000"),
        ("b.example.com", "https://b.example.com"),
        ("b.example.com/site", "https://b.example.com/site"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("localhost", "http://localhost"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
    ],
)
def test_addresses_are_taken_as_people_paste_them(given: str, url: str) -> None:
    assert clean_url(given) == url


@pytest.mark.parametrize("given", ["", "ftp://x", "http://", "http://x:port"])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(Problem, match="no address"):
        clean_url(given)


def test_a_key_on_an_open_network_is_worth_a_warning() -> None:
    assert config.travels_in_clear("http://10.0.0.1:8000")
    assert not config.travels_in_clear("http://localhost:8000")
    assert not config.travels_in_clear("https://10.0.0.1")


def test_what_is_stored_is_for_its_person_alone() -> None:
    config.store(Access("https://a.example.com", "sk-1"))
    config.store(Access("https://b.example.com", "sk-2"))
    assert config.path().stat().st_mode & 0o777 == 0o600
    assert config.path().parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in config.path().parent.iterdir()] == ["config.json"]
    assert config.access() == Access("https://b.example.com", "sk-2")
    assert "sk-2" not in repr(config.access())


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    config.store(Access("https://a.example.com", "sk-1"))
    monkeypatch.setenv("BATCHSITE_API_KEY", "sk-env")
    assert config.access() == Access("https://a.example.com", "sk-env")
    monkeypatch.setenv("BATCHSITE_URL", "https://b.example.com/v1")
    assert config.access() == Access("https://b.example.com", "sk-env")


def test_a_stored_key_never_goes_to_another_site(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config.store(Access("https://a.example.com", "sk-1"))
    monkeypatch.setenv("BATCHSITE_URL", "https://b.example.com")
    with pytest.raises(Unreachable, match="you are signed in to https://a"):
        config.access()
    monkeypatch.setenv("BATCHSITE_URL", "https://a.example.com/v1")
    assert config.access().key == "sk-1"


def test_without_anything_people_are_told_to_sign_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(Unreachable, match="not signed in"):
        config.access()
    monkeypatch.setenv("BATCHSITE_URL", "https://a.example.com")
    with pytest.raises(Unreachable, match="BATCHSITE_API_KEY is missing"):
        config.access()


@pytest.mark.parametrize("text", ["{", "[]", '{"url": 1}', json.dumps({"key": "x"})])
def test_a_broken_file_says_so(text: str) -> None:
    config.write_private(config.path(), text)
    with pytest.raises(Problem, match="is broken"):
        config.access()


def test_a_relative_xdg_folder_is_ignored(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "somewhere")
    monkeypatch.setenv("HOME", str(home))
    assert config.path() == home / ".config" / "batchsite" / "config.json"


def test_forgetting_twice_is_harmless() -> None:
    config.store(Access("https://a.example.com", "sk-1"))
    assert config.forget()
    assert not config.forget()
