# SPDX-License-Identifier: Apache-2.0
"""The models of the site: the list, a page for each, adding and changing them."""

from __future__ import annotations

import shlex
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from batchsite.accounts import permissions
from batchsite.accounts.addresses import client_address
from batchsite.accounts.models import User
from jobs import catalogue, trial
from jobs.access import get_model, person
from jobs.engines import fit
from jobs.engines.registry import CannotRegister
from jobs.models import Batch, ServedModel
from jobs.refusals import Refused
from jobs.result_search import ResultFilter, search

from . import engines, model_pages, previews
from .conditional import fragment, page
from .model_forms import ModelForm, TrialForm
from .model_states import Site, standing


@require_safe
@login_required
def model_list(request: HttpRequest) -> HttpResponse:
    """All models with state, speed, use and queue; polls get the rows alone."""
    rows = model_pages.rows()
    ctx = {
        "rows": rows,
        "address": request.path,
        "may_manage": permissions.may_run_site(person(request)),
    }
    if getattr(request, "htmx", False):
        shown = [row.shown for row in rows]
        return fragment(request, "jobs/_model_rows.html", ctx, shown)
    return page(request, "jobs/model_list.html", ctx)


@require_safe
@login_required
def model_detail(request: HttpRequest, key: int) -> HttpResponse:
    """One model; `?test=BATCH` shows what a trial gave, which polls ask for alone."""
    model = get_model(request, key)
    ctx = _trial(request, model)
    if getattr(request, "htmx", False):
        batch: Batch | None = ctx["batch"]
        shown = (batch and (batch.status, batch.result_seq), ctx["waits"])
        return fragment(request, "jobs/_model_trial.html", ctx, shown)
    ctx |= _facts(model, person(request))
    return page(request, "jobs/model_detail.html", ctx)


def _facts(model: ServedModel, user: User) -> dict[str, Any]:
    """What the page shows of the model beside a trial; an adapter loads as its base."""
    site = Site()
    loaded_as = model.base or model
    return {
        "standing": standing(model, site),
        "pins": loaded_as.engines.all(),
        "arguments": shlex.join(map(str, loaded_as.engine_args)),
        "verdicts": _verdicts(model, site),
        "figures": model_pages.figures(model).get(model.pk, model_pages.NOTHING_DONE),
        "queue": catalogue.queued().get(model.name, (0, 0)),
        "history": model_pages.history(model),
        "loads": model_pages.loads(model),
        "batches": model_pages.batches_of(model, user),
        "adapters": model.adapters.all(),
        "may_manage": permissions.may_run_site(user),
        "trial_form": TrialForm(user=user),
        "site_timeout": settings.BATCHSITE_REQUEST_TIMEOUT,
    }


def _verdicts(model: ServedModel, site: Site) -> list[fit.Verdict]:
    """Whether the model fits the engines that may load it; an adapter's is its base's."""
    one = model.base or model
    if not one.source:
        return []
    return fit.verdicts(one.source, one.revision, one.engine_args, site.may_load(one))


def _trial(request: HttpRequest, model: ServedModel) -> dict[str, Any]:
    """The trial that the address names, its answer or failure, or what it waits for."""
    visible = Batch.objects.visible_to(person(request)).for_list()
    batch = visible.find(request.GET.get("test", ""))
    if batch is not None and batch.name != trial.name_of(model):
        batch = None
    found: dict[str, Any] = {"model": model, "batch": batch, "row": None, "waits": ""}
    found["address"] = request.get_full_path()
    if batch is None:
        return found
    results = search(batch, ResultFilter(), limit=1).rows
    if results:
        found["row"] = previews.row(results[0])
    elif not batch.is_terminal:
        found["waits"] = engines.waiting_reason(batch, engines.engines())
    else:
        errors = (batch.errors or {}).get("data") or []
        found["error"] = errors[0].get("message", "") if errors else ""
    return found


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def model_new(request: HttpRequest) -> HttpResponse:
    """The form for a new model, with what it would need; nothing is made by looking."""
    permissions.require_site(person(request))
    return _form(request, ModelForm(request.POST or None), None)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def model_change(request: HttpRequest, key: int) -> HttpResponse:
    """The form for what may be changed of a model."""
    model = get_model(request, key, change=True)
    return _form(request, ModelForm(request.POST or None, model=model), model)


def _form(
    request: HttpRequest, form: ModelForm, model: ServedModel | None
) -> HttpResponse:
    """The page of the form; what is valid is stored, unless only a look was asked for."""
    verdicts: list[fit.Verdict] = []
    if request.method == "POST" and form.is_valid():
        if "look" not in request.POST:
            saved = _saved(request, form)
            if saved is not None:
                return redirect("model-detail", key=saved.pk)
        else:
            verdicts = _foreseen(form)
    ctx = {"form": form, "model": model, "verdicts": verdicts}
    return page(request, "jobs/model_form.html", ctx)


def _foreseen(form: ModelForm) -> list[fit.Verdict]:
    values = form.cleaned_data
    one = values["base"] or ServedModel(
        source=values["source"],
        revision=values["revision"],
        engine_args=values["engine_args"],
    )
    chosen = list(values["engines"]) or [e for e in Site().managed if not e.reserved]
    return fit.verdicts(one.source, one.revision, one.engine_args, chosen)


def _saved(request: HttpRequest, form: ModelForm) -> ServedModel | None:
    """The model as the form says; None: the form says why not."""
    try:
        model, created = catalogue.put(
            **form.values(),
            new=form.model is None,
            user=person(request),
            address=client_address(request),
        )
    except CannotRegister as error:
        form.add_error(None, str(error))
    except Refused as refused:
        field = refused.param if refused.param in form.fields else None
        form.add_error(field, refused.message)
    else:
        words = "can be used in batches" if created else "is changed"
        later = "" if created else " An engine that has it loaded keeps what it has."
        messages.success(request, f"{model} {words}.{later}")
        if form.note:
            messages.warning(request, form.note)
        return model
    return None
