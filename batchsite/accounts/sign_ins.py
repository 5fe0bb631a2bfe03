# SPDX-License-Identifier: Apache-2.0
"""Sign-ins in the audit log.

Django tells of them by signals alone, whether they come from the site's own page or
from the admin's.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import (
    user_logged_in,
    user_logged_out,
    user_login_failed,
)
from django.http import HttpRequest

from .addresses import client_address
from .models import User
from .people import record


def tried_name(request: HttpRequest | None, credentials: dict[str, Any] | None) -> str:
    """The address that somebody tries to sign in with; capitals make no other one."""
    name = (credentials or {}).get("username")
    if name is None and request is not None:
        name = request.POST.get("username")
    # PostgreSQL holds no NUL.
    return str(name or "").lower().replace("\0", "")[:254]


def signed_in(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    """Somebody is in."""
    record(
        action="account.sign_in",
        actor=user,
        target=user.email,
        address=client_address(request),
    )


def signed_out(
    sender: Any, request: HttpRequest, user: User | None, **kwargs: Any
) -> None:
    """Somebody is out; a session that had ended already tells nothing."""
    if user is not None:
        record(
            action="account.sign_out",
            actor=user,
            target=user.email,
            address=client_address(request),
        )


def refused(
    sender: Any,
    credentials: dict[str, Any],
    request: HttpRequest | None = None,
    **kwargs: Any,
) -> None:
    """A wrong pair; the one that locks is told as such, those while locked not at all.

    django-axes, which hears the signal first, has left its verdict on the request. Names
    that nobody has are not told: a stranger could fill the log, which nobody empties.
    """
    if request is None:
        return
    locked = getattr(request, "axes_locked_out", False)
    if locked and getattr(request, "axes_failures_since_start", None) is None:
        return
    name = tried_name(request, credentials)
    if not User.objects.filter(email=name).exists():
        return
    record(
        action="account.locked" if locked else "account.sign_in_failed",
        actor=None,
        target=name,
        address=client_address(request),
    )


def connect() -> None:
    """Listen; called once, when the apps are ready."""
    user_logged_in.connect(signed_in, dispatch_uid="audit.signed_in")
    user_logged_out.connect(signed_out, dispatch_uid="audit.signed_out")
    user_login_failed.connect(refused, dispatch_uid="audit.refused")
