# SPDX-License-Identifier: Apache-2.0
"""Fetch an object for a signed-in person, or answer 404.

What a person may not see does not exist for them: a stranger cannot tell a foreign
batch from one that never was. With a `right` of permissions.RIGHTS, who sees the object
but lacks the right gets 403.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404

from batchsite.accounts import permissions
from batchsite.accounts.models import Team, User

from .models import Batch, BatchFile, Engine, ServedModel

Row = TypeVar("Row")


def person(request: HttpRequest) -> User:
    """The signed-in user; PermissionDenied for anybody else."""
    if not isinstance(request.user, User):
        raise PermissionDenied("Sign in first.")
    return request.user


def get_batch(request: HttpRequest, code: str, *, right: str = "batches:read") -> Batch:
    """The batch with that public id, with its people and files; else Http404."""
    user = person(request)
    visible = Batch.objects.visible_to(user).for_list()
    batch = get_object_or_404(visible, public_id=code)
    if right != "batches:read":
        # Whoever sees it may read it.
        permissions.require(user, batch.team, right)
    return batch


def get_deleted_batch(
    request: HttpRequest, code: str, *, right: str = "batches:read"
) -> Batch:
    """The deleted batch with that public id that can still be restored; else Http404."""
    user = person(request)
    deleted = Batch.objects.deleted_for(user)
    found = deleted.select_related("team", "owner", "deleted_by", "input_file")
    batch = get_object_or_404(found, public_id=code)
    if right != "batches:read":
        permissions.require(user, batch.team, right)
    return batch


def get_file(
    request: HttpRequest, code: str, *, right: str = "files:read"
) -> BatchFile:
    """The file with that public id whose bytes still exist; else Http404."""
    user = person(request)
    file = get_object_or_404(BatchFile.objects.visible_to(user), public_id=code)
    if right != "files:read":
        permissions.require(user, file.team, right)
    return file


def get_engine(request: HttpRequest, key: int) -> Engine:
    """The engine, for somebody who runs the site; 403 for others, who only see it."""
    permissions.require_site(person(request))
    return get_object_or_404(Engine, pk=key)


def get_model(request: HttpRequest, key: int, *, change: bool = False) -> ServedModel:
    """The model, which everybody sees; to `change` it is for who runs the site, else 403."""
    user = person(request)
    if change:
        permissions.require_site(user)
    return get_object_or_404(ServedModel.objects.select_related("base"), pk=key)


def found_or_404(row: Row | None) -> Row:
    """The row, or 404 for None."""
    if row is None:
        raise Http404("Nothing is named so.")
    return row


def team_of(request: HttpRequest, teams: Sequence[Team], right: str) -> Team:
    """The team that `team` names, in the form or else in the address.

    Of those where the person has the right; nothing named is the first of them, and
    PermissionDenied where there is none.
    """
    if not teams:
        raise PermissionDenied(permissions.refusal(right))
    wanted = request.POST.get("team", "") or request.GET.get("team", "")
    if not wanted:
        return teams[0]
    found = next((team for team in teams if str(team.pk) == wanted), None)
    if found is None:
        raise Http404("You may not do this in such a team.")
    return found
