# SPDX-License-Identifier: Apache-2.0
"""/v1/curation/datasets: what people resolved, made into rows, in versions."""

from __future__ import annotations

from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from curation import datasets
from curation.datasets import Spec
from curation.models import Dataset
from jobs.api import params as plain
from jobs.api.auth import caller, scope
from jobs.api.paging import cursor_of, page, page_limit
from jobs.api.parsers import body_of
from jobs.api.serializers import list_object
from jobs.row_checks.parameters import bad

from . import params
from .found import dataset_or_404, who
from .objects import dataset_object

VERSION = ("queue_ids", "format", "accept", "test_share", "salt")
SALT_LENGTH = 100


@api_view(["GET", "POST"])
@scope("curation")
def dataset_collection(request: Request) -> Response:
    """GET lists the team's datasets, newest first; POST makes one without versions."""
    team = caller(request).team
    if request.method == "POST":
        body = body_of(request)
        params.known_only(body, ("name",))
        made = datasets.create_dataset(
            team=team, name=plain.text(body, "name"), **who(request)
        )
        return Response(dataset_object(made, []))
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
    return dataset_object(dataset, list(rows.order_by("-number")))


@api_view(["GET"])
@scope("curation")
def dataset_detail(request: Request, dataset_id: str) -> Response:
    """A dataset with its versions and their manifests."""
    return Response(_shown(dataset_or_404(request, dataset_id)))


@api_view(["POST"])
@scope("curation")
def dataset_versions(request: Request, dataset_id: str) -> Response:
    """Make the next version of what some queues resolved; the dataset with it."""
    dataset = dataset_or_404(request, dataset_id)
    body = body_of(request)
    params.known_only(body, VERSION)
    datasets.build_version(
        dataset=dataset,
        queues=params.queues(dataset.team, body),
        spec=Spec(
            format=plain.text(body, "format"),
            accept=params.obj(body, "accept") if body.get("accept") else {},
            test_share=_share(body),
            salt=params.loose_text(body, "salt", SALT_LENGTH),
        ),
        **who(request),
    )
    return Response(_shown(dataset))


def _share(body: params.Body) -> float:
    value = body.get("test_share", 0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise plain.wrong_type("test_share", "a number", value)
    if not 0 <= value <= 0.9:
        raise bad("test_share", "expected 0 to 0.9.")
    return float(value)
