# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import bisect
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage

from jobs import intake, lifecycle, stages
from jobs.checks import Errors, Plan
from jobs.models import (
    Batch,
    BatchEstimate,
    BatchRequest,
    Chunk,
    Measurement,
    ServedModel,
)
from tests.conftest import MakeBatch, MakeFile

pytestmark = pytest.mark.django_db
Status = Batch.Status


@pytest.fixture(autouse=True)
def tiny(db: None) -> ServedModel:
    return ServedModel.objects.create(name="tiny")


def line(n: int, **body: Any) -> str:
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": f"question {n}"}],
        **body,
    }
    return json.dumps(
        {
            "custom_id": f"r{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": body,
        }
    )


def attend(batch: Batch) -> Batch:
    """One turn of a control worker."""
    stages.attend_batch(batch.pk)
    batch.refresh_from_db()
    return batch


def test_a_good_file_becomes_requests_and_chunks(
    make_batch: MakeBatch, make_file: MakeFile
) -> None:
    text = "\ufeff" + "\r\n".join([line(0), "", line(1), "   ", line(2)])
    batch = attend(make_batch(input_file=make_file(text.encode())))
    assert batch.status == Status.IN_PROGRESS
    assert (batch.total, batch.model) == (3, "tiny")
    rows = list(batch.requests.order_by("index"))
    assert [(r.index, r.line, r.custom_id) for r in rows] == [
        (0, 1, "r0"),
        (1, 3, "r1"),
        (2, 5, "r2"),
    ]
    assert sorted(r.run_order or 0 for r in rows) == [0, 1, 2]
    chunk = batch.chunks.get()
    assert (chunk.start, chunk.end, chunk.state) == (0, 3, Chunk.State.PENDING)
    assert batch.stage_owner == ""


def test_what_is_expected_is_stored_when_the_batch_begins_to_run(
    make_batch: MakeBatch, make_file: MakeFile, tiny: ServedModel
) -> None:
    copy = line(0, seed=1)
    text = "\n".join([copy, copy.replace('"r0"', '"r9"'), line(1, max_tokens=9)])
    file = make_file(text.encode())
    batch = attend(make_batch(input_file=file))
    assert (batch.estimate.rows, batch.estimate.model) == (2, "tiny")
    assert batch.estimate.endpoint == "/v1/chat/completions"
    assert batch.estimate.input_tokens > 20
    assert batch.estimate.output_tokens is batch.estimate.seconds is None
    assert "tiny never ran here" in batch.estimate.basis

    Measurement.objects.create(
        served_model=tiny, rows=1000, input_tokens=1, output_tokens=20_000, seconds=100
    )
    batch = attend(make_batch(input_file=file))
    assert batch.estimate.output_tokens == 29
    # 29 tokens at 200 a second: no whole seconds, which would be none.
    assert batch.estimate.seconds == pytest.approx(0.145)
    failed = attend(make_batch(input_file=make_file(b"x")))
    assert not BatchEstimate.objects.filter(batch=failed).exists()


def test_bodies_are_stored_as_they_were_received(
    make_batch: MakeBatch, make_file: MakeFile
) -> None:
    body = '{ "model": "tiny",  "messages": [{"role":"user","content":"\\u0000\\ud800 é"}] }'
    text = (
        '{"custom_id":"x","method":"POST","url":"/v1/chat/completions","body":'
        f"{body}}}"
    )
    batch = attend(make_batch(input_file=make_file(text.encode())))
    assert batch.requests.get().body == body


def test_every_bad_line_is_listed_and_nothing_is_inserted(
    make_batch: MakeBatch, make_file: MakeFile
) -> None:
    lines = [
        line(0),
        "no json",
        line(0),
        line(3, model="other"),
        line(4, stream=True),
        line(5).replace("POST", "GET"),
        line(6).replace("/v1/chat/completions", "/v1/completions"),
    ]
    batch = attend(make_batch(input_file=make_file("\n".join(lines).encode())))
    assert batch.status == Status.FAILED
    assert batch.errors is not None
    found = [(e["line"], e["code"], e["param"]) for e in batch.errors["data"]]
    assert found == [
        (2, "invalid_json_line", None),
        (3, "duplicate_custom_id", "custom_id"),
        (4, "model_not_found", "body.model"),
        (5, "streaming_unsupported", "body.stream"),
        (6, "invalid_method", "method"),
        (7, "invalid_url", "url"),
    ]
    assert not BatchRequest.objects.exists()
    assert not Chunk.objects.exists()
    with default_storage.open(batch.error_report) as report:
        assert [json.loads(row)["line"] for row in report] == [2, 3, 4, 5, 6, 7]


