# SPDX-License-Identifier: Apache-2.0
"""A database belongs to one SECRET_KEY.

django-q2 signs its tasks with the key and deletes those whose signature does not
fit, so that a process with another key would eat the wake-ups of all others.
"""

from __future__ import annotations

import hashlib

from django.conf import settings
from django.core.management import CommandError

from .models import Installation


def fingerprint() -> str:
    """SHA-256 of the key under a fixed label; says nothing about the key itself."""
    return hashlib.sha256(
        b"batchsite.key.v1:" + settings.SECRET_KEY.encode()
    ).hexdigest()


def ensure_row() -> Installation:
    """The installation's one row, made with the present key when there is none."""
    row, _ = Installation.objects.get_or_create(
        pk=1, defaults={"key_fingerprint": fingerprint()}
    )
    return row


def check_secret_key() -> None:
    """Record the key's fingerprint on first use; CommandError with another key later."""
    row = ensure_row()
    if row.key_fingerprint != fingerprint():
        raise CommandError(
            "This database was set up with another SECRET_KEY. Start every process of"
            " the site with the same SECRET_KEY (or the same data folder), or, after"
            " a deliberate change of key with all processes stopped, run"
            " 'manage.py adoptsecretkey'."
        )


def adopt_secret_key() -> None:
    """Tie the database to the present key; queued wake-ups signed by the old one go."""
    from django_q.models import OrmQ

    OrmQ.objects.all().delete()
    Installation.objects.update_or_create(
        pk=1, defaults={"key_fingerprint": fingerprint()}
    )
