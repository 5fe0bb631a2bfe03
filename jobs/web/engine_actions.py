# SPDX-License-Identifier: Apache-2.0
"""What the site's administrators do with an engine in the browser."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from batchsite.accounts.addresses import client_address
from jobs import holding
from jobs.access import get_engine, person
from jobs.models import Engine
from jobs.refusals import Refused


@require_POST
@login_required
def engine_pause(request: HttpRequest, key: int) -> HttpResponse:
    """Send the engine no new requests; a second time changes nothing."""
    words = (
        "{} is paused: what is in flight ends, nothing new starts, and its model stays"
        " loaded."
    )
    return _ask(request, get_engine(request, key), holding.pause, words)


@require_POST
@login_required
def engine_drain(request: HttpRequest, key: int) -> HttpResponse:
    """Pause the engine and unload its model; a second time changes nothing."""
    words = (
        "{} is being drained: when nothing is in flight any more, its model is"
        " unloaded."
    )
    return _ask(request, get_engine(request, key), holding.drain, words)


@require_POST
@login_required
def engine_restart(request: HttpRequest, key: int) -> HttpResponse:
    """Have its host end it and start it anew; a second time changes nothing."""
    words = (
        "{} is being restarted: what is in flight ends first, and what does not end"
        " runs again."
    )
    return _ask(request, get_engine(request, key), holding.restart, words)


@require_POST
@login_required
def engine_resume(request: HttpRequest, key: int) -> HttpResponse:
    """Send the engine requests again; a second time changes nothing."""
    words = "{} takes requests again."
    return _ask(request, get_engine(request, key), holding.resume, words)


def _ask(
    request: HttpRequest, engine: Engine, do: Callable[..., bool], words: str
) -> HttpResponse:
    try:
        do(
            engine=engine,
            user=person(request),
            address=client_address(request),
            reason=request.POST.get("reason", ""),
        )
    except Refused as refused:
        messages.warning(request, refused.message)
    else:
        messages.info(request, words.format(engine.name))
    return redirect("engine-list")
