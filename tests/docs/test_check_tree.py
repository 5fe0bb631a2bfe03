# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from deploy.check_tree import CONSTRAINT, PLACEHOLDERS, problems


# Assembled here, so that the check does not find them in this file.
@pytest.mark.parametrize(
    "text",
    [
        "https://" + "your-" + "org.example/docs",
        "git clone https://github.com/" + "user" + "name/batchsite",
        "KEY=" + "CHANGE" + "ME",
    ],
)
def test_an_address_that_was_forgotten_is_found(text: str) -> None:
    assert PLACEHOLDERS.search(text)


def test_example_people_are_no_placeholders() -> None:
    assert not PLACEHOLDERS.search("owner@example.com at http://127.0.0.1:8000/v1")


def test_constraints_are_plain_versions() -> None:
    assert CONSTRAINT.fullmatch("django==5.2.19")
    assert not CONSTRAINT.fullmatch("django @ file:///wheels/django.whl")


def test_the_tree_is_as_promised() -> None:
    assert list(problems()) == []
