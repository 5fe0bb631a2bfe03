# SPDX-License-Identifier: Apache-2.0
"""What people do with a model in the browser: enable, disable, retry, remove, try out."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from batchsite.accounts.addresses import client_address
from jobs import catalogue, trial
from jobs.access import get_model, person
from jobs.models import ServedModel
from jobs.refusals import Refused

from .model_forms import TrialForm


@require_POST
@login_required
def model_enable(request: HttpRequest, key: int) -> HttpResponse:
    """Let batches name the model; a second time changes nothing."""
    model = get_model(request, key, change=True)
    return _set(request, model, catalogue.enable, "can be used in batches again")


@require_POST
@login_required
def model_disable(request: HttpRequest, key: int) -> HttpResponse:
    """Let no new batch name the model; a second time changes nothing."""
    model = get_model(request, key, change=True)
    words = "is disabled: no new batch may name it, and no engine loads it"
    return _set(request, model, catalogue.disable, words)


@require_POST
@login_required
def model_retry(request: HttpRequest, key: int) -> HttpResponse:
    """Have a failed model tried again; a second time changes nothing."""
    model = get_model(request, key, change=True)
    words = "is tried again when a batch wants it"
    return _set(request, model, catalogue.retry, words)


def _set(
    request: HttpRequest, model: ServedModel, do: Callable[..., bool], words: str
) -> HttpResponse:
    if do(model=model, user=person(request), address=client_address(request)):
        messages.success(request, f"{model} {words}.")
    else:
        model.refresh_from_db(fields=["state"])
        messages.info(request, f"Nothing to change: {model} is {model.state}.")
    return redirect("model-detail", key=model.pk)


@require_POST
@login_required
def model_remove(request: HttpRequest, key: int) -> HttpResponse:
    """Forget the model; refused in words while something needs it."""
    model = get_model(request, key, change=True)
    try:
        catalogue.remove(
            model=model, user=person(request), address=client_address(request)
        )
    except Refused as refused:
        messages.warning(request, refused.message)
        return redirect("model-detail", key=key)
    messages.success(
        request, f"{model.name} is removed. Its files stay where they are."
    )
    return redirect("model-list")


@require_POST
@login_required
def model_test(request: HttpRequest, key: int) -> HttpResponse:
    """Send the model one short request, as a batch, and go where its answer will be."""
    model = get_model(request, key)
    user = person(request)
    form = TrialForm(request.POST, user=user)
    if not form.teams:
        raise PermissionDenied(
            "A test is a batch of a team's: you are in no team that you may submit for."
        )
    if not form.is_valid():
        messages.warning(request, "Choose the team that the test is a batch of.")
        return redirect("model-detail", key=key)
    endpoint = form.cleaned_data["endpoint"] or "/v1/chat/completions"
    try:
        batch = trial.run(
            model=model, team=form.cleaned_data["team"], user=user, endpoint=endpoint
        )
    except Refused as refused:
        messages.warning(request, refused.message)
        return redirect("model-detail", key=key)
    return redirect(f"{reverse('model-detail', args=[key])}?test={batch.public_id}")
