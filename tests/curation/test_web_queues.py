# SPDX-License-Identifier: Apache-2.0
"""The pages of queues and their items."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from batchsite.accounts.models import AuditEvent, Team, User
from curation import reviewing
from curation.models import (
    FeedRule,
    Resolution,
    ReviewItem,
    ReviewQueue,
    Rework,
    Rubric,
)
from jobs.models import Batch, ServedModel

from .conftest import BAD, GOOD, MakeQueue
from .test_feeding import ended
from .test_reviewing import judge, take

pytestmark = pytest.mark.django_db
SETTINGS: dict[str, Any] = {
    "name": "Nightly",
    "overlap": "2",
    "coverage": "50",
    "gold_rate": "10",
    "auto_resolve": "majority",
    "skips": "others",
    "lock_minutes": "30",
    "blind_model": "on",
    "guidelines": "Read twice.",
}


@pytest.fixture
def ann(curators: list[User], client: Client) -> User:
    client.force_login(curators[0])
    return curators[0]


def test_an_empty_list_says_what_a_queue_is(client: Client, ann: User) -> None:
    page = client.get("/reviews/").content.decode()
    assert "No review queues yet" in page
    assert 'href="/reviews/new/"' in page


def test_the_list_shows_how_far_each_queue_is(
    client: Client, ann: User, make_queue: MakeQueue, django_assert_num_queries: Any
) -> None:
    queue = make_queue(2)
    judge(queue, ann, GOOD)
    make_queue(1)

    page = client.get("/reviews/").content.decode()
    assert "1 of 2" in page
    assert f'href="/reviews/{queue.public_id}/review/"' in page

    client.post(f"/reviews/{queue.public_id}/state/", {"state": "archived"})
    assert queue.name not in client.get("/reviews/").content.decode()
    assert queue.name in client.get("/reviews/?state=archived").content.decode()
    # However many queues there are.
    make_queue(1)
    with django_assert_num_queries(11):
        client.get("/reviews/")


def test_the_list_goes_on_in_pages(
    client: Client, ann: User, make_queue: MakeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curation.web.queues.QUEUES", 2)
    made = [make_queue(0) for _ in range(3)]

    page = client.get("/reviews/").content.decode()
    assert made[0].name not in page
    older = client.get(f"/reviews/?before={made[1].public_id}").content.decode()
    assert made[0].name in older
    assert made[1].name not in older


def test_a_queue_is_made_with_a_ready_rubric(
    client: Client, ann: User, curators: list[User], team: Team
) -> None:
    data = SETTINGS | {
        "kind": "single",
        "rubric": "ready:free-answer",
        "assignees": [str(curators[1].pk)],
    }

    r = client.post("/reviews/new/", data)

    queue = ReviewQueue.objects.get()
    assert r["Location"] == f"/reviews/{queue.public_id}/"
    assert (queue.team, queue.overlap, queue.coverage) == (team, 2, 50)
    assert (queue.auto_resolve, queue.blind_model, queue.blind_others) == (
        "majority",
        True,
        False,
    )
    assert list(queue.assignees.all()) == [curators[1]]
    assert Rubric.objects.get().name == "Free answer with correction"
    # A second one asks the same rubric.
    client.post("/reviews/new/", data | {"name": "Again"})
    assert (Rubric.objects.count(), ReviewQueue.objects.count()) == (1, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, "This field is required"),
        ({"overlap": "0"}, "greater than or equal to 1"),
        ({"kind": "pairwise"}, "A pairwise queue needs a question of type"),
        ({"rubric": "ready:nothing"}, "Select a valid choice"),
        ({"guidelines": "a\0b"}, "Null characters are not allowed"),
    ],
)
def test_what_does_not_fit_is_said_at_its_field(
    client: Client, ann: User, change: dict[str, str], words: str
) -> None:
    data = SETTINGS | {"kind": "single", "rubric": "ready:free-answer"} | change

    r = client.post("/reviews/new/", data)

    assert r.status_code == 200
    assert words in r.content.decode()
    assert not ReviewQueue.objects.exists()
    # Nothing is half made.
    assert not Rubric.objects.exists()


def test_members_of_no_curating_role_make_no_queue(
    client: Client, teammate: User, make_queue: MakeQueue
) -> None:
    client.force_login(teammate)
    assert client.get("/reviews/new/").status_code == 403
    queue = make_queue(1)
    path = f"/reviews/{queue.public_id}/"
    assert client.post(f"{path}state/", {"state": "paused"}).status_code == 403
    assert client.post(f"{path}settings/", SETTINGS).status_code == 403
    page = client.get(f"{path}settings/").content.decode()
    assert '<fieldset class="form-all" disabled>' in page


def test_settings_are_changed_and_noted(
    client: Client, ann: User, make_queue: MakeQueue
) -> None:
    queue = make_queue(1)

    r = client.post(f"/reviews/{queue.public_id}/settings/", SETTINGS)

    assert r.status_code == 302
    queue.refresh_from_db()
    assert (queue.name, queue.overlap, queue.lock_minutes) == ("Nightly", 2, 30)
    assert AuditEvent.objects.filter(action="queue.change").count() == 1
    make_queue(0, name="Taken")
    r = client.post(
        f"/reviews/{queue.public_id}/settings/", SETTINGS | {"name": "Taken"}
    )
    assert "The team has a queue of this name." in r.content.decode()


def test_rules_are_added_and_removed(
    client: Client, ann: User, make_queue: MakeQueue
) -> None:
    queue = make_queue(0)
    path = f"/reviews/{queue.public_id}/rules/"

    client.post(path, {"model": "m1", "tag": "", "how": "random", "most": "20"})
    rule = FeedRule.objects.get()
    assert (rule.model, rule.how, rule.most) == ("m1", "random", 20)
    page = client.get(f"/reviews/{queue.public_id}/settings/").content.decode()
    assert "a random sample" in page
    client.post(path, {"how": "random", "most": "0"})
    assert FeedRule.objects.count() == 1

    sent = {"how": "all", "most": "20"}
    client.post(path, sent | {"check": "valid"})
    client.post(path, sent | {"check": " * "})
    _, one, any_ = FeedRule.objects.order_by("pk")
    assert (one.wanted_check, any_.wanted_check) == ("valid:failed", ":failed")
    page = client.get(f"/reviews/{queue.public_id}/settings/").content.decode()
    assert "what has" in page and "valid:failed" in page
    FeedRule.objects.exclude(pk=rule.pk).delete()

    client.post(f"{path}{rule.pk}/remove/")
    assert not FeedRule.objects.exists()


def test_agreement_says_too_few_instead_of_a_number(
    client: Client, ann: User, curators: list[User], make_queue: MakeQueue
) -> None:
    queue = make_queue(4, overlap=2)
    path = f"/reviews/{queue.public_id}/agreement/"
    assert "too few overlapping items" in client.get(path).content.decode()
    for answers in (GOOD, BAD, GOOD, BAD):
        for person in curators[:2]:
            judge(queue, person, answers)

    page = client.get(path).content.decode()
    assert "too few overlapping items" not in page
    assert "1.00" in page
    assert "curator0@example.com and curator1@example.com" in page


# --- items


def test_items_are_narrowed_found_and_paged(
    client: Client,
    ann: User,
    curators: list[User],
    make_queue: MakeQueue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = make_queue(3, overlap=2)
    path = f"/reviews/{queue.public_id}/items/"
    work = take(queue, ann)
    reviewing.submit(version=work.version, user=ann, answers=GOOD)
    judge(queue, curators[1], BAD)
    name = work.version.custom_id

    assert name in client.get(path, {"view": "disputed"}).content.decode()
    assert name not in client.get(path, {"view": "waiting"}).content.decode()
    assert name in client.get(path, {"q": name}).content.decode()
    assert "No item is called" in client.get(path, {"q": "nothing"}).content.decode()
    monkeypatch.setattr("curation.web.items.ITEMS", 2)
    page = client.get(path).content.decode()
    last = queue.items.order_by("pk")[1]
    assert f"after={last.public_id}" in page
    page = client.get(path, {"after": last.public_id}).content.decode()
    assert page.count("data-row-link") == 1


def test_a_dispute_is_shown_side_by_side_and_decided(
    client: Client, ann: User, curators: list[User], make_queue: MakeQueue
) -> None:
    queue = make_queue(1, overlap=2)
    item = judge(queue, curators[1], {"verdict": "good", "note": "fits"})
    judge(queue, curators[2], BAD)
    path = f"/reviews/{queue.public_id}/items/{item.public_id}/"

    page = client.get(path).content.decode()
    assert "fits" in page
    assert 'class="is-apart"' in page
    chosen = item.versions.get().responses.get(user=curators[2])
    r = client.post(f"{path}decide/", {"chosen": chosen.pk, "then": "next"})

    assert r["Location"] == f"/reviews/{queue.public_id}/items/"
    held = Resolution.objects.get()
    assert (held.chosen, held.by, held.how) == (chosen, ann, "person")
    # Another word replaces it, with answers of one's own.
    client.post(f"{path}decide/", {"a-verdict": "good", "note": "both are right"})
    held = Resolution.objects.get()
    assert (held.answers, held.chosen) == (GOOD, None)
    assert "both are right" in client.get(path).content.decode()
    r = client.post(f"{path}decide/", {"a-verdict": ""})
    assert "Not decided yet" in r.content.decode()
    assert client.post(f"{path}decide/", {"chosen": "7"}).status_code == 404


def test_judgements_are_kept_from_who_is_still_to_judge(
    client: Client, ann: User, curators: list[User], viewer: User, make_queue: MakeQueue
) -> None:
    queue = make_queue(1, overlap=2)
    item = judge(queue, curators[1], {"verdict": "good", "note": "theirs"})
    path = f"/reviews/{queue.public_id}/items/{item.public_id}/"
    page = client.get(path).content.decode()
    assert "once you have judged it" in page
    assert "theirs" not in page
    assert "hidden until you have judged it" in page
    assert "tiny" not in page
    judge(queue, ann, GOOD)
    page = client.get(path).content.decode()
    assert "theirs" in page
    assert "tiny" in page
    client.force_login(viewer)
    assert "theirs" in client.get(path).content.decode()


def test_many_items_are_changed_at_once(
    client: Client, ann: User, curators: list[User], make_queue: MakeQueue
) -> None:
    queue = make_queue(3)
    path = f"/reviews/{queue.public_id}/items/change/"
    ids = [item.public_id for item in queue.items.order_by("pk")[:2]]

    client.post(path, {"item": ids, "act": "exclude"})
    assert queue.items.filter(state="excluded").count() == 2
    client.post(path, {"item": ids, "act": "include"})
    assert queue.items.filter(state="pending").count() == 3
    client.post(path, {"item": ids[:1], "act": "assign", "to": curators[1].pk})
    assert queue.items.get(public_id=ids[0]).assigned_to == curators[1]
    client.post(path, {"item": ids[1:], "act": "first"})
    assert take(queue, ann).item.public_id == ids[1]
    assert client.post(path, {"item": ids, "act": "burn"}).status_code == 404
    assert (
        client.post(path, {"item": ids, "act": "assign", "to": "0"}).status_code == 404
    )
    r = client.post(path, {"act": "exclude"}, follow=True)
    assert "Choose items first." in r.content.decode()
    assert ReviewItem.objects.filter(state="excluded").count() == 0


def test_items_run_again_in_a_child_batch(
    client: Client, ann: User, make_queue: MakeQueue
) -> None:
    ServedModel.objects.create(name="tiny", source="tiny")
    queue = make_queue(2)
    ended(Batch.objects.get())
    path = f"/reviews/{queue.public_id}/rework/"
    (first, _) = queue.items.order_by("pk")
    page = client.post(path, {"item": first.public_id}).content.decode()
    assert "Run 1 item again" in page
    assert f'name="item" value="{first.public_id}"' in page
    data = {"item": first.public_id, "go": "1"}

    page = client.post(path, data | {"body": "[1]"}).content.decode()
    assert "Write one JSON object" in page
    r = client.post(
        path, data | {"system_prompt": "Be brief.", "body": '{"temperature": 0}'}
    )

    child = Batch.objects.get(rework__queue=queue)
    assert r["Location"] == f"/batches/{child.public_id}/"
    assert Rework.objects.get(batch=child).items.get() == first
    assert "Choose items first." in client.post(path, follow=True).content.decode()


def test_strangers_see_no_queue(
    client: Client, stranger: User, make_queue: MakeQueue
) -> None:
    queue = make_queue(1)
    item = queue.items.get().public_id
    client.force_login(stranger)
    assert queue.name not in client.get("/reviews/").content.decode()
    path = f"/reviews/{queue.public_id}/"
    for more in ("", "items/", "agreement/", "settings/", f"items/{item}/"):
        assert client.get(path + more).status_code == 404
    # An item is found in its own queue alone.
    assert client.post(f"{path}items/{item}/decide/").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/reviews/%00/",
        "/reviews/{queue}/items/%00/",
        "/rubrics/%00/",
        "/datasets/%00/",
        "/datasets/new/?queue=%00",
    ],
)
def test_no_address_is_too_odd(
    client: Client, ann: User, make_queue: MakeQueue, path: str
) -> None:
    client.force_login(ann)
    queue = make_queue(0)
    assert client.get(path.format(queue=queue.public_id)).status_code == 404
    chosen = client.post(
        f"/reviews/{queue.public_id}/items/change/", {"item": "\0", "act": "exclude"}
    )
    assert chosen.status_code == 302
