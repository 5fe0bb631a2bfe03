# SPDX-License-Identifier: Apache-2.0
"""Generators of what clients send: good, nearly good, and anything at all."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

Strategy = st.SearchStrategy
CHAT = "/v1/chat/completions"
# All of Unicode with lone surrogates, and what breaks databases and browsers.
LETTERS = st.characters() | st.sampled_from('\0\ud800\udfff\u2028\ufeff\U0001f600"\\\n')
TEXT = st.text(LETTERS, max_size=12)
ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)
ODD = st.sampled_from(
    [
        *("null", "true", "false", "0", "-0", "1", "1.0", "1e2", "-1"),
        *("1e999", "-1e999", "1e-999", "9" * 4000, "9" * 5000, "1" + "0" * 400),
        *("9223372036854775808", "1e308", "0.1", "2147483648"),
        *("NaN", "-Infinity", "01", "1.", "+1", "0x1", "'a'", "", "nul", "\ufeff1"),
        *(
            r'"\u0000"',
            r'"\ud800"',
            r'"\udc00\ud83d"',
            r'"\x"',
            '"\t"',
            '"',
            "{}",
            "[]",
        ),
        *("[", "{", "]", '{"a"}', '{"a":1,}', "[1,]", "// no", '""', '" "'),
        *('{"a":1,"a":2}', '"' + "x" * 3000 + '"'),
    ]
)
LEAVES = ODD | TEXT.map(json.dumps) | st.integers().map(str) | st.floats().map(repr)


def array(parts: list[str]) -> str:
    """A JSON array of those texts."""
    return f"[{','.join(parts)}]"


def members(pairs: list[tuple[str, str]]) -> str:
    """A JSON object of those members; a name may come twice."""
    return "{" + ",".join(f"{json.dumps(k)}:{v}" for k, v in pairs) + "}"


# JSON as text, most of it right.
VALUES: Strategy[str] = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4).map(array)
        | st.lists(st.tuples(TEXT, inner), max_size=4).map(members)
    ),
    max_leaves=6,
)
DEEP = st.builds(
    lambda opening, depth, closed: (
        opening * depth + ("]" if opening == "[" else "1}") * depth * closed
    ),
    st.sampled_from(["[", '{"a":']),
    st.sampled_from([10, 100, 900, 1000, 5000, 100_000]),
    st.booleans(),
)


def mostly(good: Strategy[str], bad: Strategy[str] = VALUES) -> Strategy[str]:
    """The good ones seven times of eight."""
    return st.integers(0, 7).flatmap(lambda n: bad if n == 7 else good)


@st.composite
def objects(draw: Any, parts: dict[str, Strategy[str]]) -> str:
    """An object with mostly these members: one may be missing, come twice, or be new."""
    pairs = [(name, draw(value)) for name, value in parts.items()]
    match draw(st.integers(0, 9)):
        case 7 if pairs:
            del pairs[draw(st.integers(0, len(pairs) - 1))]
        case 8:
            pairs.append((draw(st.sampled_from(sorted(parts))), draw(VALUES)))
        case 9:
            pairs.append((draw(TEXT), draw(VALUES | DEEP)))
    return members(draw(st.permutations(pairs)))


@st.composite
def damaged(draw: Any, whole: Strategy[str]) -> bytes:
    """The text as bytes, one time of eight with something broken in it."""
    data: bytes = draw(whole).encode(errors="surrogatepass")
    if draw(st.integers(0, 7)) < 7:
        return data
    at = draw(st.integers(0, len(data)))
    piece: bytes = draw(
        st.binary(max_size=4)
        | st.sampled_from(
            [b"\0", b"\xff", b"\xed\xa0\x80", b"\x1f\x8b", b"\xef\xbb\xbf"]
        )
    )
    return data[:at] + piece + data[at + draw(st.integers(0, 3)) :]


def quoted(*texts: str) -> Strategy[str]:
    """One of the texts, as a JSON string."""
    return st.sampled_from([json.dumps(text) for text in texts])


MESSAGES = mostly(
    TEXT.map(lambda text: json.dumps([{"role": "user", "content": text}]))
)
BODY = objects(
    {
        "model": mostly(quoted("tiny")),
        "messages": MESSAGES,
        "max_tokens": mostly(st.integers(1, 99).map(str)),
        "temperature": mostly(st.just("0")),
    }
)
LINE = objects(
    {
        "custom_id": mostly(
            st.integers(0, 9999).map(lambda n: f'"row-{n}"') | TEXT.map(json.dumps)
        ),
        "method": mostly(quoted("POST")),
        "url": mostly(quoted(CHAT)),
        "body": mostly(BODY, VALUES | DEEP),
    }
)
LINES = damaged(mostly(LINE, VALUES | DEEP))
GOOD_LINE = st.builds(
    lambda text, extra: {
        "custom_id": "",
        "method": "POST",
        "url": CHAT,
        "body": {
            "model": "tiny",
            "messages": [{"role": "user", "content": text}],
            **extra,
        },
    },
    TEXT,
    st.dictionaries(
        st.sampled_from(["temperature", "seed", "n", "max_tokens", "stop", "logprobs"]),
        st.integers(0, 3) | st.floats(0, 2) | TEXT | st.none() | st.booleans(),
        max_size=3,
    ),
)


@st.composite
def good_files(draw: Any) -> bytes:
    """A file without a mistake: all rows must come back."""
    rows = draw(st.lists(GOOD_LINE, min_size=1, max_size=8))
    ends = st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n \t\n"])
    data = b"\xef\xbb\xbf" if draw(st.booleans()) else b""
    for number, row in enumerate(rows):
        row["custom_id"] = f"{number}-{draw(ASCII)}"
        data += json.dumps(row).encode() + draw(ends)
    return data


@st.composite
def any_files(draw: Any) -> bytes:
    """A file of any lines."""
    ends = st.sampled_from([b"\n", b"\n", b"\r\n", b"\n\n", b"\r"])
    data = b"\xef\xbb\xbf" if draw(st.booleans()) else b""
    for line in draw(st.lists(LINES, max_size=6)):
        data += line + draw(ends)
    return data


FILES = good_files() | any_files()
