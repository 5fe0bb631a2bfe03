# SPDX-License-Identifier: Apache-2.0
"""Every URL of the site, the table of who gets what there, and how to ask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from batchsite.accounts.models import Membership, Team, User
from batchsite.accounts.people import create_api_key, ensure_member, set_password_path
from benchmarks import suites
from benchmarks.models import Run
from benchmarks.sources import of_ready
from curation import datasets, feeding, queues, rubrics
from curation.models import JudgeRun
from curation.questions import read
from jobs import removal
from jobs.ids import new_upload_id
from jobs.models import Batch, Engine, SavedView, ServedModel, Upload
from tests.conftest import MakeBatch, MakeFile
from tests.inputs import api_client
from tests.jobs.webhook_rows import make_delivery, make_endpoint
from tests.web import rows

TABLE = Path(__file__).with_name("table.md")
ROLES = ("nobody", "stranger", "viewer", "member", "curator", "owner", "staff")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Django's own, told in one rule; and files, which are no views.
ADMIN = "/admin/"
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass(frozen=True)
class Row:
    """A line of the table: what each role gets at a path with a method."""

    path: str
    method: str
    scope: str
    answers: tuple[str, ...]

    def answer(self, role: str) -> str:
        """What that role gets."""
        return self.answers[ROLES.index(role)]

    @property
    def is_api(self) -> bool:
        """Whether keys open it, not sessions."""
        return self.path.startswith("/v1/")

    def __str__(self) -> str:
        cells = (f"`{self.path}`", self.method, self.scope, *self.answers)
        return f"| {' | '.join(cells)} |"


def table() -> list[Row]:
    """The rows of table.md."""
    rows = []
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(ROLES) + 3 and cells[0].startswith("`/"):
            path, method, scope, *answers = cells
            rows.append(Row(path.strip("`"), method, scope, tuple(answers)))
    return rows


def paths() -> list[str]:
    """Every path of the site but the admin's, as `/batches/{code}/`."""
    found = {path for path in _walk(get_resolver(), "/") if not path.startswith(ADMIN)}
    return sorted(found)


def area_of(path: str) -> str:
    """The beginning of a path that tells what it is about."""
    words = {"v1": 3, "teams": 4, "admin": 3}
    return "/".join(path.split("/")[: words.get(path.split("/")[1], 2)])


def admin_paths() -> list[str]:
    """Every path of the admin."""
    return sorted(path for path in _walk(get_resolver(), "/") if path.startswith(ADMIN))


def _walk(resolver: URLResolver, prefix: str) -> Iterator[str]:
    for entry in resolver.url_patterns:
        route = str(entry.pattern)
        # What is left to answer with 404 under /v1/ and in the admin.
        route = {"^.+$": "{unknown}", r"(?P<url>.*)$": "{unknown}"}.get(route, route)
        path = prefix + PARAMETER.sub(r"{\1}", route)
        if isinstance(entry, URLResolver):
            yield from _walk(entry, path)
        elif isinstance(entry, URLPattern):
            yield path


@dataclass(frozen=True)
class World:
    """Team Blue with a row of everything, and somebody of each role."""

    team: Team
    people: dict[str, User | None]
    sessions: dict[str, str]
    keys: dict[str, APIClient]
    values: dict[str, str]

    def address(self, path: str) -> str:
        """The path of Blue's own row of that kind."""

        def value(match: re.Match[str]) -> str:
            before = path[: match.start()]
            kind = before.rstrip("/").rpartition("/")[2]
            name = match[1]
            if kind == "batches" and path.endswith(
                ("/restore/", "/remove/", "/restore")
            ):
                return self.values["deleted"]
            return self.values.get(f"{kind}/{name}") or self.values[name]

        return re.sub(r"\{(\w+)\}", value, path)

    def ask(self, path: str, method: str, role: str) -> str:
        """What the role gets; nothing of it stays in the database."""
        with transaction.atomic():
            r = self._send(path, method, role)
            transaction.set_rollback(True)
        return told(r)

    def _send(self, path: str, method: str, role: str) -> Any:
        address = self.address(path)
        client: Client = Client(raise_request_exception=False)
        if path.startswith("/v1/"):
            client = self.keys[role]
        elif role in self.sessions:
            client.cookies["sessionid"] = self.sessions[role]
        r = client.generic(method, address)
        if getattr(r, "streaming", False):
            # Read to the end, so that it is closed.
            b"".join(r)
        return r


def told(r: Any) -> str:
    """An answer as the table writes it: the status, or `login` for the way there."""
    where = r.headers.get("Location", "")
    if r.status_code == 302 and where.split("?")[0] in ("/login/", "/admin/login/"):
        return "login"
    return str(r.status_code)


