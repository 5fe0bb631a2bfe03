# SPDX-License-Identifier: Apache-2.0
"""The review screen, as the forms of a browser with and without scripts use it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from batchsite.accounts.models import User
from curation import queues, reviewing, rubrics
from curation.models import Claim, Response, ReviewItem, ReviewQueue, Skip
from curation.questions import read
from tests.conftest import MakeBatch

from .conftest import GOOD, WHICH, MakeQueue
from .test_reviewing import judge, let_go

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def ann(curators: list[User], client: Client) -> User:
    client.force_login(curators[0])
    return curators[0]


def held(queue: ReviewQueue, user: User) -> ReviewItem:
    """The item that the person holds."""
    claim = Claim.objects.get(user=user, version__item__queue=queue)
    return claim.version.item


def path_of(item: ReviewItem) -> str:
    return f"/reviews/{item.queue.public_id}/items/{item.public_id}/review/"


def post(client: Client, item: ReviewItem, act: str, **fields: Any) -> Any:
    """Press a button of the screen, as htmx does."""
    data = {"version": "1", "act": act, **fields}
    return client.post(path_of(item), data, headers=HTMX)


def test_the_next_item_is_shown_and_held(
    client: Client, ann: User, make_queue: MakeQueue
) -> None:
    queue = make_queue(2, guidelines="Be *fair*.")

    r = client.get(f"/reviews/{queue.public_id}/review/")

    item = held(queue, ann)
    page = r.content.decode()
    assert item.public_id in page
    assert "answer 0" in page
    assert "model hidden until you submit" in page
    assert "Be <em>fair</em>." in page
    assert 'name="a-verdict" value="good"' in page
    # Asked again, it is the same one.
    again = client.get(f"/reviews/{queue.public_id}/review/")
    assert item.public_id in again.content.decode()
    assert Claim.objects.count() == 1


def test_a_judgement_brings_the_next_item(
    client: Client, ann: User, make_queue: MakeQueue
) -> None:
    queue = make_queue(2)
    client.get(f"/reviews/{queue.public_id}/review/")
    first = held(queue, ann)

    r = post(
        client, first, "submit", **{"a-verdict": "good", "a-note": "", "seconds": "4"}
    )

    second = held(queue, ann)
    assert second != first
    page = r.content.decode()
    assert second.public_id in page
    assert "submitted" in page
    assert "1 of 2 done" in page
    assert not page.lstrip().startswith("<!doctype")
    said = Response.objects.get(version__item=first)
    assert (said.state, said.answers, said.seconds) == ("submitted", GOOD, 4.0)


def test_without_scripts_it_works_as_well(
    client: Client, ann: User, make_queue: MakeQueue
) -> None:
    queue = make_queue(1)
    client.get(f"/reviews/{queue.public_id}/review/")
    item = held(queue, ann)

    r = client.post(
        path_of(item), {"version": "1", "act": "submit", "a-verdict": "bad"}
    )

    assert r.status_code == 302
    assert r["Location"] == f"/reviews/{queue.public_id}/review/"
    over = client.get(r["Location"]).content.decode()
    assert "All judged" in over


def test_what_is_missing_is_said_at_its_question_and_nothing_is_lost(
    client: Client, ann: User, make_queue: MakeQueue
) -> None:
    queue = make_queue(1)
    client.get(f"/reviews/{queue.public_id}/review/")

    r = post(client, held(queue, ann), "submit", **{"a-note": "half a thought"})

    page = r.content.decode()
    assert "Not submitted yet" in page
    assert "“It is” needs an answer." in page
    assert "half a thought" in page
    assert Response.objects.get().state == "draft"


def test_a_draft_is_kept_and_told_as_json(
    client: Client, ann: User, make_queue: MakeQueue
) -> None:
    queue = make_queue(1)
    client.get(f"/reviews/{queue.public_id}/review/")
    item = held(queue, ann)
    data = {"version": "1", "act": "draft", "a-note": "so far"}

    r = client.post(path_of(item), data, headers={"Accept": "application/json"})

    assert r.json() == {"saved": True, "held": True, "why": {}}
    assert Response.objects.get().answers == {"note": "so far"}
    # A draft that is good in no question is told so, with the question.
    data["a-verdict"] = "middling"
    r = client.post(path_of(item), data, headers={"Accept": "application/json"})
    assert r.json()["saved"] is False
    assert "verdict" in r.json()["why"]
    # After the claim has ended it is kept as well, and the person is told.
    let_go(item.versions.get(), ann)
    data["a-verdict"] = "good"
    r = client.post(path_of(item), data, headers={"Accept": "application/json"})
    assert r.json() == {"saved": True, "held": False, "why": {}}


def test_who_comes_too_late_keeps_the_words_and_is_told(
    client: Client, ann: User, curators: list[User], make_queue: MakeQueue
) -> None:
    queue = make_queue(1)
    client.get(f"/reviews/{queue.public_id}/review/")
    item = held(queue, ann)
    let_go(item.versions.get(), ann)
    judge(queue, curators[1], GOOD)

    r = post(client, item, "submit", **{"a-verdict": "bad", "a-note": "mine"})

    assert "Not counted:" in r.content.decode()
    mine = Response.objects.get(user=ann)
    assert (mine.state, mine.answers["note"]) == ("draft", "mine")
    assert ReviewItem.objects.get(pk=item.pk).submitted == 1


def test_skip_and_flag(client: Client, ann: User, make_queue: MakeQueue) -> None:
    queue = make_queue(2)
    client.get(f"/reviews/{queue.public_id}/review/")
    first = held(queue, ann)

    r = post(client, first, "flag", flag_reason="no sense", **{"a-note": "typed"})
    assert "Flagged: " in r.content.decode()
    # What was typed stays in the form.
    assert "typed" in r.content.decode()
    first.refresh_from_db()
    assert (first.flagged, first.flag_reason) == (True, "no sense")
    r = post(client, first, "flag", flag_reason=" ")
    assert "say what is wrong" in r.content.decode()

    r = post(client, first, "skip", skip_reason="not my field")
    assert Skip.objects.get().reason == "not my field"
    assert held(queue, ann) != first
    assert "skipped" in r.content.decode()


def test_undo_brings_the_item_back(
    client: Client, ann: User, make_queue: MakeQueue
) -> None:
    queue = make_queue(2)
    client.get(f"/reviews/{queue.public_id}/review/")
    first = held(queue, ann)
    post(client, first, "submit", **{"a-verdict": "good"})

    r = client.post(f"/reviews/{queue.public_id}/review/undo/", headers=HTMX)

    page = r.content.decode()
    assert first.public_id in page
    assert 'value="good" checked' in page
    assert Response.objects.submitted().count() == 0
    # There is nothing more to take back: the person stays where he was.
    r = client.post(f"/reviews/{queue.public_id}/review/undo/", headers=HTMX)
    assert "nothing of yours to take back" in r.content.decode()


def test_looking_back_shows_others_only_after_ones_own_word(
    client: Client, ann: User, curators: list[User], make_queue: MakeQueue
) -> None:
    queue = make_queue(1, overlap=2)
    judge(queue, curators[1], {"verdict": "bad", "note": "theirs"})
    client.get(f"/reviews/{queue.public_id}/review/")
    item = held(queue, ann)
    before = client.get(path_of(item)).content.decode()
    assert "theirs" not in before

    post(client, item, "submit", **{"a-verdict": "good"})

    after = client.get(path_of(item)).content.decode()
    assert "theirs" in after
    assert "Submitting again changes it" in after
    assert "model hidden" not in after
    # It is changed by submitting again.
    post(client, item, "submit", **{"a-verdict": "bad"})
    assert Response.objects.get(user=ann).answers == {"verdict": "bad"}


def test_the_arrows_lead_along_what_one_had(
    client: Client, ann: User, make_queue: MakeQueue
) -> None:
    queue = make_queue(3)
    seen = []
    for _ in range(2):
        client.get(f"/reviews/{queue.public_id}/review/")
        seen.append(held(queue, ann))
        post(client, seen[-1], "submit", **{"a-verdict": "good"})

    page = client.get(path_of(seen[1])).content.decode()
    assert f'href="{path_of(seen[0])}" data-key="ArrowLeft"' in page
    page = client.get(path_of(seen[0])).content.decode()
    assert f'href="{path_of(seen[1])}" data-key="ArrowRight"' in page


def test_jumping_to_an_item_by_either_name(
    client: Client, ann: User, make_queue: MakeQueue
) -> None:
    queue = make_queue(2)
    item = queue.items.order_by("-pk")[0]
    jump = f"/reviews/{queue.public_id}/review/jump/"
    assert item.version is not None

    for name in (item.public_id, item.version.custom_id):
        r = client.get(jump, {"to": name})
        assert r["Location"] == path_of(item)
    assert client.get(jump, {"to": "nothing"})["Location"].endswith("/review/")
    assert client.get(path_of(item)).status_code == 200
    assert held(queue, ann) == item


def test_pairs_are_shown_in_each_persons_own_order_and_counted_by_place(
    client: Client,
    ann: User,
    answered: Any,
    make_batch: MakeBatch,
    make_queue: MakeQueue,
) -> None:
    asked = rubrics.create_rubric(
        team=make_batch().team, name="Which", questions=read("q", WHICH), user=None
    )
    queue = make_queue(0, kind="pairwise", rubric_version=asked.latest)
    one = answered("red", model="m1")
    two = answered("blue", model="m2", input_file=one.input_file)
    queues.add_items(queue=queue, subjects=queues.same_requests([one, two]), user=None)

    page = client.get(f"/reviews/{queue.public_id}/review/").content.decode()

    layout = Response.objects.get().layout
    assert (page.index("red") < page.index("blue")) == (layout == [0, 1])
    left = "a" if layout[0] == 0 else "b"
    assert f'value="{left}" data-option="a"' in page
    assert "Answer A" in page
    assert "Answer B" in page


def test_a_correction_is_compared_with_the_answer(
    client: Client, ann: User, make_batch: MakeBatch, make_queue: MakeQueue
) -> None:
    shape = {"type": "object", "required": ["years"]}
    asked = rubrics.create_rubric(
        team=make_batch().team,
        name="Correct",
        questions=read(
            "q",
            [
                {
                    "key": "fixed",
                    "type": "correction",
                    "title": "As it should be",
                    "format": "json",
                    "schema": shape,
                    "required": False,
                }
            ],
        ),
        user=None,
    )
    queue = make_queue(1, rubric_version=asked.latest)
    client.get(f"/reviews/{queue.public_id}/review/")
    item = held(queue, ann)
    path = path_of(item).replace("/review/", "/diff/")

    r = client.post(path, {"version": "1", "a-fixed": '{"years": 6}'})
    assert "fits the schema" in r.content.decode()
    assert "<ins>" in r.content.decode()
    r = client.post(path, {"version": "1", "a-fixed": '{"age": 6}'})
    assert "does not satisfy the schema" in r.content.decode()
    # Left as it was, it is no correction.
    post(client, item, "submit", **{"a-fixed": "answer 0"})
    assert Response.objects.get().answers == {}


def test_paused_queues_and_other_peoples_say_why(
    client: Client, ann: User, curators: list[User], make_queue: MakeQueue
) -> None:
    paused = make_queue(1)
    queues.change_queue(queue=paused, user=None, state="paused")
    theirs = make_queue(1, assignees=[curators[1]])

    page = client.get(f"/reviews/{paused.public_id}/review/").content.decode()
    assert "This queue is paused." in page
    page = client.get(f"/reviews/{theirs.public_id}/review/").content.decode()
    assert "not one of the reviewers" in page


def test_strangers_find_nothing_and_viewers_only_look(
    client: Client, stranger: User, viewer: User, make_queue: MakeQueue
) -> None:
    queue = make_queue(1)
    item = queue.items.get()
    client.force_login(stranger)
    assert client.get(f"/reviews/{queue.public_id}/review/").status_code == 404
    assert post(client, item, "submit").status_code == 404
    client.force_login(viewer)
    assert client.get(f"/reviews/{queue.public_id}/review/").status_code == 403
    assert post(client, item, "submit").status_code == 403
    assert client.get(f"/reviews/{queue.public_id}/").status_code == 200


def test_a_submit_costs_few_queries(
    client: Client,
    ann: User,
    make_queue: MakeQueue,
    django_assert_max_num_queries: Any,
) -> None:
    queue = make_queue(3)
    client.get(f"/reviews/{queue.public_id}/review/")
    item = held(queue, ann)

    with django_assert_max_num_queries(51):
        post(client, item, "submit", **{"a-verdict": "good"})


def test_leaving_it_to_others_frees_it(
    client: Client, ann: User, make_queue: MakeQueue
) -> None:
    queue = make_queue(1)
    client.get(f"/reviews/{queue.public_id}/review/")
    item = held(queue, ann)

    r = client.post(path_of(item), {"version": "1", "act": "leave", "a-note": "kept"})

    assert r["Location"] == f"/reviews/{queue.public_id}/"
    assert not Claim.objects.exists()
    assert Response.objects.get().answers == {"note": "kept"}
    assert reviewing.next_work(queue=queue, user=ann) is not None