def test_a_model_that_no_database_can_hold_is_still_reported(
    make_batch: MakeBatch, make_file: MakeFile
) -> None:
    text = line(0, model="a\0b\ud800")
    batch = attend(make_batch(input_file=make_file(text.encode())))
    assert batch.status == Status.FAILED
    assert batch.errors is not None
    assert "'a\\u0000b\\ud800'" in batch.errors["data"][0]["message"]


def test_a_report_that_was_not_published_is_deleted(
    make_batch: MakeBatch, make_file: MakeFile, data_folder: Path
) -> None:
    batch = make_batch(input_file=make_file(b"x\n"))
    with stages.held(batch) as lease:
        assert lease is not None
        lost = Errors(io.BytesIO(b"x"), 1)
        lifecycle.cancel(Batch.objects.get(pk=batch.pk))
        batch.status = Status.CANCELLING
        intake._fail(batch, lease, lost)
    reports = (data_folder / "files" / "reports").rglob("*")
    assert [path for path in reports if path.is_file()] == []


def test_a_line_of_17_mb_is_named_and_the_others_are_still_checked(
    make_batch: MakeBatch, make_file: MakeFile
) -> None:
    long = line(1).replace("question 1", "x" * 17_000_000)
    text = "\n".join([line(0), long, "nonsense"])
    batch = attend(make_batch(input_file=make_file(text.encode())))
    assert batch.errors is not None
    found = [(e["line"], e["code"]) for e in batch.errors["data"]]
    assert found == [(2, "line_too_long"), (3, "invalid_json_line")]


def test_nesting_that_can_be_read_but_not_written_is_a_line_error(
    make_batch: MakeBatch, make_file: MakeFile
) -> None:
    def error_at(depth: int) -> str:
        deep = "[" * depth + "]" * depth
        bad = line(0, tools="deep").replace('"deep"', deep)
        batch = make_batch(input_file=make_file(f"{bad}\n{line(1)}".encode()))
        errors = (attend(batch).errors or {"data": []})["data"]
        assert {error["line"] for error in errors} <= {1}
        return ",".join(error["code"] for error in errors)

    # How deep Python can read depends on the stack below; writing reaches less far.
    depths = range(500, 200_000)
    first = bisect.bisect(depths, "", key=error_at)
    found = [error_at(depth) for depth in depths[first - 10 : first + 10]]
    assert set(found) == {"", "invalid_json_line"}


def test_two_models_in_one_file_are_refused(
    make_batch: MakeBatch, make_file: MakeFile
) -> None:
    ServedModel.objects.create(name="other")
    text = "\n".join([line(0), line(1, model="other")])
    batch = attend(make_batch(input_file=make_file(text.encode())))
    assert batch.errors is not None
    (error,) = batch.errors["data"]
    assert (error["code"], error["line"]) == ("mismatched_model", 2)


def test_a_batch_that_allows_it_runs_several_models_one_after_another(
    make_batch: MakeBatch, make_file: MakeFile
) -> None:
    ServedModel.objects.create(name="other")
    text = "\n".join(line(n, model=("tiny", "other")[n % 2]) for n in range(10))
    file = make_file(text.encode())
    batch = attend(make_batch(input_file=file, allow_mixed_models=True))
    assert batch.status == Status.IN_PROGRESS
    assert (batch.total, batch.model) == (10, "")
    # A chunk has one model, and none is cut where the input changes it.
    chunks = list(batch.chunks.order_by("start").values_list("model", "start", "end"))
    assert chunks == [("tiny", 0, 5), ("other", 5, 10)]
    in_order = batch.requests.order_by("run_order").values_list("index", flat=True)
    assert list(in_order) == [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]


def test_a_batch_that_allows_several_models_and_has_one_names_it(
    make_batch: MakeBatch, make_file: MakeFile
) -> None:
    file = make_file(line(0).encode())
    assert attend(make_batch(input_file=file, allow_mixed_models=True)).model == "tiny"


