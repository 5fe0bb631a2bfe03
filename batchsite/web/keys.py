# SPDX-License-Identifier: Apache-2.0
"""API keys of a team: everybody's own, and for owners all of them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from batchsite.accounts import people
from batchsite.accounts.addresses import client_address
from batchsite.accounts.models import ApiKey, Team, User
from batchsite.accounts.permissions import role_in, user_may
from jobs.access import person
from jobs.ids import may_be_id
from jobs.web.conditional import page

from .forms import KeyForm
from .team import get_team

KEYS = 50


@require_safe
@login_required
def key_list(request: HttpRequest, team: int) -> HttpResponse:
    """The keys that work, or with `?all` those that ended too."""
    found = get_team(request, team)
    user = person(request)
    shown = _keys(found, user).with_role()
    everything = "all" in request.GET
    if not everything:
        shown = shown.usable()
    ctx = {
        "team": found,
        "rows": Paginator(shown, KEYS).get_page(request.GET.get("page")),
        "all": everything,
        "ended": _keys(found, user).exists(),
        "manages": user_may(user, found, "keys:manage"),
    }
    return page(request, "site/team_keys.html", ctx)


def _keys(team: Team, user: User) -> Any:
    """The keys of the team that this person may see."""
    keys = ApiKey.objects.of_team(team)
    return keys if user_may(user, team, "keys:manage") else keys.of_person(user)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def key_new(request: HttpRequest, team: int) -> HttpResponse:
    """Make a key; the answer shows its token, which nothing shows again.

    The same form sent twice, as by a reload of that answer, is refused by its name.
    """
    found = get_team(request, team)
    form = KeyForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        token = _make(request, found, form)
        if token:
            ctx = {
                "team": found,
                "token": token,
                "name": form.cleaned_data["name"],
                "base_url": request.build_absolute_uri("/v1"),
            }
            return render(request, "site/team_key_made.html", ctx)
    ctx = {"team": found, "form": form, "role": role_in(person(request), found)}
    return render(request, "site/team_key_new.html", ctx)


def _make(request: HttpRequest, team: Team, form: KeyForm) -> str:
    """The new key's token; "" when the form is refused, with the reason beside a field."""
    user = person(request)
    name = form.cleaned_data["name"]
    with transaction.atomic():
        # A second click waits here for the first, and then meets its key.
        User.objects.select_for_update().get(pk=user.pk)
        mine = ApiKey.objects.usable().of_team(team).of_person(user)
        if mine.filter(name=name).exists():
            form.add_error("name", "You have a working key of this name already.")
            return ""
        try:
            return people.create_api_key(
                team=team,
                user=user,
                name=name,
                scopes=form.scopes,
                expiry=form.expiry,
                by=user,
                address=client_address(request),
            )
        except people.CannotChange as refused:
            form.add_error("name", str(refused))
            return ""


@require_POST
@login_required
def key_revoke(request: HttpRequest, team: int, start: str) -> HttpResponse:
    """Shut out the key whose token starts so; a second time changes nothing."""
    found = get_team(request, team)
    user = person(request)
    # A NUL is no text for PostgreSQL.
    key = (
        _keys(found, user).filter(token_key=start).first() if may_be_id(start) else None
    )
    if key is None:
        raise Http404("There is no such key.")
    if people.revoke_api_key(key=key, by=user, address=client_address(request)):
        messages.success(request, f"The key “{key.name}” is revoked.")
    else:
        messages.info(request, f"The key “{key.name}” was revoked already.")
    return redirect("team-keys", team=found.pk)
