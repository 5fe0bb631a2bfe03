# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest
from django.apps import apps
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import get_resolver, reverse

from batchsite.accounts.models import ApiKey, AuditEvent, Team, User
from batchsite.accounts.people import create_api_key
from jobs.models import Batch, BatchEvent, Engine, ServedModel
from tests.conftest import MakeBatch
from tests.web import rows

OURS = [
    model
    for label in ("accounts", "jobs")
    for model in apps.get_app_config(label).get_models()
]
WRITTEN_BY_THE_SERVICE = {
    "batchevent",
    "result",
    "auditevent",
    "batchrequest",
}


@pytest.fixture
def everything(make_batch: MakeBatch, team: Team, owner: User) -> Batch:
    """A row in most tables."""
    batch = rows.running(make_batch)
    rows.answer(batch, [rows.chat("yes")], failed=[rows.CONTEXT_ERROR])
    engine = rows.managed()
    rows.sampled(batch, engine, minutes=1)
    rows.control_worker()
    create_api_key(team=team, user=owner, name="nightly")
    BatchEvent.objects.create(batch=batch, kind="note", message="hello")
    return batch


@pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.label_lower)
def test_every_table_opens_in_the_admin(
    client: Client, staff: User, everything: Batch, model: type[Model]
) -> None:
    client.force_login(staff)
    assert client.get("/admin/").status_code == 200
    assert admin.site.is_registered(model)
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"

    listed = client.get(reverse(f"{name}_changelist"), {"q": "x"})
    assert listed.status_code == 200
    assert client.get(reverse(f"{name}_changelist")).status_code == 200

    row = model._default_manager.first()
    if row is not None:
        changed = client.get(reverse(f"{name}_change", args=[row.pk]))
        assert changed.status_code == 200

    added = client.get(reverse(f"{name}_add"))
    assert added.status_code in (200, 403)
    # History cannot be invented.
    if model._meta.model_name in WRITTEN_BY_THE_SERVICE:
        assert added.status_code == 403


def test_history_cannot_be_changed_or_deleted(
    client: Client, staff: User, everything: Batch
) -> None:
    client.force_login(staff)
    event = BatchEvent.objects.get(kind="note")

    changed = client.post(
        f"/admin/jobs/batchevent/{event.pk}/change/", {"message": "x"}
    )
    deleted = client.post(f"/admin/jobs/batchevent/{event.pk}/delete/", {"post": "yes"})

    assert (changed.status_code, deleted.status_code) == (403, 403)
    event.refresh_from_db()
    assert event.message == "hello"


def test_cancel_action_goes_through_the_lifecycle(
    client: Client, staff: User, make_batch: MakeBatch
) -> None:
    active = rows.running(make_batch)
    done = make_batch(status=Batch.Status.COMPLETED)
    client.force_login(staff)

    r = client.post(
        "/admin/jobs/batch/",
        {
            "action": "cancel",
            "_selected_action": [active.pk, done.pk],
            "sure": "yes",
        },
        follow=True,
    )

    active.refresh_from_db()
    done.refresh_from_db()
    assert (active.status, done.status) == ("cancelling", "completed")
    assert "1 batch was asked to end." in r.content.decode()
    assert "Cannot cancel a batch with status" in r.content.decode()
    words = "asked for by staff@example.com"
    assert BatchEvent.objects.get(batch=active).message == words
    noted = AuditEvent.objects.get(action="batch.cancel")
    assert (noted.target, noted.address) == (active.public_id, "127.0.0.1")


def test_batches_are_paused_and_resumed_as_actions(
    client: Client, staff: User, make_batch: MakeBatch
) -> None:
    batches = [rows.running(make_batch), rows.running(make_batch, paused=True)]
    done = make_batch(status=Batch.Status.COMPLETED)
    client.force_login(staff)

    def act(action: str) -> str:
        keys = [batch.pk for batch in (*batches, done)]
        given = {"action": action, "_selected_action": keys}
        return client.post("/admin/jobs/batch/", given, follow=True).content.decode()

    page = act("pause")
    assert "1 batch was paused." in page
    assert f"{done.public_id}: Cannot change the pause of a batch" in page.replace(
        "Batch_", "batch_"
    )
    assert "2 batches were resumed." in act("resume")
    kinds = BatchEvent.objects.order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == ["paused", "resumed", "resumed"]
    assert AuditEvent.objects.filter(action="batch.update", actor=staff).count() == 3


