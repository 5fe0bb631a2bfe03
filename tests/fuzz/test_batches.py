# SPDX-License-Identifier: Apache-2.0
"""Generated files through the API and intake: no byte and no row is lost."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest
from rest_framework.test import APIClient

from jobs import stages
from jobs.models import Batch, ServedModel
from tests.described import check

from .amounts import fuzzed, generated
from .strategies import CHAT, FILES

pytestmark = pytest.mark.django_db


def upload(api: APIClient, data: bytes) -> Any:
    """POST the file as a client does."""
    file = BytesIO(data)
    file.name = "in.jsonl"
    return api.post("/v1/files", {"file": file, "purpose": "batch"})


@fuzzed(250, data=FILES)
def test_no_byte_and_no_row_of_an_accepted_file_is_lost(
    api: APIClient, data: bytes
) -> None:
    generated["batches"] += 1
    ServedModel.objects.get_or_create(name="tiny")
    sent = upload(api, data)
    check(sent)
    if sent.status_code == 400:
        assert "Invalid file format" in sent.json()["error"]["message"]
        return
    assert sent.status_code == 200
    file_id = sent.json()["id"]
    assert check(api.get(f"/v1/files/{file_id}/content")) == data
    body = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
    verdict = api.post("/v1/batches/validate", body, format="json")
    check(verdict)
    made = api.post("/v1/batches", body, format="json")
    check(made)
    batch = Batch.objects.get(public_id=made.json()["id"])

    stages.attend_batch(batch.pk)

    batch.refresh_from_db()
    shown = api.get(f"/v1/batches/{batch.public_id}")
    check(shown)
    found = verdict.json()
    if batch.status == Batch.Status.FAILED:
        assert not found["valid"]
        assert shown.json()["errors"]["data"] == found["errors"]["data"]
        assert found["errors"]["data"]
        assert not batch.requests.exists()
        return
    assert found["valid"]
    assert batch.status == Batch.Status.IN_PROGRESS
    lines = [
        json.loads(line)
        for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        if line.strip()
    ]
    rows = batch.requests.order_by("index").values_list("custom_id", "body")
    assert [(name, json.loads(text)) for name, text in rows] == [
        (line["custom_id"], line["body"]) for line in lines
    ]
    assert batch.total == len(lines)
