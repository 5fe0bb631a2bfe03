# SPDX-License-Identifier: Apache-2.0
"""A model is tried out by a batch of one row, whose answer its page shows."""

from __future__ import annotations

import json

import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.utils import timezone

from batchsite.accounts.models import Membership, Team, User
from batchsite.accounts.people import ensure_member
from jobs import trial
from jobs.models import Batch, BatchFile, ServedModel
from jobs.refusals import Refused
from tests.conftest import MakeBatch
from tests.web import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def model(db: None) -> ServedModel:
    return ServedModel.objects.create(name="tiny", source="/m")


def test_a_trial_is_an_urgent_batch_of_one_row(
    team: Team, owner: User, model: ServedModel
) -> None:
    batch = trial.run(model=model, team=team, user=owner, endpoint="/v1/embeddings")

    assert (batch.name, batch.priority, batch.owner) == ("test of tiny", 100, owner)
    assert batch.status == Batch.Status.VALIDATING
    assert batch.input_file is not None
    with default_storage.open(batch.input_file.storage_name) as content:
        line = json.loads(content.read())
    assert line["url"] == batch.endpoint == "/v1/embeddings"
    assert line["body"] == {"model": "tiny", "input": trial.PROMPT}


def test_a_trial_that_cannot_be_leaves_nothing_behind(
    team: Team, owner: User, model: ServedModel
) -> None:
    with pytest.raises(Refused, match="cannot be tried at"):
        trial.run(model=model, team=team, user=owner, endpoint="/v1/models")
    Team.objects.update(max_queued_requests=0)
    team.refresh_from_db()
    with pytest.raises(Refused):
        trial.run(model=model, team=team, user=owner)
    assert not BatchFile.objects.filter(deleted_at__isnull=True).exists()
    model.state = "disabled"
    with pytest.raises(Refused, match="tiny is disabled"):
        trial.run(model=model, team=team, user=owner)
    assert not Batch.objects.exists()


def test_the_button_leads_to_the_answer(
    client: Client, teammate: User, model: ServedModel
) -> None:
    rows.managed(worker_heartbeat=None)
    client.force_login(teammate)
    path = f"/models/{model.pk}/"
    team = Membership.objects.get(user=teammate).team_id
    assert "Send one short request" in client.get(path).content.decode()

    r = client.post(f"{path}test/", {"team": team, "endpoint": ""})

    batch = Batch.objects.get()
    where = f"{path}?test={batch.public_id}"
    assert r["Location"] == where
    page = client.get(where).content.decode()
    assert "The test runs" in page
    assert "Waiting: no engine with a worker is running." in page
    poll = client.get(where, headers={"hx-request": "true"})
    assert poll.content.decode().strip().startswith('<div id="model-trial" hx-get=')

    Batch.objects.update(total=1)
    rows.answer(batch, [rows.chat("<b>Hello!")])
    now = timezone.now()
    Batch.objects.update(
        status="completed", closing_reason="done", closed_at=now, completed_at=now
    )
    poll = client.get(
        where, headers={"hx-request": "true", "if-none-match": poll["ETag"]}
    )
    page = poll.content.decode()
    assert "It answered" in page
    assert "&lt;b&gt;Hello!" in page
    # It has ended: nothing is asked any more.
    assert "hx-get" not in page


@pytest.mark.parametrize("refused_by", ["engine", "intake"])
def test_a_failure_is_shown_with_its_reason(
    client: Client,
    owner: User,
    model: ServedModel,
    make_batch: MakeBatch,
    refused_by: str,
) -> None:
    if refused_by == "engine":
        batch = rows.running(make_batch, name="test of tiny", total=1)
        rows.answer(batch, [], failed=[rows.CONTEXT_ERROR])
    else:
        message = "The context is too long."
        batch = make_batch(
            name="test of tiny",
            status="failed",
            errors={"data": [{"line": 1, "code": "x", "message": message}]},
        )
    client.force_login(owner)
    page = client.get(f"/models/{model.pk}/?test={batch.public_id}").content.decode()
    assert "The test failed" in page
    assert "The context is too long." in page


def test_other_batches_are_no_tests(
    client: Client,
    owner: User,
    stranger: User,
    model: ServedModel,
    make_batch: MakeBatch,
) -> None:
    batch = make_batch(name="CV parsing")
    client.force_login(owner)
    path = f"/models/{model.pk}/?test="
    assert "The test runs" not in client.get(path + batch.public_id).content.decode()
    Batch.objects.update(name="test of tiny")
    assert "The test runs" in client.get(path + batch.public_id).content.decode()
    client.force_login(stranger)
    assert "The test runs" not in client.get(path + batch.public_id).content.decode()
    assert client.get(f"{path}x").status_code == 200


def test_who_may_not_submit_may_not_try_models_out(
    client: Client, viewer: User, staff: User, team: Team, model: ServedModel
) -> None:
    for user in (viewer, staff):
        client.force_login(user)
        assert (
            "you are in no team" in client.get(f"/models/{model.pk}/").content.decode()
        )
        r = client.post(f"/models/{model.pk}/test/", {"team": team.pk})
        assert r.status_code == 403
    assert not Batch.objects.exists()


def test_who_is_in_several_teams_chooses_and_only_among_them(
    client: Client, owner: User, other_team: Team, model: ServedModel
) -> None:
    ensure_member(team_name="Red", email=owner.email, role="member")
    client.force_login(owner)
    page = client.get(f"/models/{model.pk}/").content.decode()
    assert ">Red</option>" in page
    assert "Green" not in page
    r = client.post(f"/models/{model.pk}/test/", {"team": other_team.pk}, follow=True)
    assert "Choose the team" in r.content.decode()
    assert not Batch.objects.exists()


def test_limits_and_states_are_said_on_the_page(
    client: Client, owner: User, team: Team, model: ServedModel
) -> None:
    ServedModel.objects.update(state="disabled")
    client.force_login(owner)
    path = f"/models/{model.pk}/"
    assert (
        "It is disabled, so no batch may name it." in client.get(path).content.decode()
    )
    r = client.post(f"{path}test/", {"team": team.pk}, follow=True)
    assert "tiny is disabled, so that no batch may name it." in r.content.decode()