def test_the_inputs_of_embeddings_count_over_all_requests(
    make_batch: MakeBatch, make_file: MakeFile
) -> None:
    rows = [
        json.dumps(
            {
                "custom_id": str(n),
                "method": "POST",
                "url": "/v1/embeddings",
                "body": {"model": "tiny", "input": ["a", "b"]},
            }
        )
        for n in range(2)
    ]
    file = make_file("\n".join(rows).encode())
    batch = make_batch(input_file=file, endpoint="/v1/embeddings")
    batch.team.max_requests = 3
    batch.team.save(update_fields=["max_requests"])
    attend(batch)
    assert batch.errors is not None
    (error,) = batch.errors["data"]
    assert error["code"] == "too_many_inputs"
    assert "4 embedding inputs" in error["message"]


def test_a_thousand_errors_are_shown_and_all_are_reported(
    make_batch: MakeBatch, make_file: MakeFile
) -> None:
    batch = attend(make_batch(input_file=make_file(b"x\n" * 1500)))
    assert batch.errors is not None
    assert len(batch.errors["data"]) == 1001
    assert "500 more errors" in batch.errors["data"][-1]["message"]
    with default_storage.open(batch.error_report) as report:
        assert sum(1 for _ in report) == 1500


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"\n \n", "empty_file"), (b"", "empty_file")],
)
def test_a_file_without_requests_fails(
    make_batch: MakeBatch, make_file: MakeFile, content: bytes, code: str
) -> None:
    batch = attend(make_batch(input_file=make_file(content)))
    assert batch.errors is not None
    assert [e["code"] for e in batch.errors["data"]] == [code]


def test_the_teams_limit_of_requests_holds(
    make_batch: MakeBatch, make_file: MakeFile
) -> None:
    text = "\n".join(line(n) for n in range(4))
    batch = make_batch(input_file=make_file(text.encode()))
    batch.team.max_requests = 3
    batch.team.save(update_fields=["max_requests"])
    attend(batch)
    assert batch.errors is not None
    assert batch.errors["data"][0]["code"] == "too_many_requests_in_file"


def test_a_missing_or_foreign_file_fails_as_openai_says(make_batch: MakeBatch) -> None:
    batch = make_batch()
    Batch.objects.filter(pk=batch.pk).update(input_file=None, input_file_ref="file-x")
    attend(batch)
    assert batch.errors is not None
    (error,) = batch.errors["data"]
    assert (error["code"], error["param"]) == ("invalid_request", "file_id")
    assert error["message"].startswith("Cannot find file file-x, or organization")


def test_copies_have_no_place_in_the_order(
    make_batch: MakeBatch, make_file: MakeFile
) -> None:
    text = "\n".join(
        json.dumps(json.loads(line(7, temperature=0)) | {"custom_id": f"c{n}"})
        for n in range(5)
    )
    batch = attend(make_batch(input_file=make_file(text.encode())))
    original = batch.requests.get(run_order=0)
    assert original.custom_id == "c0"
    assert original.copies.count() == 4
    assert batch.chunks.get().end == 1
    assert batch.total == 5


