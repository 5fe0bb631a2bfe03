# SPDX-License-Identifier: Apache-2.0
"""Every URL of the site and the API, with every method, for every role.

What each gets is in table.md. A new URL, or a new method of one, without a row there
fails; the message has the row as it is now, to be judged before it is copied.
"""

from __future__ import annotations

import pytest
from django.test import Client

from batchsite.accounts import permissions
from batchsite.accounts.models import User
from tests.access.walk import (
    METHODS,
    ROLES,
    Row,
    World,
    a_world,
    admin_paths,
    area_of,
    paths,
    table,
    told,
)
from tests.conftest import MakeBatch, MakeFile
from tests.inputs import api_client

ROWS = table()
PATHS = paths()
ADMIN = admin_paths()
ADMIN_AREAS = sorted({area_of(path) for path in ADMIN})
AREAS = sorted({area_of(path) for path in PATHS})


@pytest.fixture
def world(
    owner: User,
    stranger: User,
    staff: User,
    make_file: MakeFile,
    make_batch: MakeBatch,
) -> World:
    return a_world(
        owner=owner, stranger=stranger, staff=staff, file=make_file, batch=make_batch
    )


def paths_of(area: str) -> list[str]:
    """Paths whose first word (or second, under /v1/) is the area's."""
    return [path for path in PATHS if area_of(path) == area]


def wrong_rows(world: World, path: str) -> list[str]:
    """What differs between the table and the truth."""
    known = {row.method: row for row in ROWS if row.path == path}
    wrong = []
    for method in METHODS:
        row = known.get(method)
        if row is None and world.ask(path, method, "staff") == "405":
            continue
        answers = tuple(world.ask(path, method, role) for role in ROLES)
        found = Row(path, method, row.scope if row else "?", answers)
        if found != row:
            wrong.append(f"in the table: {row}\nin truth:     {found}")
    return wrong


@pytest.mark.parametrize("area", AREAS)
def test_everybody_gets_what_the_table_says(world: World, area: str) -> None:
    wrong = [line for path in paths_of(area) for line in wrong_rows(world, path)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("scope", permissions.SCOPES)
def test_a_key_opens_what_its_scopes_name(world: World, scope: str) -> None:
    owner = world.people["owner"]
    assert owner is not None
    world.keys["owner"] = api_client(owner, world.team, scopes=[scope])
    for row in ROWS:
        if not row.is_api:
            continue
        area, _, what = row.scope.partition(":")
        enough = area not in permissions.AREAS or scope in (
            f"{area}:{what}",
            f"{area}:write",
        )
        expected = row.answer("owner") if enough else "403"
        assert world.ask(row.path, row.method, "owner") == expected, str(row)


def test_the_table_has_no_row_too_many() -> None:
    assert {row.path for row in ROWS} <= set(PATHS)
    assert len({(row.path, row.method) for row in ROWS}) == len(ROWS)
    assert len(ROWS) > 50
    assert len(ADMIN) > 60


# Pages that only concern who asks: a viewer, too, makes keys that can do no more.
OWN = (
    "/account/",
    "/favicon.ico",
    "/login/",
    "/logout/",
    "/set-password/",
    "/teams/{team}/keys/new/",
    "/theme/",
)
PUBLIC = ("/favicon.ico", "/login/", "/theme/", "/set-password/{uidb64}/{token}/")
# What belongs to the site and to no team: everybody sees it, staff change it.
OF_SITE = (
    "/engines/{key}/",
    "/models/new/",
    "/usage/",
    *(
        f"/models/{{key}}/{verb}/"
        for verb in ("change", "disable", "enable", "remove", "retry")
    ),
)
SEEN_BY_ALL = ("/models/{key}/", "/set-password/", "/v1/models/")
# A person with one team is led to it; staff see them all. A saved view is one
# person's, the page of parts for who builds the site, a test run a batch of the
# person's own team, which staff need not have.
DIFFER = (
    "/teams/",
    "/batches/views/{key}/delete/",
    "/design/",
    "/models/{key}/test/",
)


def test_the_table_itself_keeps_the_rules() -> None:
    for row in ROWS:
        check_rules(row)


def check_rules(row: Row) -> None:
    """What must hold for any row, whatever the truth is."""
    # The API is not open to anybody without a key, but for its description.
    if row.is_api and row.scope != "-":
        assert row.answer("nobody") == "401"
        assert row.scope in (*permissions.SCOPES, "models:read")
    if not row.is_api and row.path not in PUBLIC:
        assert row.answer("nobody") in ("login", "302", "405")
    if row.path.startswith(OF_SITE):
        assert row.answers[:-1] == ("login", *["403"] * (len(ROLES) - 2))
        assert row.answer("staff") in ("200", "302")
        return
    # What is another team's does not exist.
    if "{" in row.path and not row.path.startswith(SEEN_BY_ALL):
        assert row.answer("stranger") == "404"
    # Nothing breaks, and nobody may less than those below.
    assert not any(answer.startswith("5") for answer in row.answers)
    ranked = [row.answer(role) for role in ("viewer", "member", "curator", "owner")]
    assert ranked == sorted(ranked, key=lambda answer: answer != "403")
    assert row.path in DIFFER or row.answer("staff") == row.answer("owner")
    # A viewer changes nothing.
    if row.method != "GET" and not row.path.startswith(OWN) and row.scope != "-":
        assert row.answer("viewer") in ("403", "404")


@pytest.mark.parametrize("area", ADMIN_AREAS)
def test_the_admin_is_for_staff(world: World, area: str) -> None:
    values = {"object_id": "1", "app_label": "jobs", "id": "1", "content_type_id": "1"}
    for path in ADMIN:
        if area_of(path) != area or path in ("/admin/login/", "/admin/logout/"):
            continue
        address = path
        for name, value in {**values, "unknown": "x/"}.items():
            address = address.replace(f"{{{name}}}", value)
        assert "{" not in address
        # The highest role that is no staff stands for those below.
        for role in ("nobody", "owner", "staff"):
            asked = Client(raise_request_exception=False)
            if role in world.sessions:
                asked.cookies["sessionid"] = world.sessions[role]
            answer = told(asked.get(address))
            if role == "staff":
                assert answer != "login", address
                assert not answer.startswith("5"), address
            else:
                assert answer == "login", (address, role)
