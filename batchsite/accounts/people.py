# SPDX-License-Identifier: Apache-2.0
"""Operations on people, teams and keys that commands, pages and the API share.

Who may call them is decided by permissions.py, in the views; `by` is who did it, None
for the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import validate_email
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from .invitations import link_tokens
from .models import ApiKey, AuditEvent, Membership, Team, User
from .permissions import role_in, unknown_scopes

NAME_LENGTH = 100
# Calls are limited for each key: without a limit of keys there would be none of calls.
MOST_KEYS = 20


class CannotChange(Exception):
    """The change is not possible; the message is for the person who asked for it."""


def ensure_member(*, team_name: str, email: str, role: str = "owner") -> Membership:
    """The person's membership in the team, either made when missing.

    A made person has no usable password until one is set. An existing membership
    keeps its role.
    """
    with transaction.atomic():
        team, _ = Team.objects.get_or_create(name=team_name)
        membership, _ = Membership.objects.get_or_create(
            user=_person(email), team=team, defaults={"role": role}
        )
    return membership


def _person(email: str) -> User:
    """The person with that address, made without a usable password when missing."""
    user, _ = User.objects.get_or_create(
        email=User.objects.normalize_email(email).lower(),
        defaults={"password": make_password(None)},
    )
    return user


def add_member(
    *,
    team: Team,
    email: str,
    role: str,
    by: User | None,
    address: str | None = None,
) -> Membership:
    """Take a person into the team, known to the site or new.

    Somebody new has no usable password: hand over set_password_path. CannotChange for
    what is no e-mail address or role, and for somebody who is in the team already.
    """
    email = email.strip()
    try:
        validate_email(email)
    except ValidationError as error:
        raise CannotChange("Give an e-mail address, such as a@example.com.") from error
    _check_role(role)
    with transaction.atomic():
        _lock(team)
        user = _person(email)
        membership, made = Membership.objects.get_or_create(
            user=user, team=team, defaults={"role": role}
        )
        if not made:
            raise CannotChange(f"{user} is in this team already, as {membership.role}.")
        record(
            action="member.add",
            actor=by,
            team=team,
            target=user.email,
            address=address,
            role=role,
        )
    return membership


def change_role(
    *, membership: Membership, role: str, by: User | None, address: str | None = None
) -> Membership:
    """Give a member another role; CannotChange for the last owner of a team."""
    _check_role(role)
    with transaction.atomic():
        row = _locked(membership)
        if row.role == role:
            return row
        if role != Membership.Role.OWNER:
            _keep_an_owner(row)
        before, row.role = row.role, role
        row.save(update_fields=["role"])
        record(
            action="member.role",
            actor=by,
            team=row.team,
            target=row.user.email,
            address=address,
            before=before,
            role=role,
        )
    return row


def remove_member(
    *, membership: Membership, by: User | None, address: str | None = None
) -> None:
    """Take a person out of the team and revoke the keys that the person has for it.

    The person's batches and files stay the team's. CannotChange for the last owner.
    """
    with transaction.atomic():
        row = _locked(membership)
        _keep_an_owner(row)
        keys = ApiKey.objects.filter(
            user=row.user, team=row.team, revoked_at__isnull=True
        ).update(revoked_at=timezone.now())
        row.delete()
        record(
            action="member.remove",
            actor=by,
            team=row.team,
            target=row.user.email,
            address=address,
            role=row.role,
            revoked_keys=keys,
        )


def _check_role(role: str) -> None:
    if role not in Membership.Role.values:
        raise CannotChange(f"A role is one of {', '.join(Membership.Role.values)}.")


def _lock(team: Team) -> None:
    """Changes of a team's people follow each other (SQLite: every transaction does)."""
    Team.objects.select_for_update(no_key=True).get(pk=team.pk)


def _locked(membership: Membership) -> Membership:
    """The membership as it is now; nobody else changes the team's people meanwhile."""
    _lock(membership.team)
    row = (
        Membership.objects.select_related("user", "team")
        .filter(pk=membership.pk)
        .first()
    )
    if row is None:
        raise CannotChange("This person is not in the team any more.")
    return row


