# SPDX-License-Identifier: Apache-2.0
"""/v1/curation/datasets: what people resolved, made into rows, in versions."""

from __future__ import annotations

from typing import Any

from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from curation import building, datasets
from curation.models import Dataset, DatasetBuild
from curation.specs import Spec
from jobs.api import bodies
from jobs.api import params as plain
from jobs.api.auth import caller, scope
from jobs.api.found import who
from jobs.api.paging import cursor_of, page, page_limit
from jobs.api.parsers import body_of
from jobs.api.serializers import list_object

from . import params
from .found import dataset_or_404
from .objects import build_object, dataset_object

VERSION = (
    *("queue_ids", "format", "file_format", "accept", "test_share", "salt"),
    *("alike", "redact", "most", "tokens", "pseudonyms", "marks"),
)
SALT_LENGTH = 100
BUILDS = 20


@api_view(["GET", "POST"])
@scope("curation")
def dataset_collection(request: Request) -> Response:
    """GET lists the team's datasets, newest first; POST makes one without versions."""
    team = caller(request).team
    if request.method == "POST":
        body = body_of(request)
        bodies.known_only(body, ("name",))
        made = datasets.create_dataset(
            team=team, name=plain.text(body, "name"), **who(request)
        )
        return Response(dataset_object(made, [], []))
    rows = Dataset.objects.visible_to_team(team)
    found, has_more = page(
        rows,
        cursor=cursor_of(rows, request, "dataset"),
        limit=page_limit(request, default=20, most=100),
    )
    data = [_shown(dataset) for dataset in found]
    return Response(list_object(data, has_more=has_more))


def _shown(dataset: Dataset) -> dict[str, object]:
    rows = dataset.versions.select_related("train_file", "test_file")
    builds = DatasetBuild.objects.filter(dataset=dataset).exclude(
        state=DatasetBuild.State.DONE
    )
    return dataset_object(
        dataset, list(rows.order_by("-number")), list(builds[:BUILDS])
    )


@api_view(["GET"])
@scope("curation")
def dataset_detail(request: Request, dataset_id: str) -> Response:
    """A dataset with its versions and their manifests."""
    return Response(_shown(dataset_or_404(request, dataset_id)))


@api_view(["POST"])
@scope("curation")
def dataset_versions(request: Request, dataset_id: str) -> Response:
    """Have the next version made of what some queues resolved; a control worker does."""
    dataset = dataset_or_404(request, dataset_id)
    body = body_of(request)
    bodies.known_only(body, VERSION)
    build = building.ask(
        dataset=dataset,
        queues=params.queues(dataset.team, body),
        spec=_spec(body),
        **who(request),
    )
    return Response(build_object(build))


def _spec(body: bodies.Body) -> Spec:
    given: dict[str, Any] = {
        name: bodies.truth(body, name)
        for name in ("redact", "pseudonyms")
        if body.get(name) is not None
    }
    for name, most in (("most", 1000), ("tokens", 1_000_000)):
        if body.get(name) is not None:
            given[name] = plain.integer(name, body[name], least=1, most=most)
    if body.get("file_format") is not None:
        given["file_format"] = plain.text(body, "file_format")
    if body.get("marks") is not None:
        given["marks"] = bodies.obj(body, "marks")
    if body.get("alike") is not None:
        given["alike"] = bodies.number(body, "alike", least=0.5, most=1)
    return Spec(
        format=plain.text(body, "format"),
        accept=bodies.obj(body, "accept") if body.get("accept") else {},
        test_share=bodies.number(body, "test_share", least=0, most=0.9),
        salt=bodies.loose_text(body, "salt", SALT_LENGTH),
        **given,
    )
