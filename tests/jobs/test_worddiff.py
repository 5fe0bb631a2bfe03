# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobs.web import worddiff
from jobs.web.worddiff import Piece, differences

texts = st.text(alphabet="ab .,\n\u00e9", max_size=60)


def joined(pieces: list[Piece], *, changed: bool | None = None) -> str:
    return "".join(p.text for p in pieces if changed in (None, p.changed))


@given(texts, texts)
def test_the_pieces_are_the_texts_and_what_is_left_is_in_both(
    left: str, right: str
) -> None:
    ours, theirs = differences(left, right)

    assert joined(ours) == left
    assert joined(theirs) == right
    assert joined(ours, changed=False) == joined(theirs, changed=False)
    assert all(p.changed for p in ours) or left == right or joined(ours, changed=False)


def test_words_are_marked_and_not_letters() -> None:
    ours, theirs = differences("the red fox", "the rod fox")

    assert ours == [Piece("the ", False), Piece("red", True), Piece(" fox", False)]
    assert theirs == [Piece("the ", False), Piece("rod", True), Piece(" fox", False)]


def test_long_texts_go_by_lines_and_longer_ones_as_a_whole() -> None:
    words = "word " * worddiff.MOST_WORDS
    by_lines = differences(f"{words}\nsame\n", f"other {words}\nsame\n")
    assert [p.text for p in by_lines[0] if not p.changed] == ["same\n"]
    lines = "x\n" * (worddiff.MOST_WORDS + 1)
    assert differences(lines, lines + "y") == (
        [Piece(lines, True)],
        [Piece(lines + "y", True)],
    )
