# SPDX-License-Identifier: Apache-2.0
"""Who may be given the one-time link by which somebody sets a first password.

Whoever holds such a link (people.set_password_path) becomes the person that it is for.
So it is shown only to those who already decide about all that the person may do.
"""

from __future__ import annotations

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db.models import QuerySet

from .models import Membership, User


class LinkTokens(PasswordResetTokenGenerator):
    """Django's tokens, which end with PASSWORD_RESET_TIMEOUT, when the password is set,
    and when the person signs in; these also end when the person gets or loses a team or
    becomes staff, for then whoever made the link decides about less than it would open.
    """

    key_salt = "batchsite.accounts.invitations.LinkTokens"

    def _make_hash_value(self, user: AbstractBaseUser, timestamp: int) -> str:
        assert isinstance(user, User)
        teams = sorted(user.memberships.values_list("team", flat=True))
        rights = f"{user.is_staff}{user.is_superuser}{teams}"
        return super()._make_hash_value(user, timestamp) + rights


link_tokens = LinkTokens()


def invitable(*, by: User) -> QuerySet[User]:
    """The people whom that person may give a link: they never had a password, and are
    in no team that the person does not own. Staff may give one to everybody but staff.
    """
    without_password = User.objects.filter(
        is_active=True,
        is_staff=False,
        is_superuser=False,
        last_login__isnull=True,
        password__startswith=UNUSABLE_PASSWORD_PREFIX,
    )
    if by.is_staff:
        return without_password
    owned = Membership.objects.filter(user=by, role=Membership.Role.OWNER)
    elsewhere = Membership.objects.exclude(team__in=owned.values("team"))
    return without_password.exclude(pk__in=elsewhere.values("user"))
