# SPDX-License-Identifier: Apache-2.0
"""/v1/models."""

from __future__ import annotations

import pytest
from openai.types import Model
from rest_framework.test import APIClient

from jobs.models import ServedModel
from tests.inputs import error_of


@pytest.fixture
def served(db: None) -> None:
    for name in ("tiny", "org/small", "org/small/v2"):
        ServedModel.objects.create(name=name, source=f"/models/{name}")
    for state in (ServedModel.State.DISABLED, ServedModel.State.FAILED):
        ServedModel.objects.create(name=f"off-{state}", state=state)


def test_list_has_the_models_that_batches_may_name(
    api: APIClient, served: None
) -> None:
    r = api.get("/v1/models").json()
    assert r["object"] == "list"
    names = [Model.model_validate(model, strict=True).id for model in r["data"]]
    assert names == ["org/small", "org/small/v2", "tiny"]


@pytest.mark.parametrize("name", ["tiny", "org/small", "org/small/v2", "org%2Fsmall"])
def test_a_name_may_contain_slashes(api: APIClient, served: None, name: str) -> None:
    r = api.get(f"/v1/models/{name}").json()
    model = ServedModel.objects.get(name=name.replace("%2F", "/"))
    assert r == {
        "id": model.name,
        "object": "model",
        "created": int(model.created_at.timestamp()),
        "owned_by": "batchsite",
        "parent": None,
    }


def test_an_adapter_names_its_parent(api: APIClient, served: None) -> None:
    base = ServedModel.objects.get(name="tiny")
    ServedModel.objects.create(name="tuned", source="/models/tuned", base=base)
    found = {m["id"]: m for m in api.get("/v1/models").json()["data"]}
    assert Model.model_validate(found["tuned"], strict=True).id == "tuned"
    assert found["tuned"]["parent"] == "tiny"
    assert found["tiny"]["parent"] is None
    assert api.get("/v1/models/tuned").json() == found["tuned"]
    ServedModel.objects.filter(pk=base.pk).update(state="disabled")
    assert error_of(api.get("/v1/models/tuned"))[0] == 404


@pytest.mark.parametrize("name", ["nothing", "off-disabled", "off-failed", "a%00b"])
def test_other_models_do_not_exist(api: APIClient, served: None, name: str) -> None:
    r = api.get(f"/v1/models/{name}")
    assert error_of(r) == (404, "model", "model_not_found")
