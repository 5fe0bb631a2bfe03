# SPDX-License-Identifier: Apache-2.0
"""Fetch an object for a signed-in person, or answer 404.

What a person may not see does not exist for them: a stranger cannot tell a foreign
batch from one that never was.
"""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from batchsite.accounts.models import User

from .models import Batch, BatchFile


def person(request: HttpRequest) -> User:
    """The signed-in user; PermissionDenied for anybody else."""
    if not isinstance(request.user, User):
        raise PermissionDenied("Sign in first.")
    return request.user


def get_batch(request: HttpRequest, code: str) -> Batch:
    """The batch with that public id, with its people and files; else Http404."""
    visible = Batch.objects.visible_to(person(request)).for_list()
    return get_object_or_404(visible, public_id=code)


def get_file(request: HttpRequest, code: str) -> BatchFile:
    """The file with that public id whose bytes still exist; else Http404."""
    return get_object_or_404(
        BatchFile.objects.visible_to(person(request)), public_id=code
    )