def test_a_batch_is_changed_as_in_the_api(
    client: Client, staff: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(make_batch)
    path = f"/admin/jobs/batch/{batch.pk}/change/"
    client.force_login(staff)

    given = {"name": "N", "tags": '["a"]', "priority": "7", "paused": "on"}
    inside = given | {"webhook_url": "http://127.0.0.1/"}
    assert client.post(path, inside).status_code == 302
    kinds = BatchEvent.objects.filter(batch=batch).values_list("kind", flat=True)
    assert sorted(kinds) == ["changed", "changed", "paused", "priority"]
    noted = AuditEvent.objects.get(action="batch.update")
    assert (noted.actor, noted.address) == (staff, "127.0.0.1")
    for name, value in (("tags", '{"a": 1}'), ("tags", "[1]"), ("priority", "101")):
        page = client.post(path, given | {name: value})
        assert page.status_code == 200
        assert "batchsite." not in page.content.decode()
    batch.refresh_from_db()
    assert (batch.tags, batch.priority, batch.webhook_url) == (["a"], 7, "")

    done = make_batch(status=Batch.Status.COMPLETED)
    late = client.post(
        f"/admin/jobs/batch/{done.pk}/change/",
        {"name": "", "tags": "[]", "priority": "5"},
        follow=True,
    )
    assert "Cannot change the priority of a batch" in late.content.decode()


def test_the_page_of_a_batch_shows_all_of_it_once() -> None:
    assert get_resolver().url_patterns
    page = admin.site._registry[Batch]
    shown = [name for _, part in page.fieldsets or () for name in part["fields"]]
    fields = [field.name for field in Batch._meta.fields if field.name != "id"]
    assert sorted(map(str, shown)) == sorted(fields)


def test_a_batch_changes_only_where_people_decide(
    client: Client, staff: User, make_batch: MakeBatch
) -> None:
    batch = rows.running(make_batch)
    client.force_login(staff)

    r = client.post(
        f"/admin/jobs/batch/{batch.pk}/change/",
        {"name": "Renamed", "tags": "[]", "priority": "3", "status": "completed"},
    )

    batch.refresh_from_db()
    assert r.status_code == 302
    assert (batch.name, batch.priority, batch.status) == ("Renamed", 3, "in_progress")


def test_models_are_pinned_and_adapters_are_not(client: Client, staff: User) -> None:
    engine = rows.managed()
    base = ServedModel.objects.get(name="tiny")
    external = rows.managed("lab", kind="external", base_url="http://lab:8000")
    client.force_login(staff)
    page = f"/admin/jobs/servedmodel/{base.pk}/change/"
    form = {
        "name": "tiny",
        "source": "/m",
        "engine_args": "[]",
        "state": "enabled",
        "load_failures": "0",
    }

    assert client.post(page, {**form, "engines": [engine.pk]}).status_code == 302
    assert list(base.engines.all()) == [engine]
    assert client.post(page, {**form, "engines": [external.pk]}).status_code == 200

    add = "/admin/jobs/servedmodel/add/"
    tuned = {**form, "name": "tuned", "base": base.pk}
    refused = client.post(add, {**tuned, "engines": [engine.pk]})
    assert "pin tiny instead" in refused.content.decode()
    refused = client.post(add, {**tuned, "revision": "v2"})
    assert "no revision of its own" in refused.content.decode()
    assert client.post(add, tuned).status_code == 302
    assert ServedModel.objects.get(name="tuned").base == base


def test_an_external_engine_can_be_added(client: Client, staff: User) -> None:
    client.force_login(staff)

    r = client.post(
        "/admin/jobs/engine/add/",
        {
            "name": "lab",
            "kind": "external",
            "base_url": "http://127.0.0.1:9/v1",
            "serves-TOTAL_FORMS": "0",
            "serves-INITIAL_FORMS": "0",
        },
    )

    assert r.status_code == 302
    assert Engine.objects.get().base_url == "http://127.0.0.1:9/v1"


def test_revoke_action_shuts_a_key_out_once(
    client: Client, staff: User, team: Team, owner: User
) -> None:
    create_api_key(team=team, user=owner, name="nightly")
    key = ApiKey.objects.get()
    client.force_login(staff)
    action = {"action": "revoke", "_selected_action": [key.pk], "sure": "yes"}

    first = client.post("/admin/accounts/apikey/", action, follow=True)
    second = client.post("/admin/accounts/apikey/", action, follow=True)

    assert "1 key was revoked." in first.content.decode()
    assert "0 keys were revoked." in second.content.decode()
    assert not ApiKey.objects.usable().exists()
    assert AuditEvent.objects.filter(action="key.revoke").count() == 1


def new_key(team: Team, user: User, **over: object) -> dict[str, object]:
    fields = {"team": team.pk, "user": user.pk, "name": "nightly", "days": "30"}
    return fields | over


def test_a_key_is_made_in_the_admin_and_its_token_shown_once(
    client: Client, staff: User, team: Team, teammate: User
) -> None:
    client.force_login(staff)
    fields = new_key(team, teammate, scopes=["files:read", "batches:write"])

    r = client.post("/admin/accounts/apikey/add/", fields, follow=True)
    later = client.get("/admin/accounts/apikey/").content.decode()

    token = re.findall(r"sk-bs-[0-9a-f]{64}", r.content.decode())[0]
    assert token not in later
    key = ApiKey.objects.get()
    assert (key.user, key.scopes) == (teammate, ["batches:write", "files:read"])
    assert key.expiry is not None
    api = Client(headers={"authorization": f"Bearer {token}"})
    assert api.get("/v1/batches").status_code == 200
    assert AuditEvent.objects.get(action="key.create").actor == staff


def test_a_key_in_the_admin_is_for_somebody_in_the_team(
    client: Client, staff: User, team: Team, stranger: User
) -> None:
    client.force_login(staff)

    r = client.post("/admin/accounts/apikey/add/", new_key(team, stranger))

    assert "This person is not in that team." in r.content.decode()
    assert not ApiKey.objects.exists()


def test_keys_do_not_change_in_the_admin(
    client: Client, staff: User, team: Team, owner: User
) -> None:
    create_api_key(team=team, user=owner, name="nightly")
    key = ApiKey.objects.get()
    client.force_login(staff)
    address = f"/admin/accounts/apikey/{key.pk}"

    assert client.post(f"{address}/change/", {"name": "x"}).status_code == 403
    assert client.post(f"{address}/delete/", {"post": "yes"}).status_code == 403
    assert "nightly" in client.get(f"{address}/change/").content.decode()


def test_limits_of_a_team_are_set_in_the_admin(
    client: Client, staff: User, team: Team
) -> None:
    client.force_login(staff)
    address = f"/admin/accounts/team/{team.pk}/change/"
    fields = {
        "name": "Blue",
        "weight": "2",
        "max_queued_requests": "500",
        "batch_seconds": "3600",
        "memberships-TOTAL_FORMS": "0",
        "memberships-INITIAL_FORMS": "0",
    }

    asked = client.get(address).content.decode()
    saved = client.post(address, fields)
    refused = client.post(address, fields | {"batch_seconds": "60"})

    assert "Limits of the queue" in asked
    assert "Largest batch file in bytes; empty:" in asked
    assert saved.status_code == 302
    team.refresh_from_db()
    assert (team.max_queued_requests, team.max_file_bytes) == (500, None)
    assert "team_batch_seconds_in_range" in refused.content.decode()


def test_a_person_is_added_by_e_mail_address(client: Client, staff: User) -> None:
    client.force_login(staff)

    r = client.post(
        "/admin/accounts/user/add/",
        {
            "email": "new@example.com",
            "usable_password": "true",
            "password1": "a long enough secret",
            "password2": "a long enough secret",
            "memberships-TOTAL_FORMS": "0",
            "memberships-INITIAL_FORMS": "0",
        },
    )

    assert r.status_code == 302
    assert User.objects.get(email="new@example.com").check_password(
        "a long enough secret"
    )