def test_intake_goes_on_after_the_last_row_that_was_inserted(
    make_batch: MakeBatch, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = [
        json.dumps(json.loads(line(0, temperature=0)) | {"custom_id": f"c{n}"})
        for n in range(3)
    ]
    text = "\n".join([copies[0], *(line(n) for n in range(1, 40)), *copies[1:]])
    batch = make_batch(input_file=make_file(text.encode()))
    monkeypatch.setattr(intake, "SLICE_ROWS", 10)
    # A worker that dies after its second slice.
    with stages.held(batch) as lease:
        assert lease is not None
        calls = iter([False, True])
        monkeypatch.setattr(
            stages.StageLease, "used_up", property(lambda self: next(calls))
        )
        assert intake.run(batch, lease) is False
    monkeypatch.undo()
    assert batch.requests.count() == 20
    attend(batch)
    assert batch.status == Status.IN_PROGRESS
    assert list(
        batch.requests.order_by("index").values_list("index", flat=True)
    ) == list(range(42))
    assert batch.requests.filter(duplicate_of__custom_id="c0").count() == 2
    orders = list(
        batch.requests.filter(run_order__isnull=False).values_list(
            "run_order", flat=True
        )
    )
    assert len(orders) == 40
    assert set(orders) == set(range(40))


def test_a_first_pass_longer_than_a_turn_does_not_stop_intake(
    make_batch: MakeBatch, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n".join(line(n) for n in range(25))
    batch = make_batch(input_file=make_file(text.encode()))
    monkeypatch.setattr(intake, "SLICE_ROWS", 10)
    # Every turn is used up from its beginning.
    monkeypatch.setattr(stages, "YIELD_SECONDS", -1)
    for rows in (10, 20, 25):
        with stages.held(Batch.objects.get(pk=batch.pk)) as lease:
            assert lease is not None
            assert intake.run(batch, lease) is (rows == 25)
        assert batch.requests.count() == rows
    assert batch.status == Status.IN_PROGRESS


def test_the_turn_counts_from_the_second_pass(
    make_batch: MakeBatch, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n".join(line(n) for n in range(25))
    batch = make_batch(input_file=make_file(text.encode()))
    monkeypatch.setattr(intake, "SLICE_ROWS", 10)
    with stages.held(batch) as lease:
        assert lease is not None
        monkeypatch.setattr(lease, "_started", time.monotonic() - 100)
        assert lease.used_up
        assert intake.run(batch, lease) is True
    assert batch.requests.count() == 25


def test_a_cancel_during_validation_leaves_no_rows(
    make_batch: MakeBatch, make_file: MakeFile
) -> None:
    batch = make_batch(input_file=make_file(line(0).encode()))
    BatchRequest.objects.create(
        batch=batch,
        index=0,
        line=1,
        custom_id="r0",
        url="u",
        model="tiny",
        body="{}",
        run_order=0,
    )
    lifecycle.cancel(batch)
    attend(batch)
    assert batch.status == Status.CANCELLED
    assert batch.total == 0
    assert not batch.requests.exists()
    assert batch.output_file is None
    assert batch.error_file is None


def planned(batch: Batch, lease: stages.StageLease, folder: Path) -> Plan:
    """Pass 1 of a good file."""
    assert batch.input_file is not None
    with default_storage.open(batch.input_file.storage_name) as stream:
        return intake.first_pass(batch, stream, folder, Errors(io.BytesIO()), lease)


def test_a_worker_that_wakes_late_leaves_the_chunks_of_a_running_batch(
    make_batch: MakeBatch, make_file: MakeFile, tmp_path: Path
) -> None:
    batch = make_batch(input_file=make_file(line(0).encode()))
    late = stages.take(batch)
    assert late is not None
    plan = planned(batch, late, tmp_path)
    stale = Batch.objects.get(pk=batch.pk)
    Batch.objects.filter(pk=batch.pk).update(
        stage_owner="", stage_lease_expires_at=None
    )
    assert attend(batch).status == Status.IN_PROGRESS
    with pytest.raises(stages.StageLost):
        intake._start(stale, plan, late)
    assert batch.chunks.count() == 1


def test_intake_writes_nothing_once_the_batch_is_not_validating(
    make_batch: MakeBatch, make_file: MakeFile, tmp_path: Path
) -> None:
    batch = make_batch(input_file=make_file(line(0).encode()))
    with stages.held(batch) as lease:
        assert lease is not None
        plan = planned(batch, lease, tmp_path)
        Chunk.objects.create(batch=batch, model="tiny", start=0, end=1)
        lifecycle.cancel(Batch.objects.get(pk=batch.pk))
        with pytest.raises(stages.StatusMoved):
            intake._start(batch, plan, lease)
        assert batch.chunks.count() == 1
        with pytest.raises(stages.StatusMoved):
            intake.run(batch, lease)
        assert not batch.requests.exists()
    assert attend(batch).status == Status.CANCELLED


def test_a_worker_that_lost_the_stage_writes_nothing(
    make_batch: MakeBatch, make_file: MakeFile
) -> None:
    batch = make_batch(input_file=make_file(line(0).encode()))
    with stages.held(batch) as old:
        assert old is not None
        Batch.objects.filter(pk=batch.pk).update(
            stage_lease_expires_at="2000-01-01T00:00Z"
        )
        batch.refresh_from_db()
        new = stages.take(batch)
        assert new is not None
        with pytest.raises(stages.StageLost):
            intake.run(batch, old)
        assert not batch.requests.exists()
        assert old.renew() is False
        with pytest.raises(stages.StageLost):
            old.check()
        # The new holder is not disturbed by the old one's end.
    batch.refresh_from_db()
    assert batch.stage_owner != ""
    assert intake.run(batch, new) is True
    assert batch.status == Status.IN_PROGRESS
