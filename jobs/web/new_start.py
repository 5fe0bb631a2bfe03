# SPDX-License-Identifier: Apache-2.0
# Django's form classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""A new batch, first step: the requests, as a file or pasted; or an old batch's."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.files.storage import default_storage
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from batchsite.accounts import permissions
from batchsite.accounts.models import Team, User
from jobs import file_store, tables
from jobs.access import get_batch, get_file, person
from jobs.ids import may_be_id
from jobs.models import Batch, BatchFile
from jobs.refusals import Refused
from jobs.uploads import SpooledUpload, printable_name, size_limit

from .addresses import whole
from .conditional import page

ENDINGS = (".jsonl", *tables.SUFFIXES)
# As DATA_UPLOAD_MAX_MEMORY_SIZE allows, with room for the other fields.
PASTED_CHARACTERS = 250_000
PASTED = "pasted.jsonl"
# A table is needed until its requests are made.
TABLE_SECONDS = 24 * 3600
TEAMS_MOST = 500
WRONG_ENDING = "Choose a file whose name ends in .jsonl, .csv, .tsv or .parquet."


class StartForm(forms.Form):
    """Whose batch it is, and its requests."""

    team = forms.ModelChoiceField(
        Team.objects.none(),
        empty_label=None,
        widget=forms.Select(attrs={"class": "field"}),
        error_messages={"invalid_choice": "Choose a team in which you may submit."},
    )
    file = forms.FileField(
        required=False,
        # What is empty is refused with the words of the format.
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"class": "field", "accept": ",".join(ENDINGS)}),
    )
    text = forms.CharField(
        required=False,
        strip=False,
        label="Or paste the lines of a batch file",
        widget=forms.Textarea(
            attrs={
                "class": "field mono",
                "rows": 6,
                "spellcheck": "false",
                "placeholder": '{"custom_id": "first", "method": "POST",'
                ' "url": "/v1/chat/completions", "body": {…}}',
            }
        ),
    )

    def __init__(
        self,
        data: QueryDict | None = None,
        files: Any = None,
        *,
        teams: QuerySet[Team],
        initial: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data, files, auto_id="start_%s", initial=initial)
        field = self.fields["team"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = teams

    def clean_text(self) -> str:
        """The text, unless it is long; a `maxlength` would let browsers cut it."""
        text = str(self.cleaned_data["text"])
        if len(text) > PASTED_CHARACTERS:
            raise forms.ValidationError(
                f"That are {len(text):,} characters. Save more than"
                f" {PASTED_CHARACTERS:,} as a file, and choose that."
            )
        return text

    def clean(self) -> dict[str, Any]:
        """One of both ways, and a name that tells what it is."""
        cleaned = super().clean() or self.cleaned_data
        file = cleaned.get("file")
        if file and not file.name.lower().endswith(ENDINGS):
            self.add_error("file", WRONG_ENDING)
        elif not file and not cleaned.get("text", "").strip() and not self.errors:
            self.add_error("file", "Choose a file, or paste its lines below.")
        return cleaned


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def batch_new(request: HttpRequest) -> HttpResponse:
    """Take the requests and go to what comes next.

    `?clone=` begins with an old batch, and with `&other` with another file than its.
    """
    user = person(request)
    teams = permissions.teams_where(user, "batches:write")
    if reason := why_not(user):
        raise PermissionDenied(reason)
    if cloned := cloned_batch(request):
        # It brings its options, and its address of the webhook, to no other team.
        teams = teams.filter(pk=cloned.team_id)
    if request.method == "POST":
        form = StartForm(request.POST, request.FILES, teams=teams)
        if form.is_valid() and (file := _stored(form, user)):
            return redirect(address_of(file, clone=cloned))
        return _page(request, form, cloned)
    if cloned and "other" not in request.GET and (kept := present_input(cloned)):
        return redirect(address_of(kept, clone=cloned))
    team = cloned.team_id if cloned else whole(request.GET.get("team"), default=0)
    form = StartForm(teams=teams, initial={"team": team})
    return _page(request, form, cloned)


def _page(request: HttpRequest, form: StartForm, cloned: Batch | None) -> HttpResponse:
    field = form.fields["team"]
    assert isinstance(field, forms.ModelChoiceField)
    assert field.queryset is not None  # the form has set it
    teams = list(field.queryset[:TEAMS_MOST])
    ctx = {
        "form": form,
        "cloned": cloned,
        "kept": present_input(cloned) if cloned else None,
        "only": teams[0] if len(teams) == 1 else None,
        "limits": {size_limit(team) for team in teams},
        "limit": max(size_limit(team) for team in teams),
    }
    return page(request, "jobs/new_start.html", ctx)


def why_not(user: User) -> str:
    """Why the person may submit nowhere, in words, with what to do; "" for who may."""
    if permissions.teams_where(user, "batches:write").exists():
        return ""
    if not user.memberships.exists():
        return "You are in no team yet. Ask the owner of one to add you."
    refusal = permissions.refusal("batches:write")
    return f"{refusal} Ask an owner for the role “member” to submit batches."


def cloned_batch(request: HttpRequest) -> Batch | None:
    """The batch that `?clone=` names; 404 for one that the person does not see."""
    code = request.GET.get("clone", "")
    if code and not may_be_id(code):
        raise Http404("That is no id of a batch.")
    return get_batch(request, code, right="batches:write") if code else None


def get_new_file(request: HttpRequest, code: str) -> BatchFile:
    """A file whose bytes exist, for those who may submit in its team; else 404 or 403."""
    if not may_be_id(code):
        raise Http404("That is no id of a file.")
    file = get_file(request, code, right="batches:write")
    if not default_storage.exists(file.storage_name):
        raise Http404("The bytes of this file are gone.")
    return file


def present_input(batch: Batch) -> BatchFile | None:
    """The batch's input file, if its bytes still exist."""
    file = BatchFile.objects.visible_to_team(batch.team).find(batch.input_file_ref)
    if file is not None and default_storage.exists(file.storage_name):
        return file
    return None


def address_of(file: BatchFile, *, clone: Batch | None = None) -> str:
    """Where to go with a stored file: a table's template, or the check of a batch file."""
    step = "batch-new-table" if tables.is_table(file.filename) else "batch-new-check"
    address = reverse(step, args=[file.public_id])
    return f"{address}?{urlencode({'clone': clone.public_id})}" if clone else address


def life_of(filename: str) -> dict[str, Any]:
    """Purpose and life of an upload, by its name."""
    if tables.is_table(filename):
        return {"purpose": "user_data", "expires_after": TABLE_SECONDS}
    return {"purpose": "batch"}


def _stored(form: StartForm, user: User) -> BatchFile | None:
    """The file of what came; None: the form says why not."""
    upload, name = form.cleaned_data["file"], "file"
    if not upload:
        upload, name = _pasted(form.cleaned_data["text"]), "text"
    assert isinstance(upload, SpooledUpload)  # the upload handler makes no others
    with contextlib.closing(upload):
        # Their own names: a file of any other name is no table for what comes next.
        upload.name = printable_name(upload.name or "") or PASTED
        try:
            return file_store.store_once(
                team=form.cleaned_data["team"],
                user=user,
                upload=upload,
                **life_of(upload.name),
            )
        except Refused as refused:
            form.add_error(name, refused.message)
    return None


def _pasted(text: str) -> SpooledUpload:
    upload = SpooledUpload(name=PASTED, content_type="application/jsonl", charset=None)
    data = text.replace("\r\n", "\n").encode(errors="surrogatepass")
    upload.take(data)
    upload.size = len(data)
    return upload
