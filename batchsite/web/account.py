# SPDX-License-Identifier: Apache-2.0
# Django's view classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""A person's own account: name, time zone, password, teams; and the first password by a link."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import PasswordResetConfirmView
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from batchsite.accounts import zones
from batchsite.accounts.addresses import client_address
from batchsite.accounts.invitations import link_tokens
from batchsite.accounts.models import User
from batchsite.accounts.people import record
from jobs.access import person
from jobs.web.conditional import page

from .forms import NameForm, NewPasswordForm, OtherPasswordForm, TimeZoneForm


@require_safe
@login_required
def account(request: HttpRequest) -> HttpResponse:
    """The person's name, time zone, password and teams."""
    return _page(request)


def _page(
    request: HttpRequest,
    *,
    form: NameForm | None = None,
    zone_form: TimeZoneForm | None = None,
) -> HttpResponse:
    # Not the instance: a refused form has already written into it.
    memberships = person(request).memberships.select_related("team")
    ctx = {
        "form": form or NameForm(instance=person(request)),
        "zone_form": zone_form or TimeZoneForm(instance=person(request)),
        "zones": zones.names(),
        "site_zone": settings.TIME_ZONE,
        "now": timezone.now(),
        "memberships": memberships.order_by("team__name"),
    }
    return page(request, "site/account.html", ctx)


@require_POST
@login_required
def name_change(request: HttpRequest) -> HttpResponse:
    """Keep what others call the person."""
    form = NameForm(request.POST, instance=person(request))
    if not form.is_valid():
        return _page(request, form=form)
    form.instance.save(update_fields=NameForm.Meta.fields)
    messages.success(request, "Your name is saved.")
    return redirect("account")


@require_POST
@login_required
def time_zone_change(request: HttpRequest) -> HttpResponse:
    """Keep in which time zone the person reads times of day; empty: the site's."""
    form = TimeZoneForm(request.POST, instance=person(request))
    if not form.is_valid():
        return _page(request, zone_form=form)
    form.instance.save(update_fields=TimeZoneForm.Meta.fields)
    chosen = form.instance.time_zone or f"{settings.TIME_ZONE}, as the site's"
    messages.success(request, f"Times of day are now those of {chosen}.")
    return redirect("account")


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def password_change(request: HttpRequest) -> HttpResponse:
    """Another password; the person's sessions in all other browsers end."""
    user = person(request)
    form = OtherPasswordForm(request, user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        update_session_auth_hash(request, user)
        record(
            action="account.password_change",
            actor=user,
            address=client_address(request),
        )
        messages.success(
            request, "Your password is changed. Other browsers are signed out."
        )
        return redirect("account")
    return render(request, "site/account_password.html", {"form": form})


class PasswordByLink(PasswordResetConfirmView):
    """Django's page behind a link that works once, in the site's look."""

    template_name = "site/set_password.html"
    form_class = NewPasswordForm
    token_generator = link_tokens
    success_url = reverse_lazy("login")

    def form_valid(self, form: Any) -> HttpResponse:
        """Set the password, note it, and send the person to sign in."""
        user: User = form.user
        response = super().form_valid(form)
        record(
            action="account.password_set",
            actor=user,
            target=user.email,
            address=client_address(self.request),
        )
        messages.success(
            self.request, f"The password of {user.email} is set. Sign in with it."
        )
        return response


@require_http_methods(["GET", "HEAD", "POST"])
def set_password(request: HttpRequest, uidb64: str, token: str) -> HttpResponseBase:
    """Set a password by a link; the token leaves the address at once."""
    view = PasswordByLink.as_view()
    return view(request, uidb64=uidb64, token=token)
