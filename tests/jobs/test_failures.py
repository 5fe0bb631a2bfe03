# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from jobs import failures
from jobs.models import Batch, FailureCount, Result
from tests.conftest import MakeBatch
from tests.web import rows

VLLM = (
    "This model's maximum context length is 2048 tokens. However, you requested 4000."
)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        ({"message": VLLM, "type": "BadRequestError", "code": 400}, "context_length_exceeded"),
        ({"message": "no", "type": "BadRequestError", "code": 400}, "BadRequestError"),
        ({"message": "no", "type": "x", "code": "invalid_value"}, "invalid_value"),
        ({"message": "no"}, "http_400"),
        ({"message": "no", "type": "two words"}, "http_400"),
        ({"message": "no", "type": "x" * 65}, "http_400"),
        ({"message": 5, "type": None, "code": ["a"]}, "http_400"),
        ("the request exceeds the available context size", "http_400"),
    ],
)  # fmt: skip
def test_an_engines_error_has_a_class(error: object, word: str) -> None:
    body = json.dumps({"error": error, "object": "error"})
    assert failures.class_of(refused(body)) == word


@pytest.mark.parametrize(
    "body", ["", "[1]", "{", "[" * 9000, "null", '"x"', "x" * 30_000]
)
def test_what_is_no_error_object_goes_by_its_status(body: str) -> None:
    assert failures.class_of(refused(body)) == "http_400"


def test_rows_that_were_never_answered_have_our_code() -> None:
    row = Result(outcome="failed", error_code="batch_expired", error_message="late")
    assert failures.class_of(row) == "batch_expired"
    assert failures.class_of(Result(outcome="completed", status_code=200)) == ""


@pytest.mark.django_db
def test_failed_rows_are_counted_by_class_and_hour(make_batch: MakeBatch) -> None:
    batch = rows.running(make_batch)
    for _ in range(2):
        rows.answer(batch, [rows.chat("yes")], failed=[rows.CONTEXT_ERROR, "{}"])

    (long, other) = failures.summaries(Batch.objects.get(pk=batch.pk))

    assert (long.error_class, long.rows) == ("context_length_exceeded", 2)
    assert (other.error_class, other.rows) == ("http_400", 2)
    assert FailureCount.objects.count() == 2
    assert set(batch.results.values_list("error_class", flat=True)) == {
        *("", "context_length_exceeded", "http_400")
    }


def refused(body: str) -> Result:
    return Result(outcome="failed", status_code=400, body=body)
