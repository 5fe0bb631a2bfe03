# SPDX-License-Identifier: Apache-2.0
"""A row and a template make a line of a batch file."""

from __future__ import annotations

import subprocess
import sys

import pytest

from jobs.templating import RowError, Template, filled, request_line

ROW = {"id": "a-1", "city": "Bonn", "What it is": "a {town}", "empty": "  "}


def test_a_row_becomes_a_request() -> None:
    template = Template(
        prompt="Tell me of {city}: {What it is}.",
        model="tiny",
        system="Answer for {id}.",
        max_tokens=5,
        temperature=0.0,
        id_column="id",
    )

    assert request_line(ROW, template) == {
        "custom_id": "a-1",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "tiny",
            "messages": [
                {"role": "system", "content": "Answer for a-1."},
                # Braces in a value are no placeholder.
                {"role": "user", "content": "Tell me of Bonn: a {town}."},
            ],
            "max_tokens": 5,
            "temperature": 0.0,
        },
    }
    assert template.columns() == ["id", "city", "What it is"]
    assert template.missing(["id", "city"]) == ["What it is"]


def test_what_is_not_chosen_is_left_out_and_rows_are_numbered() -> None:
    line = request_line(ROW, Template(prompt="{city}", model="tiny"), number=7)

    assert line["custom_id"] == "row-7"
    assert set(line["body"]) == {"model", "messages"}
    assert [message["role"] for message in line["body"]["messages"]] == ["user"]


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{{city}}", "{city}"),
        ('{{"a": {city}}}', '{"a": Bonn}'),
        ("{ city }", "Bonn"),
        ("{", "{"),
        ("no column", "no column"),
    ],
)
def test_braces(text: str, made: str) -> None:
    assert filled(text, ROW) == made


@pytest.mark.parametrize(
    ("template", "column", "words"),
    [
        (Template("{town}", "tiny"), "town", "no column"),
        (Template("{empty}", "tiny"), "empty", "is empty"),
        (Template("{city}", "tiny", id_column="empty"), "empty", "is empty"),
        (Template("{city}", "tiny", id_column="none"), "none", "no column"),
    ],
)
def test_a_bad_row_names_the_column(
    template: Template, column: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        request_line(ROW, template)

    assert isinstance(caught.value, RowError)
    assert caught.value.column == column


def test_a_custom_id_has_512_characters_at_most() -> None:
    template = Template("{city}", "tiny", id_column="id")
    assert request_line(ROW | {"id": "x" * 512}, template)["custom_id"] == "x" * 512
    with pytest.raises(RowError, match="1 to 512"):
        request_line(ROW | {"id": "x" * 513}, template)


def test_it_works_without_django() -> None:
    code = "import sys, jobs.templating; assert 'django' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
