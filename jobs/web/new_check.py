# SPDX-License-Identifier: Apache-2.0
"""A new batch, last step: what its file holds, its options, and making it."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from typing import IO, Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.forms import BooleanField, BoundField
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
)
from django.shortcuts import redirect
from django.utils.text import get_valid_filename
from django.views.decorators.http import require_http_methods, require_safe

from jobs import idempotency, limits, submit
from jobs.access import person
from jobs.api import batch_params
from jobs.api.errors import ApiError
from jobs.dry_run import Verdict, dry_run
from jobs.models import Batch, BatchFile
from jobs.refusals import Refused
from jobs.templatetags.figures import title_of

from . import new_expected, new_report
from .addresses import whole
from .conditional import page
from .new_forms import Choices, OptionsForm, fresh, like
from .new_start import address_of, cloned_batch, get_new_file

NOT_GOOD = "Nothing was made: the file has errors with these options."
ANOTHER = "This form was sent already, with other values. Open the page anew."


@dataclass(frozen=True, slots=True)
class Shown:
    """A field of the form, what the cloned batch has there, and whether that differs."""

    field: BoundField
    was: str
    changed: bool

    @property
    def is_tick(self) -> bool:
        """Whether it is a box to tick."""
        return isinstance(self.field.field, BooleanField)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def batch_new_check(request: HttpRequest, code: str) -> HttpResponse:
    """Show what the file's check found; make the batch, once, of a good one."""
    file = get_batch_file(request, code)
    cloned = cloned_batch(request)
    if cloned and cloned.team_id != file.team_id:
        raise Http404("That batch is another team's.")
    choices = _choices(request, file, cloned)
    origin = like(cloned) if cloned else {}
    initial = fresh(choices) | origin | asdict(choices)
    form = OptionsForm(team=file.team, initial=initial)
    if request.method == "POST":
        form = OptionsForm(request.POST, team=file.team, initial=initial)
        valid = form.is_valid()
        choices = form.choices()
        wanted = valid and request.POST.get("do") != "check"
        if wanted and (batch := _made(request, file, form)):
            messages.success(request, f"“{title_of(batch)}” is in the queue.")
            return redirect("batch-detail", code=batch.public_id)
    shown = _shown(form, origin)
    return _page(request, file, form, choices, {"cloned": cloned, "shown": shown})


@require_safe
@login_required
def batch_new_report(request: HttpRequest, code: str) -> HttpResponseBase:
    """Every bad line of the file, as JSONL."""
    file = get_batch_file(request, code)
    choices = _choices(request, file, None)
    try:
        report = _report(file, choices)
    except limits.LimitReached as busy:
        messages.warning(request, busy.message)
        return redirect(f"{address_of(file)}?{choices.query}")
    name = get_valid_filename(file.filename or file.public_id)
    return FileResponse(
        report,
        as_attachment=True,
        filename=f"{name.removesuffix('.jsonl')}_errors.jsonl",
        content_type="application/jsonl",
    )


def _report(file: BatchFile, choices: Choices) -> IO[bytes]:
    """All errors in a file that has no name, at its beginning; LimitReached."""
    settings.SPOOL_DIR.mkdir(parents=True, exist_ok=True)
    report = tempfile.TemporaryFile(dir=settings.SPOOL_DIR)  # noqa: SIM115 - the answer closes it
    try:
        dry_run(
            team=file.team,
            input_file_id=file.public_id,
            report=report,
            **asdict(choices),
        )
    except BaseException:
        report.close()
        raise
    report.seek(0)
    return report


def get_batch_file(request: HttpRequest, code: str) -> BatchFile:
    """The batch file, for those who may submit in its team; else 404 or 403."""
    file = get_new_file(request, code)
    if file.purpose != BatchFile.Purpose.BATCH:
        raise Http404("This file is no input of a batch.")
    return file


def _choices(request: HttpRequest, file: BatchFile, cloned: Batch | None) -> Choices:
    """What the address says of the options that decide which lines are good."""
    if cloned and "endpoint" not in request.GET:
        return Choices(cloned.endpoint, cloned.allow_mixed_models, cloned.dedupe)
    return Choices.of_query(request.GET, endpoint=new_report.endpoint_of(file))


def _made(request: HttpRequest, file: BatchFile, form: OptionsForm) -> Batch | None:
    """The batch, or the one that this form made before; None: the form says why."""
    key, fingerprint = form.identity(file)
    team, user, given = file.team, person(request), form.arguments()
    try:
        if known := idempotency.known(team=team, key=key, fingerprint=fingerprint):
            return known
        batch_params.check_webhook(given)
        if new_report.checked(file, form.choices()).error_count:
            form.add_error(None, NOT_GOOD)
            return None
        return idempotency.once(
            team=team,
            key=key,
            fingerprint=fingerprint,
            make=lambda: submit.create_batch(
                team=team, user=user, input_file_id=file.public_id, **given
            ),
        )[0]
    except (ApiError, Refused) as refused:
        form.refuse(refused)
    except idempotency.KeyReused:
        form.add_error(None, ANOTHER)
    return None


def _page(
    request: HttpRequest,
    file: BatchFile,
    form: OptionsForm,
    choices: Choices,
    more: dict[str, Any],
) -> HttpResponse:
    ctx = {"file": file, "form": form, "choices": choices, **more}
    try:
        verdict = new_report.checked(file, choices)
    except limits.LimitReached as busy:
        ctx["busy"] = busy.message
    else:
        ctx |= {"verdict": verdict}
        ctx |= (
            _bad(request, file, verdict)
            if verdict.error_count
            else _good(file, verdict)
        )
        if "mismatched_model" in verdict.kinds:
            ctx["mixed_query"] = replace(choices, allow_mixed_models=True).query
    return page(request, "jobs/new_check.html", ctx)


def _bad(request: HttpRequest, file: BatchFile, verdict: Verdict) -> dict[str, Any]:
    """One page of bad lines."""
    first = max(whole(request.GET.get("from"), default=0), 0)
    shown = verdict.errors[first : first + new_report.LINES]
    last = first + len(shown)
    return {
        "kinds": new_report.kinds(verdict),
        "bad": new_report.in_context(file, shown),
        "first": first + 1,
        "last": last,
        "newer": max(first - new_report.LINES, 0) if first else None,
        "older": last if last < len(verdict.errors) else None,
        "unlisted": verdict.error_count - len(verdict.errors),
    }


def _good(file: BatchFile, verdict: Verdict) -> dict[str, Any]:
    """What the requests are and what they will cost; and whether the team has room."""
    assert verdict.estimate is not None  # a good file has one
    found: dict[str, Any] = {
        "models": new_expected.model_states(verdict.requests),
        "expected": new_expected.expected(verdict.estimate, verdict.models),
        "running": verdict.total - (verdict.duplicates or 0),
    }
    try:
        limits.check_room(team=file.team, lines=verdict.total)
    except limits.LimitReached as full:
        found["full"] = full.message
    return found


def _shown(form: OptionsForm, origin: dict[str, Any]) -> list[Shown]:
    """The fields, each with whether it differs from what the cloned batch has, if any."""
    rows = []
    for field in form.visible_fields():
        was = _words(origin.get(field.name))
        now = _words(field.value()).replace("\r\n", "\n")
        rows.append(Shown(field, was, bool(origin) and now != was))
    return rows


def _words(value: Any) -> str:
    """A value of a form as static/js/changed.js has it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
