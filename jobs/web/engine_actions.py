# SPDX-License-Identifier: Apache-2.0
"""What the site's administrators do with an engine in the browser: pause, drain, resume."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from batchsite.accounts.addresses import client_address
from jobs import holding
from jobs.access import get_engine, person
from jobs.refusals import Refused


@require_POST
@login_required
def engine_pause(request: HttpRequest, key: int) -> HttpResponse:
    """Send the engine no new requests; a second time changes nothing."""
    engine = get_engine(request, key)
    holding.pause(engine=engine, user=person(request), address=client_address(request))
    messages.info(
        request,
        f"{engine.name} is paused: what is in flight ends, nothing new starts, and its"
        " model stays loaded.",
    )
    return redirect("engine-list")


@require_POST
@login_required
def engine_drain(request: HttpRequest, key: int) -> HttpResponse:
    """Pause the engine and unload its model; a second time changes nothing."""
    engine = get_engine(request, key)
    try:
        holding.drain(
            engine=engine, user=person(request), address=client_address(request)
        )
    except Refused as refused:
        messages.warning(request, refused.message)
    else:
        messages.info(
            request,
            f"{engine.name} is being drained: when nothing is in flight any more, its"
            " model is unloaded.",
        )
    return redirect("engine-list")


@require_POST
@login_required
def engine_resume(request: HttpRequest, key: int) -> HttpResponse:
    """Send the engine requests again; a second time changes nothing."""
    engine = get_engine(request, key)
    holding.resume(engine=engine, user=person(request), address=client_address(request))
    messages.info(request, f"{engine.name} takes requests again.")
    return redirect("engine-list")
