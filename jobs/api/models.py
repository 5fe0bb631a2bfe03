# SPDX-License-Identifier: Apache-2.0
"""/v1/models: the models that batches may name."""

from __future__ import annotations

from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.models import ServedModel

from .auth import scope
from .errors import unknown_model
from .serializers import model_object


@api_view(["GET"])
@scope("models")
def model_collection(request: Request) -> Response:
    """All models, by name."""
    enabled = ServedModel.objects.enabled().select_related("base")
    data = [model_object(model) for model in enabled]
    return Response({"object": "list", "data": data})


@api_view(["GET"])
@scope("models")
def model_detail(request: Request, name: str) -> Response:
    """One model; its name may contain slashes."""
    for model in ServedModel.objects.enabled().select_related("base"):
        if model.name == name:
            return Response(model_object(model))
    raise unknown_model(name)
