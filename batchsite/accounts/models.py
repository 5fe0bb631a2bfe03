# SPDX-License-Identifier: Apache-2.0
"""People, teams, memberships, API keys and the audit log."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import models
from django.db.models import OuterRef, Q, Subquery
from django.db.models.functions import Now
from django.utils import timezone
from knox.models import AbstractAuthToken, AuthTokenManager


class UserManager(BaseUserManager["User"]):
    """Makes users who sign in with their e-mail address."""

    def create_user(
        self, email: str, password: str | None = None, **fields: Any
    ) -> User:
        """A person with that address; ValueError when it is empty."""
        if not email:
            raise ValueError("A user needs an e-mail address.")
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(
        self, email: str, password: str | None = None, **fields: Any
    ) -> User:
        """A person who may do everything, the admin included."""
        return self.create_user(
            email, password, is_staff=True, is_superuser=True, **fields
        )

    def get_by_natural_key(self, username: str | None) -> User:
        """Sign-in does not care how the address is capitalised."""
        return self.get(email=(username or "").lower())


class User(AbstractUser):  # type: ignore[django-manager-missing]  # knox is untyped
    """A person; the e-mail address is the name to sign in with."""

    username = None  # type: ignore[assignment]  # AbstractUser's column goes away
    email = models.EmailField("e-mail address", unique=True)
    time_zone = models.CharField(
        max_length=64,
        blank=True,
        help_text="A name such as Europe/Vienna; empty: the site's time zone.",
    )

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment]  # AbstractUser's manager has usernames

    def __str__(self) -> str:
        return self.email


class TeamQuerySet(models.QuerySet["Team"]):
    def visible_to(self, user: User) -> TeamQuerySet:
        """The user's own teams; all of them for staff."""
        if user.is_staff:
            return self.all()
        return self.filter(memberships__user=user)


class Team(models.Model):  # type: ignore[django-manager-missing]  # knox is untyped
    """Owns files, batches and keys; nothing is shared between teams."""

    name = models.CharField(max_length=100, unique=True)
    weight = models.PositiveSmallIntegerField(
        default=1, help_text="Share of the engines beside other teams' weights."
    )
    max_file_bytes = models.PositiveBigIntegerField(
        null=True,
        blank=True,
        help_text="Largest batch file in bytes; empty: the site's limit.",
    )
    max_requests = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Most requests in one file; empty: the site's limit.",
    )
    max_queued_requests = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Most requests waiting or running; empty: the site's limit.",
    )
    max_queued_tokens = models.PositiveBigIntegerField(
        null=True,
        blank=True,
        help_text="Most input tokens waiting or running, for each model; empty: the"
        " site's limit.",
    )
    max_batches_per_hour = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Batches created in any hour; empty: the site's limit.",
    )
    requests_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="API calls a minute for each key; empty: the site's limit.",
    )
    batch_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Time that a batch has when it asks for none: 3,600 to 2,592,000"
        " seconds; empty: 24 hours.",
    )
    webhook_secret_version = models.PositiveIntegerField(default=1, editable=False)
    webhook_secret_rotated_at = models.DateTimeField(
        null=True, blank=True, editable=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = TeamQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(batch_seconds__isnull=True)
                | Q(batch_seconds__gte=3600, batch_seconds__lte=2_592_000),
                name="team_batch_seconds_in_range",
            ),
            models.CheckConstraint(
                condition=Q(weight__gte=1), name="team_weight_positive"
            ),
            models.CheckConstraint(condition=~Q(name=""), name="team_named"),
        ]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """What one person may do in one team."""

    class Role(models.TextChoices):
        VIEWER = "viewer"
        MEMBER = "member"
        CURATOR = "curator"
        OWNER = "owner"

    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    team = models.ForeignKey(Team, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "team"], name="membership_once"),
            models.CheckConstraint(
                condition=Q(role__in=["viewer", "member", "curator", "owner"]),
                name="membership_role_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.team}"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def usable(self) -> ApiKeyQuerySet:
        """Keys that open the door now: not revoked, not expired, person active."""
        return self.filter(
            Q(expiry__isnull=True) | Q(expiry__gt=Now()),
            revoked_at__isnull=True,
            user__is_active=True,
        )

    def with_role(self) -> ApiKeyQuerySet:
        """With `held_role`, the person's role in the key's team, in the same query."""
        held = Membership.objects.filter(
            user=OuterRef("user_id"), team=OuterRef("team_id")
        )
        keys: ApiKeyQuerySet = self.annotate(
            held_role=Subquery(held.values("role")[:1])
        )
        return keys

    def of_team(self, team: Team) -> ApiKeyQuerySet:
        """The team's keys, revoked and expired ones too, newest first, with people."""
        return self.filter(team=team).select_related("user", "team")

    def of_person(self, user: User) -> ApiKeyQuerySet:
        """The keys that act for the person."""
        return self.filter(user=user)


class ApiKeyManager(AuthTokenManager.from_queryset(ApiKeyQuerySet)):  # type: ignore[misc]  # knox is untyped
    """knox's create(user, …) -> (key row, token shown once), with our querysets."""


class ApiKey(AbstractAuthToken):  # type: ignore[misc]  # knox is untyped
    """A team's key to the API: knox keeps only its SHA-512; the token is shown once."""

    team = models.ForeignKey(Team, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    scopes = models.JSONField(
        default=list, blank=True, help_text="Empty: everything the person may do."
    )
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_from = models.GenericIPAddressField(null=True, blank=True)

    objects: ClassVar[ApiKeyManager] = ApiKeyManager()

    class Meta:
        verbose_name = "API key"
        ordering = ["-created"]

    def __str__(self) -> str:
        return f"{self.name} ({self.token_key}…)"

    @property
    def state(self) -> str:
        """In a word: usable, revoked or expired; whether the person is active is apart."""
        if self.revoked_at:
            return "revoked"
        if self.expiry and self.expiry <= timezone.now():
            return "expired"
        return "usable"


class AuditEvent(models.Model):
    """Who did what, from where; append-only."""

    team = models.ForeignKey(Team, models.SET_NULL, null=True, blank=True)
    actor = models.ForeignKey(User, models.SET_NULL, null=True, blank=True)
    action = models.CharField(max_length=50)
    target = models.CharField(max_length=200, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    data = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["team", "-id"], name="audit_of_team")]

    def __str__(self) -> str:
        return f"{self.action} {self.target}".strip()


class Installation(models.Model):
    """The one row that ties this database to its SECRET_KEY (see installation.py)."""

    key_fingerprint = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(pk=1), name="installation_is_one_row")
        ]

    def __str__(self) -> str:
        return f"installation {self.key_fingerprint[:8]}"
