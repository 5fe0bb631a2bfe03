# SPDX-License-Identifier: Apache-2.0
"""The way in, the theme and the alarms of the frame."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from jobs.access import person
from jobs.web.conditional import fragment

from .context import THEMES, alarms
from .forms import SignInForm

THEME_SECONDS = 365 * 24 * 3600


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """For browsers that ask for it where no page names it, as on file downloads."""
    return redirect(static("favicon.svg"))


@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponseBase:
    """Sign in by e-mail address and password.

    A poll of a page whose session has ended arrives here by redirect; the page as a
    whole is then sent to sign in and comes back.
    """
    if getattr(request, "htmx", False):
        query = QueryDict(mutable=True)
        query["next"] = urlsplit(request.headers.get("HX-Current-URL", "")).path or "/"
        response = HttpResponse(status=204)
        response["HX-Redirect"] = f"{reverse('login')}?{query.urlencode()}"
        return response
    view = LoginView.as_view(
        template_name="site/login.html",
        authentication_form=SignInForm,
        redirect_authenticated_user=True,
    )
    return view(request)


@require_POST
def choose_theme(request: HttpRequest) -> HttpResponse:
    """Keep light, dark or auto in a cookie for a year, and go back."""
    chosen = request.POST.get("theme", "")
    back = request.headers.get("Referer", "")
    allowed = url_has_allowed_host_and_scheme(
        back, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    response = redirect(back if allowed else "home")
    if chosen in THEMES:
        response.set_cookie(
            "theme",
            chosen,
            max_age=THEME_SECONDS,
            samesite="Lax",
            secure=request.is_secure(),
        )
    return response


@require_safe
@login_required
def alarm_list(request: HttpRequest) -> HttpResponse:
    """The frame's alarms alone, for its poll."""
    found = alarms(person(request))
    return fragment(request, "site/_alarms.html", {"alarms": found}, found)
