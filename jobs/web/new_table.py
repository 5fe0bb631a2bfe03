# SPDX-License-Identifier: Apache-2.0
# Django's form classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""A new batch from a table: a prompt with {column}s, tried on the first rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from jobs import table_requests, tables
from jobs.access import person
from jobs.models import BatchFile, ServedModel
from jobs.refusals import Refused
from jobs.table_requests import Findings
from jobs.templating import Template, as_text, placeholders

from .conditional import page
from .new_start import address_of, cloned_batch, get_new_file

SAMPLES = 3
COLUMNS_SHOWN = 60
VALUE_CHARACTERS = 200
PROMPT_CHARACTERS = 100_000
TOKENS_MOST = 10_000_000
KINDS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Column:
    """A column with its first values."""

    name: str
    values: list[str]


class TableForm(forms.Form):
    """The template of the requests."""

    prompt = forms.CharField(
        strip=False,
        max_length=PROMPT_CHARACTERS,
        help_text="A column's name in braces stands for the row's value; {{ and }} are"
        " braces.",
        widget=forms.Textarea(attrs={"class": "field", "rows": 5}),
        error_messages={"required": "Write what each row is asked."},
    )
    system = forms.CharField(
        required=False,
        strip=False,
        max_length=PROMPT_CHARACTERS,
        label="System prompt",
        help_text="Comes first in each request. It may name columns, too.",
        widget=forms.Textarea(attrs={"class": "field", "rows": 2}),
    )
    model = forms.ChoiceField(widget=forms.Select(attrs={"class": "field"}))
    max_tokens = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=TOKENS_MOST,
        label="Most tokens of an answer",
        help_text="Empty: as many as the model has room for.",
        widget=forms.NumberInput(attrs={"class": "field"}),
    )
    temperature = forms.FloatField(
        required=False,
        min_value=0,
        max_value=2,
        help_text="0 to 2; empty: the model's own. Exact copies run once at 0.",
        widget=forms.NumberInput(attrs={"class": "field", "step": "any"}),
    )
    id_column = forms.ChoiceField(
        required=False,
        label="custom_id",
        help_text="By it each answer finds back to its row.",
        widget=forms.Select(attrs={"class": "field"}),
    )
    skip = forms.BooleanField(
        required=False, label="Leave out the rows that have problems"
    )

    def __init__(
        self, data: QueryDict | None = None, *, columns: Sequence[str]
    ) -> None:
        super().__init__(data, auto_id="table_%s")
        self.columns = columns
        names = ServedModel.objects.enabled().values_list("name", flat=True)
        self._offer("model", [(name, name) for name in names])
        numbered = ("", "the row's number: row-2, row-3, …")
        self._offer("id_column", [numbered, *((name, name) for name in columns)])

    def _offer(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def clean(self) -> dict[str, Any]:
        """Placeholders must name columns of the table, and the template make requests."""
        cleaned = super().clean() or self.cleaned_data
        for name in ("prompt", "system"):
            try:
                named = placeholders(cleaned.get(name, ""))
            except ValueError as error:
                self.add_error(name, str(error))
                continue
            if missing := [one for one in named if one not in self.columns]:
                self.add_error(
                    name,
                    f"The table has no column “{missing[0]}”. Its columns are above;"
                    " write {{ and }} where braces are meant.",
                )
        if not self.errors:
            try:
                self.template()
            except ValueError as error:
                self.add_error("prompt", str(error))
        return cleaned

    def template(self) -> Template:
        """The template that the form describes; ValueError for one that makes nothing."""
        given = self.cleaned_data
        return Template(
            custom_id=given["id_column"],
            **{
                name: given[name] for name in given if name not in ("skip", "id_column")
            },
        )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def batch_new_table(request: HttpRequest, code: str) -> HttpResponse:
    """Show the table's columns, try a template on it, and make the batch file."""
    file = get_table(request, code)
    cloned = cloned_batch(request)
    ctx: dict[str, Any] = {"file": file, "cloned": cloned}
    try:
        columns, samples = _seen(file)
    except Refused as refused:
        return page(request, "jobs/new_table.html", ctx | {"refused": refused.message})
    form = TableForm(columns=columns)
    if request.method == "POST":
        form = TableForm(request.POST, columns=columns)
        made, found = _tried(request, file, form)
        if made is not None:
            return redirect(address_of(made, clone=cloned))
        ctx |= _shown(found) if found else {}
    ctx |= {"form": form, "columns": samples, "more": len(columns) - len(samples)}
    return page(request, "jobs/new_table.html", ctx)


def get_table(request: HttpRequest, code: str) -> BatchFile:
    """The table's file, for those who may submit in its team; else 404 or 403."""
    file = get_new_file(request, code)
    if not tables.is_table(file.filename):
        raise Http404("This file is no table.")
    return file


def _seen(file: BatchFile) -> tuple[Sequence[str], list[Column]]:
    """All columns, and the first ones with values of the first rows."""
    with table_requests.opened(file) as table:
        rows = [row for _, row in zip(range(SAMPLES), table.rows, strict=False)]
    return table.columns, [
        Column(name, [as_text(row.cells[name])[:VALUE_CHARACTERS] for row in rows])
        for name in table.columns[:COLUMNS_SHOWN]
    ]


def _tried(
    request: HttpRequest, file: BatchFile, form: TableForm
) -> tuple[BatchFile | None, Findings | None]:
    """The batch file, if it was asked for and could be made; and what was found."""
    if not form.is_valid():
        return None, None
    template = form.template()
    try:
        if request.POST.get("do") == "preview":
            return None, table_requests.examine(file, template)
        made, found = table_requests.make(
            file=file,
            user=person(request),
            template=template,
            skip=form.cleaned_data["skip"],
        )
    except Refused as refused:
        form.add_error(None, refused.message)
        return None, None
    if made is None:
        form.add_error(
            "skip",
            f"{found.problem_count:,} of {found.rows:,} rows have problems, see below."
            " Mend the table and upload it again, or leave these rows out.",
        )
    return made, found


def _shown(found: Findings) -> dict[str, Any]:
    first = [
        (number, [(m["role"], m["content"]) for m in line["body"]["messages"]], line)
        for number, line in found.first
    ]
    return {
        "found": found,
        "first": first,
        "kinds": found.kinds.most_common(KINDS_SHOWN),
        "unlisted": found.problem_count - len(found.problems),
    }
