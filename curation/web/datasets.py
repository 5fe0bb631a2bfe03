# SPDX-License-Identifier: Apache-2.0
"""Datasets in the browser: the list, one with its versions, and another version."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from batchsite.accounts import permissions
from batchsite.accounts.addresses import client_address
from batchsite.accounts.models import Team
from curation import building, datasets
from curation.models import Dataset, DatasetBuild, ReviewQueue
from jobs.access import found_or_404, person, team_of
from jobs.ids import may_be_id
from jobs.refusals import Refused
from jobs.web.conditional import page
from jobs.web.refusing import refuse

from . import dataset_forms
from .access import READ, WRITE
from .dataset_forms import BuildForm, Wish

DATASETS = 50
VERSIONS = 50
BUILDS = 10


@require_safe
@login_required
def dataset_list(request: HttpRequest) -> HttpResponse:
    """The datasets of the person's teams, newest first; `before` pages."""
    user = person(request)
    mine = Dataset.objects.visible_to(user)
    rows = mine.select_related("team", "created_by").annotate(
        version_count=Count("versions")
    )
    before = mine.find(request.GET.get("before", ""))
    if before is not None:
        rows = rows.filter(pk__lt=before.pk)
    found = list(rows.order_by("-pk")[: DATASETS + 1])
    ctx = {
        "rows": found[:DATASETS],
        "older": found[DATASETS - 1].public_id if len(found) > DATASETS else "",
        "is_first": before is None,
        "curates": permissions.teams_where(user, WRITE).exists(),
    }
    return page(request, "curation/dataset_list.html", ctx)


@require_safe
@login_required
def dataset_detail(request: HttpRequest, code: str) -> HttpResponse:
    """A dataset's versions with their files and manifests, and what is being made."""
    user = person(request)
    rows = Dataset.objects.visible_to(user).select_related("team", "created_by")
    dataset = found_or_404(rows.find(code))
    permissions.require(user, dataset.team, READ)
    versions = dataset.versions.select_related("train_file", "test_file", "created_by")
    builds = DatasetBuild.objects.filter(dataset=dataset).exclude(
        state=DatasetBuild.State.DONE
    )
    ctx = {
        "dataset": dataset,
        "versions": [
            (version, json.dumps(version.manifest, indent=2, ensure_ascii=False))
            for version in versions.order_by("-number")[:VERSIONS]
        ],
        "builds": list(builds.select_related("created_by")[:BUILDS]),
        "curates": permissions.user_may(user, dataset.team, WRITE),
    }
    return page(request, "curation/dataset_detail.html", ctx)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def dataset_new(request: HttpRequest) -> HttpResponse:
    """The form for a version of a dataset, of the queues that the address names.

    `queue`, several times, are ids of queues of one team; without any they are chosen
    first. `dataset` is the id of the one that gets another version.
    """
    teams = list(permissions.teams_where(person(request), WRITE))
    queues = _queues(request, teams)
    team = queues[0].team if queues else team_of(request, teams, WRITE)
    data = request.POST if request.method == "POST" else None
    form = BuildForm(
        data,
        team=team,
        auto_id="build_%s",
        initial={"dataset": request.GET.get("dataset", "")},
    )
    wishes = dataset_forms.wishes(queues, request.POST or request.GET)
    if data is not None and queues and form.is_valid():
        build = _ask(request, form, queues, wishes)
        if build is not None:
            messages.success(request, "The version is being made.")
            return redirect("dataset-detail", code=build.dataset.public_id)
    ctx = {
        "form": form,
        "team": team,
        "teams": teams,
        "queues": queues,
        "offered": [] if queues else _offered(team),
        "wishes": wishes,
    }
    return page(request, "curation/dataset_new.html", ctx)


def _queues(request: HttpRequest, teams: Sequence[Team]) -> list[ReviewQueue]:
    """The named queues; 404 for those that the person may not make a dataset of."""
    wanted = list(dict.fromkeys(request.GET.getlist("queue")))[:100]
    if not all(map(may_be_id, wanted)):
        raise Http404("These are no queues.")
    rows = ReviewQueue.objects.filter(team__in=teams, public_id__in=wanted)
    found = list(rows.select_related("team", "rubric_version__rubric").order_by("pk"))
    if len(found) < len(wanted) or len({queue.team_id for queue in found}) > 1:
        raise Http404("These are no queues of one of your teams.")
    return found


def _offered(team: Team) -> list[ReviewQueue]:
    rows = ReviewQueue.objects.visible_to_team(team)
    return list(rows.select_related("rubric_version__rubric").order_by("-pk")[:200])


def _ask(
    request: HttpRequest,
    form: BuildForm,
    queues: Sequence[ReviewQueue],
    wishes: Sequence[Wish],
) -> DatasetBuild | None:
    by: dict[str, Any] = {
        "user": person(request),
        "address": client_address(request),
    }
    try:
        accept = dataset_forms.accept(wishes)
        with transaction.atomic():
            dataset = form.chosen() or datasets.create_dataset(
                team=queues[0].team, name=form.cleaned_data["name"], **by
            )
            return building.ask(
                dataset=dataset, queues=queues, spec=form.spec(accept), **by
            )
    except ValueError:
        form.add_error(None, "The bounds of a condition are numbers.")
    except Refused as refused:
        refuse(form, refused)
    return None