def a_world(
    *, owner: User, stranger: User, staff: User, file: MakeFile, batch: MakeBatch
) -> World:
    """One row of everything in Blue, the team of `owner`."""
    team = Membership.objects.get(user=owner).team
    people: dict[str, User | None] = {"nobody": None, "stranger": stranger}
    for role in ("viewer", "member", "curator"):
        email = f"a-{role}@example.com"
        people[role] = ensure_member(team_name=team.name, email=email, role=role).user
    people |= {"owner": owner, "staff": staff}
    keys = {"nobody": APIClient(raise_request_exception=False)}
    for role, user in people.items():
        if user is not None:
            keys[role] = api_client(user, home(user) if role == "stranger" else team)
    sessions = {role: session(user) for role, user in people.items() if user}
    return World(team, people, sessions, keys, _values(team, owner, file, batch))


def session(user: User) -> str:
    """The cookie of somebody who signed in."""
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


def home(user: User) -> Team:
    """The one team of somebody."""
    return Membership.objects.get(user=user).team


def _curated(batch: Batch, owner: User) -> dict[str, str]:
    """A queue of the batch's answers with what belongs to it, a dataset, and a suite."""
    asked = [{"key": "good", "type": "boolean", "title": "Is it good?"}]
    rubric = rubrics.create_rubric(
        team=batch.team, name="Good", questions=read("q", asked), user=owner
    )
    queue = queues.create_queue(
        team=batch.team,
        name="Good ones",
        kind="single",
        rubric_version=rubric.latest,
        user=owner,
    )
    queues.add_items(queue=queue, subjects=queues.answers_of(batch), user=owner)
    rule = feeding.add_rule(queue=queue, user=owner)
    dataset = datasets.create_dataset(team=batch.team, name="Good ones", user=owner)
    item = queue.items.get().public_id
    run = JudgeRun.objects.create(queue=queue, batch=batch, model="tiny", items=1)
    source = of_ready("arithmetic")
    suite = suites.create_suite(team=batch.team, name="Sums", source=source, user=owner)
    measured = Run.objects.create(
        team=batch.team,
        version=suite.latest,
        name="Sums",
        matrix_text='{"models": ["tiny"], "variants": [{"name": "a"}], "repeats": 1}',
    )
    measured.cells.create(position=0, model="tiny", variant="a")
    return {
        "suite_id": suite.public_id,
        "suites/code": suite.public_id,
        "runs/code": measured.public_id,
        "reviews/code": queue.public_id,
        "queue_id": queue.public_id,
        "rule_id": f"rule_{rule.pk}",
        "judge_run_id": f"judgerun_{run.pk}",
        "run_id": measured.public_id,
        "items/item": item,
        "item_id": item,
        "rubrics/code": rubric.public_id,
        "rubric_id": rubric.public_id,
        "rules/key": str(rule.pk),
        "datasets/code": dataset.public_id,
        "dataset_id": dataset.public_id,
    }


def _values(
    team: Team, owner: User, file: MakeFile, batch: MakeBatch
) -> dict[str, str]:
    """What stands for each parameter of a path, by its name or the word before it."""
    stored = file(b'{"a": 1}\n')
    made = batch(
        status="in_progress", total=2, error_report=stored.storage_name, model="tiny"
    )
    rows.answer(made, [rows.chat("yes")])
    deleted = removal.delete_batch(batch=batch(status="completed"), user=owner)
    model = ServedModel.objects.create(name="tiny", source="tiny")
    engine = Engine.objects.create(name="gpu0", kind=Engine.Kind.MANAGED)
    view = SavedView.objects.create(user=owner, name="mine", query="owner=me")
    upload = Upload.objects.create(
        public_id=new_upload_id(),
        team=team,
        filename="a.jsonl",
        purpose="batch",
        mime_type="text/jsonl",
        bytes=9,
        expires_at=made.expires_at,
    )
    endpoint = make_endpoint(team)
    delivery = make_delivery(endpoint, due=False)
    guest = ensure_member(team_name=team.name, email="guest@example.com", role="viewer")
    token = create_api_key(team=team, user=owner, name="walk")
    _, _, uid, secret, _ = set_password_path(guest.user).split("/")
    return _curated(made, owner) | {
        "batches/code": made.public_id,
        "batch_id": made.public_id,
        "deleted": deleted.public_id,
        "index": "0",
        "files/code": stored.public_id,
        "file_id": stored.public_id,
        "tables/code": file(b"a\n1\n", filename="a.csv").public_id,
        "upload_id": upload.public_id,
        "uploads/code": upload.public_id,
        "team": str(team.pk),
        "member": str(guest.pk),
        "start": token[:15],
        "webhooks/code": endpoint.public_id,
        "deliveries/code": delivery.public_id,
        "engines/key": str(engine.pk),
        "views/key": str(view.pk),
        "models/key": str(model.pk),
        "models/name": "tiny",
        "uidb64": uid,
        "token": secret,
        "unknown": "no-such-path",
    }
