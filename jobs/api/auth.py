# SPDX-License-Identifier: Apache-2.0
"""API keys: who calls, for which team, and whether they may."""

from __future__ import annotations

from datetime import timedelta
from hmac import compare_digest
from ipaddress import ip_address
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Q
from django.utils import timezone
from knox.crypto import hash_token
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from batchsite.accounts.models import ApiKey, Membership, User
from batchsite.accounts.people import may, role_in

if TYPE_CHECKING:
    # DRF's views import this module.
    from rest_framework.views import APIView

# How often the key's last use is written.
USE_NOTED_EVERY = timedelta(minutes=1)


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer sk-bs-…`; request.auth is the ApiKey, its team decides.

    A key that is revoked or expired, or whose person is inactive or has left the
    team, is refused like one that never was; its row stays.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        """The key's person and the key; None without a Bearer header."""
        scheme, _, rest = get_authorization_header(request).partition(b" ")
        token = rest.strip().decode("latin-1")
        if scheme.lower() != b"bearer" or not token:
            return None
        digest = hash_token(token)
        key: ApiKey | None = (
            ApiKey.objects.usable()
            .select_related("user", "team")
            .filter(pk=digest)
            .first()
        )
        if key is None or not compare_digest(digest, key.digest):
            raise AuthenticationFailed(f"Incorrect API key provided: {masked(token)}.")
        note_use(key, client_address(request))
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return "Bearer"


class TeamRole(BasePermission):
    """Viewers of the key's team may read, members and up may write."""

    message = "You have insufficient permissions for this operation: viewers only read."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the key's person holds the role; AuthenticationFailed for strangers."""
        key = request.auth
        if not isinstance(key, ApiKey):
            return False
        reads = request.method in SAFE_METHODS
        needed = Membership.Role.VIEWER if reads else Membership.Role.MEMBER
        if may(key.user, key.team, needed):
            return True
        if role_in(key.user, key.team) is None:
            raise AuthenticationFailed(
                "The owner of this API key is not a member of its team any more."
            )
        return False


def caller(request: Request) -> ApiKey:
    """The key of an authenticated request."""
    key = request.auth
    assert isinstance(key, ApiKey)  # TeamRole let nobody else pass
    return key


def masked(token: str) -> str:
    """Enough of a key to recognise it by, and no more."""
    if len(token) < 24:
        return "***"
    return f"{token[:8]}{'*' * 8}{token[-4:]}"


def client_address(request: Request) -> str | None:
    """The client's IP address; behind the trusted proxy the one that it names."""
    address = request.META.get("REMOTE_ADDR", "")
    if settings.BATCHSITE_BEHIND_PROXY:
        # The proxy itself adds the last entry; those before it anybody can invent.
        address = request.META.get("HTTP_X_FORWARDED_FOR", address).rpartition(",")[2]
    try:
        return str(ip_address(address.strip().partition("%")[0]))
    except ValueError:
        return None


def note_use(key: ApiKey, address: str | None) -> None:
    """Write when and from where the key was used, once a minute at most."""
    now = timezone.now()
    if key.last_used_at and key.last_used_at > now - USE_NOTED_EVERY:
        return
    ApiKey.objects.filter(
        Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - USE_NOTED_EVERY),
        pk=key.pk,
    ).update(last_used_at=now, last_used_from=address)
