# SPDX-License-Identifier: Apache-2.0
"""Suites: what a file of items may be, versions that stay, and where items come from."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsite.accounts.models import AuditEvent, Team, User
from benchmarks import item_lines, sources, suites
from benchmarks.item_lines import Item
from benchmarks.models import Suite, SuiteItem
from benchmarks.scoring import score
from benchmarks.sources import Source
from jobs.models import Batch
from jobs.refusals import Refused
from jobs.result_search import ResultFilter
from tests.conftest import MakeFile

ASKED = {"messages": [{"role": "user", "content": "2 + 2?"}]}


def lines(*rows: Any) -> io.BytesIO:
    texts = [
        row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows
    ]
    return io.BytesIO(b"\n".join(texts))


def one(row: Any) -> Item:
    (item,) = item_lines.read(lines(row))
    return item


def test_an_item_has_a_request_a_reference_metrics_and_tags() -> None:
    item = one(
        {
            "custom_id": "a",
            "url": "/v1/chat/completions",
            "body": {**ASKED, "model": "x", "stream": False, "temperature": 0},
            "reference": 4,
            "metrics": ["numeric"],
            "tags": ["sums", "sums"],
        }
    )
    assert item.body == {**ASKED, "temperature": 0}
    assert (item.reference, item.tags) == (4, ["sums"])
    assert item.metrics is not None
    assert item.metrics[0].kind == "numeric"


def test_short_forms_batch_lines_and_rows_of_datasets_are_items() -> None:
    short = one({"input": "2 + 2?"})
    assert (short.custom_id, short.body, short.reference) == ("item-1", ASKED, None)
    line = {"custom_id": "a", "method": "POST", "url": "/v1/completions"}
    assert one({**line, "body": {"model": "m", "prompt": "x"}}).url == "/v1/completions"
    said = {"role": "assistant", "content": "4"}
    sft = one({"messages": [*ASKED["messages"], said]})
    assert (sft.body, sft.reference) == (ASKED, "4")
    reward = one(
        {
            "id": "q1",
            "input": ASKED["messages"],
            "output": "5",
            "expected_output": "4",
            "scores": {"verdict": "bad"},
            "rationale": None,
        }
    )
    assert (reward.custom_id, reward.body) == ("q1", ASKED)
    assert reward.reference == "4"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b"{", "Line 1: This line is not parseable as valid JSON"),
        (b"[]", "not parseable"),
        ({}, "needs a body, an input, or messages"),
        ({"body": []}, "Line 1: Invalid 'body'"),
        ({"body": {}}, "Messages parameter is required."),
        ({"body": {**ASKED, "n": 1}, "url": "/v1/odd"}, "Invalid 'url'"),
        ({"input": "a", "custom_id": 5}, "custom_id must be a string"),
        ({"input": "a", "custom_id": "\ud800"}, "custom_id must be a string"),
        ({"input": "\ud800"}, "Invalid 'body': a string has half a surrogate pair"),
        ({"input": "a", "reference": "\ud800"}, "Invalid 'reference'"),
        ({"input": "a", "\ud800": 1}, "an item has no such field"),
        (b'{"input": "a", "reference": 1e400}', "a number is too large"),
        (b'{"body": {"messages": [1], "n": 1e400}}', "Invalid 'body': a number"),
        (
            b'{"input": "a", "reference": ' + b"[" * 5000 + b"]" * 5000 + b"}",
            "not parseable",
        ),
        ({"input": "a", "metrics": [{"kind": "exact", "\ud800": 1}]}, "no such field"),
        ({"input": "a", "metrics": ["odd"]}, "Invalid 'metrics[0].kind'"),
        ({"input": "a", "tags": "b"}, "Invalid 'tags'"),
        ({"input": "a", "tags": ["\0"]}, "use printable characters"),
        ({"input": "a", "odd": 1}, "Invalid 'odd': an item has no such field."),
        ({"input": "a", "reference": "b" * 200_001}, "Invalid 'reference'"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(row: Any, words: str) -> None:
    with pytest.raises(Refused) as refused:
        list(item_lines.read(lines(row)))
    assert words in refused.value.message
    assert refused.value.message.startswith("Line 1: ")


def test_items_have_names_of_their_own_and_one_endpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    same = {"input": "a", "custom_id": "x"}
    with pytest.raises(Refused, match="Line 2: another line has this custom_id"):
        list(item_lines.read(lines(same, same)))
    other = {"url": "/v1/completions", "body": {"prompt": "a"}}
    with pytest.raises(Refused, match="Line 2: all items of a suite"):
        list(item_lines.read(lines(same, other)))
    with pytest.raises(Refused, match="no items"):
        list(item_lines.read(lines(b"  ")))
    monkeypatch.setattr(item_lines, "MOST_KINDS", 1)
    tagged = [{"input": "a", "tags": [tag]} for tag in "ab"]
    with pytest.raises(Refused, match="Line 2: a suite has 1 different tags"):
        list(item_lines.read(lines(*tagged)))
    monkeypatch.setattr(item_lines, "MOST_ITEMS", 1)
    with pytest.raises(Refused, match="Line 2: a suite has 1 items"):
        list(item_lines.read(lines({"input": "a"}, {"input": "b"})))


@given(st.binary(max_size=300))
def test_no_file_does_more_than_be_refused(content: bytes) -> None:
    try:
        list(item_lines.read(io.BytesIO(content)))
    except Refused as refused:
        assert refused.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
)


@given(
    st.dictionaries(
        st.sampled_from(sorted(item_lines.MEMBERS)), JSON, min_size=1, max_size=5
    )
)
def test_no_object_does_more_than_be_refused(row: Any) -> None:
    try:
        list(item_lines.read(lines(row)))
    except Refused as refused:
        assert refused.message.startswith("Line 1: ")


# --- versions


def source(*rows: Any) -> Source:
    return Source(item_lines.read(lines(*rows)), {"kind": "file"})


def made(team: Team, *rows: Any, **over: Any) -> Suite:
    given: dict[str, Any] = {"name": "Sums", "source": source(*rows), "user": None}
    return suites.create_suite(team=team, **given | over)


@pytest.mark.django_db
def test_versions_stay_and_equal_ones_are_one(team: Team, owner: User) -> None:
    suite = made(team, {"input": "a"}, {"input": "b", "tags": ["x"]}, user=owner)
    first = suite.latest
    assert (first.number, first.count, first.url) == (1, 2, "/v1/chat/completions")

    def again(*rows: Any) -> int:
        return suites.add_version(
            suite=suite,
            source=source(*rows),
            user=owner,
        ).number

    assert again({"input": "a"}, {"input": "b", "tags": ["x"]}) == 1
    assert again({"input": "a"}) == 2
    assert [v.count for v in suite.versions.all()] == [1, 2]
    first.refresh_from_db()
    assert first.items.count() == 2
    actions = AuditEvent.objects.filter(action__startswith="suite.").order_by("pk")
    assert [event.action for event in actions] == ["suite.create", "suite.change"]


@pytest.mark.django_db
def test_nothing_is_left_of_what_was_refused(team: Team, other_team: Team) -> None:
    with pytest.raises(Refused, match="Line 2"):
        made(team, {"input": "a"}, b"{")
    assert not Suite.objects.exists()
    made(team, {"input": "a"})
    made(other_team, {"input": "a"})
    with pytest.raises(Refused, match="has a suite of this name"):
        made(team, {"input": "a"})
    with pytest.raises(Refused, match="printable"):
        made(team, {"input": "a"}, name="\0")
    assert SuiteItem.objects.count() == 2


@pytest.mark.django_db
def test_an_export_makes_the_same_items_elsewhere(
    team: Team, other_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suites, "WRITTEN_AT_ONCE", 2)
    rows = [{"input": f"ä {n}", "reference": n} for n in range(5)]
    rows.append({"input": "\0", "reference": "\0", "metrics": ["exact"]})
    suite = made(team, *rows, metrics=sources.ready("arithmetic").metrics)
    content = b"".join(suites.as_lines(suite.latest))
    assert "ä 3".encode() in content
    again = Source(item_lines.read(io.BytesIO(content)), {"kind": "file"})
    copy = suites.create_suite(team=other_team, name="Copy", source=again, user=None)
    here, there = suite.latest.items.all(), copy.latest.items.all()
    for mine, theirs in zip(here, there, strict=True):
        assert mine.as_line()["body"] == theirs.as_line()["body"]
        assert mine.reference == theirs.reference
        assert mine.metrics == theirs.metrics
    assert [m.kind for m in here[5].metrics] == ["exact"]
    assert [m.kind for m in here[0].metrics] == ["numeric"]


@pytest.mark.django_db
def test_suites_are_archived_and_restored(team: Team) -> None:
    suite = made(team, {"input": "a"})
    for archived in (True, True, False):
        suites.archive_suite(suite=suite, user=None, archived=archived)
        assert Suite.objects.live().exists() is not archived
    assert AuditEvent.objects.filter(action="suite.archive").count() == 1


# --- sources


@pytest.mark.django_db
def test_a_file_of_the_team_is_a_source(make_file: MakeFile) -> None:
    file = make_file(b'{"input": "a"}\n{"input": "b"}\n')
    assert [item.custom_id for item in sources.of_file(file).items] == [
        "item-1",
        "item-2",
    ]


@pytest.mark.django_db
def test_rows_of_a_batch_are_replayed(answered: Callable[..., Batch]) -> None:
    batch = answered(*(f"answer {n}" for n in range(30)), model="tiny")

    def replay(most: int, **over: Any) -> list[Item]:
        given: dict[str, Any] = {"with_reference": True}
        wanted = over.pop("wanted", ResultFilter())
        found = sources.of_results(batch, wanted, most=most, **given | over)
        return list(found.items)

    some = replay(10)
    assert len(some) == 10
    assert replay(10) == some
    assert "model" not in some[0].body
    by_name = {item.custom_id: item.reference for item in replay(500)}
    assert len(by_name) == 30
    assert sorted(by_name.values())[0] == "answer 0"
    assert {item.reference for item in replay(5, with_reference=False)} == {None}
    (seven,) = replay(9, wanted=ResultFilter(words="answer 17"))
    assert seven.reference == "answer 17"
    with pytest.raises(Refused, match="No row of the batch"):
        replay(9, wanted=ResultFilter(outcome="failed"))
    with pytest.raises(Refused, match="expected 1 to 5,000"):
        replay(0)


@pytest.mark.django_db
def test_what_is_no_item_is_not_replayed(
    answered: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = answered("long " * 50_000, "half \ud800", "good", "fine")
    batch.requests.filter(index=3).update(
        body='{"messages": [{"role": "user", "content": "a"}], "n": 1e400}'
    )
    whole = sources.of_results(batch, ResultFilter(), most=9, with_reference=True)
    assert [item.reference for item in whole.items] == ["good"]
    monkeypatch.setattr(item_lines, "MOST_BYTES", 10)
    with pytest.raises(Refused, match="No row of the batch"):
        sources.of_results(batch, ResultFilter(), most=9, with_reference=True)


@pytest.mark.parametrize("slug", [one.slug for one in sources.READY])
def test_each_suite_that_ships_can_be_answered_rightly(slug: str) -> None:
    items = list(sources.of_ready(slug).items)
    assert 25 <= len(items) <= 60
    assert all(item.tags for item in items)
    assert len({json.dumps(item.body) for item in items}) == len(items)
    for item in items:
        for metric in item.metrics or sources.ready(slug).metrics:
            if metric.kind in ("regex", "json_schema"):
                # Whether it can be followed at all is below; nonsense does not follow.
                assert (
                    score(metric, "Yes, I can do THAT; cold water: happy!", None) == 0
                )
                continue
            right = item.reference
            text = right if isinstance(right, str) else json.dumps(right)
            assert score(metric, text, right) == 1
            assert score(metric, "nothing of the kind", right) == 0
    with pytest.raises(Refused, match="arithmetic"):
        sources.ready("odd")


FOLLOWED = [
    *("Blue and wide", "It joins two high banks", "red", "Have a good trip"),
    *("Apple red", "good morning", "it is water.", "read walden."),
    *("WET FLOOR!", "LUNCH!", "THE TRAIN IS LATE.", "- a\n- b\n- c"),
    *("- a\n- b\n- c\n- d", "- a\n- b\n- c\n- d\n- e", "- a\n- b"),
    *("They rest because they must.", "Tea is mild; however, coffee is not."),
    *("It has one Window.", "It is frozen.", "It flows.", "Sun all day."),
    *(
        "All is well. Over and out.",
        "Thanks. A lot. Kind regards",
        "So it was. THE END",
    ),
    *("Dear reader, it is here.", "Note: lock it.", "1. Boil it."),
    *('{"name": "Tom", "legs": 4}', '{"yes": true, "why": "it is"}'),
    *('{"colours": ["a", "b", "c"]}', '{"city": "Paris", "country": "France"}'),
    *("yes", "no", "yes", "1,2,3,4,5", "2026-01-02", "They grow. (They fall.)"),
]


def test_each_instruction_can_be_followed() -> None:
    for item, text in zip(
        sources.of_ready("instructions").items, FOLLOWED, strict=True
    ):
        assert item.metrics
        assert [score(m, text, None) for m in item.metrics] == [1], item.custom_id