def _keep_an_owner(leaving: Membership) -> None:
    """CannotChange when nobody else who can sign in owns the team."""
    if leaving.role != Membership.Role.OWNER:
        return
    others = Membership.objects.filter(
        team=leaving.team, role=Membership.Role.OWNER, user__is_active=True
    ).exclude(pk=leaving.pk)
    if not others.exists():
        raise CannotChange(
            f"{leaving.user} is the last owner of this team. Make somebody else owner"
            " first."
        )


def set_password_path(user: User) -> str:
    """Path of the page on which the person sets a password, once.

    invitations.LinkTokens says when it ends.
    """
    return reverse(
        "set-password",
        kwargs={
            "uidb64": urlsafe_base64_encode(force_bytes(user.pk)),
            "token": link_tokens.make_token(user),
        },
    )


def mail_password_link(*, user: User, link: str) -> bool:
    """Send the link by e-mail; False where the site has no mail server (EMAIL_URL).

    OSError (smtplib's errors are such) when the mail server does not take it.
    """
    if not settings.BATCHSITE_MAILS:
        return False
    days = settings.PASSWORD_RESET_TIMEOUT // 86_400
    send_mail(
        "Your account on Batchsite",
        f"You have an account on Batchsite. Set your password here, within {days} days:"
        f"\n\n{link}\n",
        None,
        [user.email],
    )
    return True


def create_api_key(
    *,
    team: Team,
    user: User,
    name: str,
    scopes: Sequence[str] = (),
    expiry: timedelta | None = None,
    by: User | None = None,
    address: str | None = None,
) -> str:
    """Make a key for the team and return its token, which nobody can read again.

    It acts for `user`; `scopes` are of permissions.SCOPES, none: everything the person
    may do; `expiry` is the time from now after which it ends. CannotChange for an
    empty name, an unknown scope, a time that is over, a person outside the team, and
    one with MOST_KEYS working keys in it.
    """
    name = name.strip()
    if not 0 < len(name) <= NAME_LENGTH:
        raise CannotChange(f"The name of a key has 1 to {NAME_LENGTH} characters.")
    if unknown := unknown_scopes(scopes):
        raise CannotChange(f"There is no scope {unknown[0]!r}.")
    if expiry is not None and expiry <= timedelta(0):
        raise CannotChange("A key ends in the future.")
    if role_in(user, team) is None:
        raise CannotChange(f"{user} is not in this team.")
    with transaction.atomic():
        # Two that are made at once are both counted.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        check_room_for_key(team=team, user=user)
        key, token = ApiKey.objects.create(
            user, expiry=expiry, team=team, name=name, scopes=sorted(set(scopes))
        )
        record(
            action="key.create",
            actor=by,
            team=team,
            target=key.token_key,
            address=address,
            name=name,
            user=user.email,
            scopes=key.scopes,
            expires_at=key.expiry.isoformat() if key.expiry else None,
        )
    return str(token)


def check_room_for_key(*, team: Team, user: User) -> None:
    """CannotChange when the person has MOST_KEYS working keys in the team."""
    if ApiKey.objects.usable().of_team(team).of_person(user).count() >= MOST_KEYS:
        raise CannotChange(
            f"{user} has {MOST_KEYS} working keys in this team, which is the most."
            " Revoke one first."
        )


def revoke_api_key(*, key: ApiKey, by: User | None, address: str | None = None) -> bool:
    """Shut the key out at once and for good; its row stays. False if it was already."""
    with transaction.atomic():
        won = ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(
            revoked_at=timezone.now()
        )
        if won:
            record(
                action="key.revoke",
                actor=by,
                team=key.team,
                target=key.token_key,
                address=address,
                name=key.name,
                user=key.user.email,
            )
    return bool(won)


def record(
    *,
    action: str,
    actor: User | None,
    team: Team | None = None,
    target: str = "",
    address: str | None = None,
    **data: Any,
) -> None:
    """Append one line to the audit log; `data` must be JSON."""
    AuditEvent.objects.create(
        action=action,
        actor=actor,
        team=team,
        target=target[:200],
        address=address,
        data=data,
    )
