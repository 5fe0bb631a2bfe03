# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsite.cli import printing
from batchsite.cli.lines import answer_text, failure_text, readable, whole_lines
from batchsite.cli.printing import ago, between, one_line, printable
from jobs.durations import duration

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\r\x7f\u2028"


class Terminal(io.TextIOWrapper):
    """stdout as a terminal has it."""

    def isatty(self) -> bool:
        return True


def written(data: bytes, *, terminal: bool, monkeypatch: pytest.MonkeyPatch) -> bytes:
    raw = io.BytesIO()
    stdout = (Terminal if terminal else io.TextIOWrapper)(raw, encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        printing.write_data(data)
    return raw.getvalue()


@given(st.text())
def test_nothing_printable_acts_on_a_terminal(text: str) -> None:
    for char in printable(text + HOSTILE):
        assert char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs"), char
        assert not 0x202A <= ord(char) <= 0x202E
    assert "\n" not in one_line(text)


def test_ordinary_text_stays_as_it_is() -> None:
    text = "Grüße, 世界 👩‍💻\n\tend"
    assert printable(text) == text
    assert one_line("a\n  b\tc") == "a b c"


def test_answers_are_neutralised_on_a_terminal_and_whole_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = f"{HOSTILE}\n".encode() + b"\xff\n"
    assert written(data, terminal=False, monkeypatch=monkeypatch) == data
    shown = written(data, terminal=True, monkeypatch=monkeypatch).decode()
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert shown.endswith("\ufffd\n")


def test_a_name_with_markup_and_escapes_is_shown_not_obeyed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    printing.say(f"Created [bold]x[/bold] :smile: {HOSTILE}")
    printing.write_table(("ID",), [(f"[red]x {HOSTILE}",)])
    out, err = capsys.readouterr()
    assert "[bold]x[/bold] :smile:" in err
    assert "[red]x" in out
    assert "\x1b]" not in out + err
    assert "\x9b" not in out + err


def test_no_color_is_honoured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    printing.say("failed", style="red")
    assert "\x1b[31m" not in capsys.readouterr().err


def test_json_for_machines_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    printing.write_json({"name": HOSTILE})
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert json.loads(out) == {"name": HOSTILE}


def test_times_in_words() -> None:
    assert [duration(s) for s in (5, 65, 720, 6000, 90_000)] == [
        "5 s",
        "1 min 5 s",
        "12 min",
        "1 h 40 min",
        "1 d 1 h",
    ]
    assert between(720, 1080) == "12 to 18 min"
    assert between(50, 120) == "50 s to 2 min"
    assert between(65, 65) == "1 min 5 s"
    assert between(65, 720) == "1 min 5 s to 12 min"
    assert [ago(t, 100_000) for t in (None, 99_990, 99_000, 90_000, 0)] == [
        "",
        "just now",
        "16 min ago",
        "2 h ago",
        "1 d ago",
    ]


@given(st.lists(st.binary()), st.integers(1, 5))
def test_lines_come_whole_out_of_any_pieces(lines: list[bytes], size: int) -> None:
    lines = [line.replace(b"\n", b"") for line in lines]
    data = b"\n".join(lines)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert list(whole_lines(pieces)) == [line for line in lines if line]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"choices": [{"message": {"content": "Hi"}}]}, "Hi"),
        ({"choices": [{"text": "Hi"}]}, "Hi"),
        ({"output": [{"type": "x"}, {"content": [{"text": "Hi"}]}]}, "Hi"),
        (
            {"object": "list", "data": [{"embedding": [1, 2, 3]}]},
            "1 embedding of 3 numbers",
        ),
        ({"score": 0.5}, '{"score": 0.5}'),
        ({"choices": [{"message": {"content": None}}]}, '{"choices"'),
    ],
)
def test_answers_for_reading(body: dict[str, object], words: str) -> None:
    line = {"custom_id": "a\nb", "response": {"body": body}}
    head, said = answer_text(line).split("\n", 1)
    assert head == "── a b"
    assert said.startswith(words)


def test_failures_for_reading() -> None:
    response = {"status_code": 400, "body": {"error": {"message": "too long"}}}
    refused = {"custom_id": "a", "response": response, "error": None}
    assert failure_text(refused) == "a: status 400: too long"
    error = {"code": "batch_expired", "message": "Late."}
    late = {"custom_id": "b", "response": None, "error": error}
    assert failure_text(late) == "b: batch_expired: Late."
    bad = {"code": "x", "message": "No body.", "param": "method", "line": 3}
    assert failure_text(bad) == "line 3: No body. (method)"
    assert readable(b"no json", failure_text) == b"no json"
    assert readable(b"[]", failure_text) == b"[]"
