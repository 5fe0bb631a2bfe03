# SPDX-License-Identifier: Apache-2.0
"""Pause, drain and resume of an engine: by page, by command, with a line for each."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django_q.models import OrmQ

from batchsite.accounts.models import AuditEvent, User
from batchsite.web.audit_lines import words
from jobs import engine_side, holding
from jobs.models import Engine
from jobs.refusals import Refused
from tests.conftest import MakeBatch
from tests.jobs.rows import running_batch
from tests.web import rows

pytestmark = pytest.mark.django_db


def lines() -> list[tuple[str, str, str | None]]:
    """The audit log: what, which engine, from where."""
    events = AuditEvent.objects.filter(action__startswith="engine.").order_by("pk")
    return [(e.action, e.target, e.address) for e in events]


def held() -> tuple[bool, bool]:
    engine = Engine.objects.get()
    return engine.paused, engine.drained


@pytest.mark.parametrize(
    ("verb", "after", "words"),
    [
        ("pause", (True, False), "gpu0 is paused: what is in flight ends"),
        ("drain", (True, True), "gpu0 is being drained: when nothing is in flight"),
    ],
)
def test_staff_hold_and_resume_an_engine_once_each(
    client: Client,
    staff: User,
    verb: str,
    after: tuple[bool, bool],
    words: str,
) -> None:
    engine = rows.managed()
    address = f"/engines/{engine.pk}"
    client.force_login(staff)
    assert f'action="{address}/{verb}/"' in client.get("/engines/").content.decode()

    for _ in range(2):
        r = client.post(f"{address}/{verb}/", follow=True)
    assert r.redirect_chain == [("/engines/", 302)]
    page = r.content.decode()
    assert words in page
    assert held() == after
    assert f'action="{address}/resume/"' in page
    assert f'action="{address}/{verb}/"' not in page
    for _ in range(2):
        r = client.post(f"{address}/resume/", follow=True)
    assert "gpu0 takes requests again." in r.content.decode()
    assert held() == (False, False)

    assert lines() == [
        (f"engine.{verb}", "gpu0", "127.0.0.1"),
        ("engine.resume", "gpu0", "127.0.0.1"),
    ]
    assert AuditEvent.objects.filter(actor=staff).count() >= 2


def test_a_paused_engine_can_be_drained_and_a_drained_one_stays_so(
    client: Client, staff: User
) -> None:
    engine = rows.managed()
    client.force_login(staff)
    client.post(f"/engines/{engine.pk}/pause/")
    client.post(f"/engines/{engine.pk}/drain/")
    assert held() == (True, True)
    client.post(f"/engines/{engine.pk}/pause/")
    assert held() == (True, True)
    page = client.get("/engines/").content.decode()
    assert "Drained: it takes no new requests, and no model is loaded" in page


def test_others_see_engines_and_no_buttons(client: Client, owner: User) -> None:
    engine = rows.managed()
    client.force_login(owner)
    assert "/pause/" not in client.get("/engines/").content.decode()
    for verb in ("pause", "drain", "restart", "resume"):
        address = f"/engines/{engine.pk}/{verb}/"
        r = client.post(address)
        assert r.status_code == 403
        assert "Only the administrators of this site" in r.content.decode()
        assert client.get(address).status_code == 405
        assert Client().post(address)["Location"] == f"/login/?next={address}"
    assert held() == (False, False)
    assert lines() == []


def test_an_unknown_engine_is_not_there(client: Client, staff: User) -> None:
    client.force_login(staff)
    assert client.post("/engines/77/pause/").status_code == 404


def test_the_buttons_need_the_csrf_token(staff: User) -> None:
    engine = rows.managed()
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(staff)
    assert strict.post(f"/engines/{engine.pk}/drain/").status_code == 403


def test_a_poll_shows_what_somebody_else_did(client: Client, staff: User) -> None:
    rows.managed()
    client.force_login(staff)
    r = client.get("/engines/", headers={"hx-request": "true"})
    Engine.objects.update(paused=True)
    again = client.get(
        "/engines/", headers={"hx-request": "true", "if-none-match": r["ETag"]}
    )
    assert "/resume/" in again.content.decode()


def test_an_external_engine_is_paused_and_never_drained(
    client: Client, staff: User
) -> None:
    engine = rows.managed(
        kind="external", base_url="http://127.0.0.1:9", loaded_model=None
    )
    client.force_login(staff)
    assert "/drain/" not in client.get("/engines/").content.decode()
    r = client.post(f"/engines/{engine.pk}/drain/", follow=True)
    assert "cannot be unloaded from here. Pause it instead." in r.content.decode()
    assert held() == (False, False)
    with pytest.raises(CommandError, match="Pause it instead"):
        call_command("pauseengine", "gpu0", "--drain")


def command(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue().strip()


def test_commands_do_the_same() -> None:
    rows.managed()
    assert command("pauseengine", "gpu0") == "Engine gpu0 is paused."
    assert command("pauseengine", "gpu0") == "Engine gpu0 is paused already."
    assert command("pauseengine", "gpu0", "--drain") == "Engine gpu0 is being drained."
    assert held() == (True, True)
    assert command("resumeengine", "gpu0") == "Engine gpu0 takes requests again."
    assert command("resumeengine", "gpu0") == "Engine gpu0 is not paused."
    assert held() == (False, False)
    assert [action for action, _, _ in lines()] == [
        "engine.pause",
        "engine.drain",
        "engine.resume",
    ]
    with pytest.raises(CommandError, match="no engine 'gpu7'; there are: gpu0"):
        call_command("pauseengine", "gpu7")
    with pytest.raises(CommandError, match="no engine 'gpu7'"):
        call_command("resumeengine", "gpu7")


def test_a_resumed_engine_is_woken(make_batch: MakeBatch) -> None:
    engine = rows.managed(paused=True)
    running_batch(make_batch)
    assert not engine_side.has_work(engine)
    command("resumeengine", "gpu0")
    assert OrmQ.objects.filter(key=engine.queue).count() == 1
    assert engine_side.has_work(Engine.objects.get())


def test_the_admin_has_them_as_actions_and_no_field(
    client: Client, staff: User
) -> None:
    engines = [rows.managed(), rows.managed("gpu1", paused=True)]
    rows.managed(
        "lab", kind="external", base_url="http://127.0.0.1:9", loaded_model=None
    )
    client.force_login(staff)

    def act(action: str) -> str:
        keys = list(Engine.objects.values_list("pk", flat=True))
        given = {"action": action, "_selected_action": keys, "sure": "yes"}
        return client.post("/admin/jobs/engine/", given, follow=True).content.decode()

    assert "Paused: gpu0, lab." in act("pause")
    page = act("drain")
    assert "Drained: gpu0, gpu1." in page
    assert "Pause it instead." in page
    assert "Resumed: gpu0, gpu1, lab." in act("resume")
    assert "No engine was resumed." in act("resume")
    assert len(lines()) == 2 + 2 + 3

    path = f"/admin/jobs/engine/{engines[0].pk}/change/"
    given = {"name": "gpu0", "kind": "managed", "paused": "on", "drained": "on"}
    given |= {"serves-TOTAL_FORMS": "0", "serves-INITIAL_FORMS": "0"}
    assert client.post(path, given).status_code == 302
    assert Engine.objects.filter(paused=True).count() == 0


def test_a_reason_is_kept_on_the_card_in_the_history_and_in_the_audit_log(
    client: Client, staff: User, owner: User
) -> None:
    engine = rows.managed()
    client.force_login(staff)
    client.post(f"/engines/{engine.pk}/pause/", {"reason": " <b>firmware\n\0update "})
    client.force_login(owner)

    page = client.get("/engines/?history=gpu0").content.decode()

    card = " ".join(page.split())
    assert f'"hostile">paused by {staff.email}</span> <time' in card
    assert ': <span class="hostile">&lt;b&gt;firmware update</span>' in card
    event = engine.events.get()
    assert (event.kind, event.by) == ("ask_pause", staff.email)
    assert f"paused by {staff.email}</span>" in page
    audited = AuditEvent.objects.get(action="engine.pause")
    assert audited.data == {"reason": "<b>firmware update"}
    assert words(audited) == "paused the engine gpu0: <b>firmware update"
    # What is over is not said any more.
    client.force_login(staff)
    client.post(f"/engines/{engine.pk}/resume/", {"reason": "x" * 900})
    assert "paused by" not in client.get("/engines/").content.decode()
    assert len(Engine.objects.get().asked["reason"]) == holding.REASON_LENGTH


def test_staff_restart_an_engine_once_for_each_start(
    client: Client, staff: User
) -> None:
    engine = rows.managed(generation=3)
    client.force_login(staff)
    for _ in range(2):
        r = client.post(
            f"/engines/{engine.pk}/restart/", {"reason": "it hangs"}, follow=True
        )
        assert "gpu0 is being restarted" in r.content.decode()
    assert f"restart asked for by {staff.email}" in r.content.decode()
    assert lines() == [("engine.restart", "gpu0", "127.0.0.1")]
    assert Engine.objects.get().restart_of == 3
    # The next start is another one.
    Engine.objects.update(generation=4)
    assert "restart asked for" not in client.get("/engines/").content.decode()
    client.post(f"/engines/{engine.pk}/restart/")
    assert Engine.objects.get().restart_of == 4


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        (
            {"kind": "external", "base_url": "http://127.0.0.1:9"},
            "ext is a server elsewhere, which only whoever runs it can restart",
        ),
        ({"host_heartbeat": None}, "manage.py runengine --name ext"),
        ({"state": "stopped"}, "ext is stopped: there is nothing to restart"),
        ({"state": "failed", "paused": True}, "ext was given up. Resume it"),
        ({"state": "stopped", "paused": True, "drained": True}, "ext is drained."),
    ],
)
def test_a_restart_that_cannot_be_is_refused_in_words(
    columns: dict[str, Any], why: str
) -> None:
    engine = rows.managed("ext", **columns)
    with pytest.raises(Refused, match=re.escape(why)):
        holding.restart(engine=engine, user=None)
    with pytest.raises(CommandError, match=re.escape(why)):
        call_command("restartengine", "ext")
    assert lines() == []
    assert not engine.events.exists()


def test_restart_by_command() -> None:
    rows.managed(generation=1)
    out = StringIO()
    call_command("restartengine", "gpu0", "--reason", "new driver", stdout=out)
    call_command("restartengine", "gpu0", stdout=out)
    assert out.getvalue().splitlines() == [
        "Engine gpu0 is being restarted.",
        "Engine gpu0 is being restarted already.",
    ]
    assert Engine.objects.get().asked["reason"] == "new driver"
