# SPDX-License-Identifier: Apache-2.0
"""Where an answer is from: what is stored, what is read from the request, what is shown."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from batchsite.accounts.models import User
from jobs.models import BatchRequest, Result
from jobs.provenance import provenance_of, sampling_of
from jobs.recording import record
from tests.conftest import MakeBatch

from .rows import answer, claimed, external_engine, running_batch

STORED = {"engine": "gpu0", "engine_version": "0.11", "model_revision": "abc"}


@pytest.fixture
def result(make_batch: MakeBatch) -> Result:
    batch = running_batch(make_batch)
    claim = claimed(external_engine())
    body = {"model": "tiny", "temperature": 0.5, "seed": 7, "top_k": 3, "messages": []}
    BatchRequest.objects.filter(batch=batch, index=0).update(body=json.dumps(body))
    made = answer(claim, 0)
    made.provenance, made.attempts, made.cached_tokens = STORED, 2, 6
    record(claim.lease, [made], with_copies=False, finished=False)
    return batch.results.get()


@pytest.mark.django_db
def test_engine_sampling_tries_and_cache_are_told(result: Result) -> None:
    assert provenance_of(result) == {
        **STORED,
        "sampling": {"temperature": 0.5, "top_k": 3, "seed": 7},
        "attempts": 2,
        "cached_tokens": 6,
    }


@pytest.mark.django_db
def test_the_admin_shows_it(result: Result, staff: User, client: Client) -> None:
    client.force_login(staff)
    r = client.get(f"/admin/jobs/result/{result.pk}/change/")
    assert r.status_code == 200
    for line in ("engine: &quot;gpu0&quot;", "attempts: 2", "cached_tokens: 6"):
        assert line in r.text


def test_what_is_no_sampling_is_left_out() -> None:
    odd = '{"model": "\\ud800", "messages": [{"temperature": 1}], "stop": ["\\u0000"]}'
    assert sampling_of(BatchRequest(body=odd)) == {"stop": ["\0"]}
    assert sampling_of(BatchRequest(body='{"model": "tiny"}')) == {}
