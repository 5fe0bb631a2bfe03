# SPDX-License-Identifier: Apache-2.0
"""API keys: who calls, for which team, and whether they may."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache, partial
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone
from knox.crypto import hash_token
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from batchsite.accounts import permissions
from batchsite.accounts.addresses import client_address as client_address
from batchsite.accounts.models import ApiKey, User
from jobs.kept_sql import kept_cursor, sql_of

from .throttling import count_call, count_failure

if TYPE_CHECKING:
    # DRF's views import this module.
    from rest_framework.views import APIView

logger = logging.getLogger(__name__)
# How often the key's last use is written.
USE_NOTED_EVERY = timedelta(minutes=1)
# How long a key's team, with its limits, and person are taken for what they were, and of how many keys.
REMEMBERED_SECONDS = 1.0
REMEMBERED_MOST = 1000
_remembered: dict[str, tuple[float, ApiKey]] = {}
_remembering = threading.Lock()
TWO_KEYS = (
    "The Authorization header and the X-API-Key header hold different API keys. Send"
    " one of them."
)
View = TypeVar("View", bound=Callable[..., Any])


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer sk-bs-…` or `X-API-Key: sk-bs-…`.

    request.auth is the ApiKey, its team decides. A key that is revoked or expired, or
    whose person is inactive or has left the team, is refused like one that never was;
    its row stays.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        """The key's person and the key; None without a key.

        LimitReached when the key, or the address with wrong keys, calls too often.
        """
        token = token_of(request)
        if not token:
            return None
        digest = hash_token(token)
        key = key_of(digest)
        if key is None or not compare_digest(digest, key.digest):
            count_failure(client_address(request))
            raise AuthenticationFailed(f"Incorrect API key provided: {masked(token)}.")
        count_call(request._request, key)
        note_use(key, client_address(request))
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return "Bearer"


def key_of(digest: str) -> ApiKey | None:
    """The usable key with that digest, its person, team and role with it, else None.

    Whether it may be used, and what its person may do, is asked each time. The rest,
    three tables wide, is remembered for a second: a client that polls would make it
    half of the work.
    """
    read_at, key = _remembered.get(digest, (0.0, None))
    if key is None or time.monotonic() - read_at >= REMEMBERED_SECONDS:
        return _read_key(digest)
    with kept_cursor() as cursor:
        cursor.execute(_standing_sql(), [digest])
        found = cursor.fetchone()
    if found is None:
        return None
    is_staff, role = found
    if bool(is_staff) != key.user.is_staff or role != key.__dict__["held_role"]:
        # Not written into the remembered one, which other threads are using.
        return _read_key(digest)
    return key


@cache
def _standing_sql() -> str:
    """Asks of a usable key, by its digest, whether its person is staff, and the role."""
    standing = ApiKey.objects.usable().with_role().filter(pk="").order_by()
    return sql_of(standing.values_list("user__is_staff", "held_role"), "")


def _read_key(digest: str) -> ApiKey | None:
    read_at = time.monotonic()
    key: ApiKey | None = (
        ApiKey.objects.usable()
        .with_role()
        .select_related("user", "team")
        .filter(pk=digest)
        .first()
    )
    with _remembering:
        _remembered.pop(digest, None)
        if key is not None:
            if len(_remembered) >= REMEMBERED_MOST:
                _remembered.clear()
            _remembered[digest] = (read_at, key)
    return key


def token_of(request: Request) -> str:
    """The key that the request brings, "" without one; AuthenticationFailed for two."""
    scheme, _, rest = get_authorization_header(request).partition(b" ")
    bearer = rest.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""
    other = request.META.get("HTTP_X_API_KEY", "").strip()
    if bearer and other and not compare_digest(hash_token(bearer), hash_token(other)):
        raise AuthenticationFailed(TWO_KEYS)
    return bearer or other


class KeyRights(BasePermission):
    """Asks permissions.py whether the key may read or write in one area."""

    def __init__(self, area: str) -> None:
        self.area = area
        self.message: str | None = None

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the key holds the right; AuthenticationFailed for strangers."""
        key = request.auth
        if not isinstance(key, ApiKey):
            return False
        if request.method not in view.allowed_methods:
            # It is answered with 405, whoever asks.
            return True
        right = f"{self.area}:{'read' if request.method in SAFE_METHODS else 'write'}"
        if permissions.key_may(key, right):
            return True
        role = permissions.role_of_key(key)
        if role is None:
            raise AuthenticationFailed(
                "The owner of this API key is not a member of its team any more."
            )
        self.message = "You have insufficient permissions for this operation. "
        if permissions.at_least(role, permissions.RIGHTS[right]):
            self.message += f"The scope that this API key lacks: {right}."
        else:
            self.message += permissions.refusal(right)
        return False


class ScopeMissing(BasePermission):
    """Stands for a view that declares no scope: such a view serves nobody."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Raises ImproperlyConfigured."""
        raise ImproperlyConfigured(
            f"The view {view.__class__.__name__} must say @scope(…), below @api_view."
        )


def scope(area: str) -> Callable[[View], View]:
    """Declares an API view's area of permissions.RIGHTS; stands below `@api_view`.

    GET and HEAD need "<area>:read", other methods "<area>:write".
    """

    def declare(view: View) -> View:
        view.permission_classes = [partial(KeyRights, area)]  # type: ignore[attr-defined]  # where api_view looks for it
        return view

    return declare


def caller(request: Request) -> ApiKey:
    """The key of an authenticated request."""
    key = request.auth
    assert isinstance(key, ApiKey)  # KeyRights let nobody else pass
    return key


def need(request: Request, right: str) -> None:
    """Refuse a call whose key lacks a further right, for what its body names."""
    if not permissions.key_may(caller(request), right):
        raise PermissionDenied(
            "You have insufficient permissions for this operation. The scope that this"
            f" API key lacks: {right}."
        )


def masked(token: str) -> str:
    """Enough of a key to recognise it by, and no more."""
    if len(token) < 24:
        return "***"
    return f"{token[:8]}{'*' * 8}{token[-4:]}"


def note_use(key: ApiKey, address: str | None) -> None:
    """Write when and from where the key was used, once a minute at most.

    A database that takes nothing, as on a full disk, may still be read.
    """
    now = timezone.now()
    if key.last_used_at and key.last_used_at > now - USE_NOTED_EVERY:
        return
    try:
        ApiKey.objects.filter(
            Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - USE_NOTED_EVERY),
            pk=key.pk,
        ).update(last_used_at=now, last_used_from=address)
    except DatabaseError:
        logger.warning("cannot note the use of a key", exc_info=True)
    # The key may be remembered.
    key.last_used_at = now
