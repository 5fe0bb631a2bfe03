# SPDX-License-Identifier: Apache-2.0
"""POST /v1/batches/validate, and the estimate that it gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import OrmQ
from rest_framework.test import APIClient

from batchsite.accounts.models import Team, User
from jobs import gates
from jobs.lengths import Lengths
from jobs.models import (
    Batch,
    BatchEstimate,
    BatchEvent,
    BatchFile,
    BatchRequest,
    Engine,
    Measurement,
    ServedModel,
)
from tests.conftest import MakeBatch, MakeFile
from tests.inputs import api_client, chat_lines, error_of
from tests.jobs.rows import external_engine


@pytest.fixture(autouse=True)
def tiny(db: None) -> ServedModel:
    return ServedModel.objects.create(name="tiny")


def validate(api: APIClient, file: BatchFile | str, **over: Any) -> Any:
    body = {
        "input_file_id": file if isinstance(file, str) else file.public_id,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    return api.post("/v1/batches/validate", body | over, format="json")


def measured(
    model: ServedModel, engine: Engine | None = None, **over: Any
) -> Measurement:
    engine = engine or external_engine()
    columns: dict[str, Any] = {
        "rows": 10,
        "input_tokens": 50,
        "output_tokens": 400,
        "seconds": 20.0,
    }
    columns |= {"hardware": f"the server {engine.name}"}
    return Measurement.objects.create(
        served_model=model, engine=engine, **(columns | over)
    )


def lines(*bodies: dict[str, Any], url: str = "/v1/chat/completions") -> bytes:
    return "\n".join(
        json.dumps({"custom_id": str(n), "method": "POST", "url": url, "body": body})
        for n, body in enumerate(bodies)
    ).encode()


def chat(text: str, **over: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": text}], **over}


def test_a_good_file_is_valid_and_nothing_is_made(
    api: APIClient, make_file: MakeFile, data_folder: Path
) -> None:
    r = validate(api, make_file(chat_lines(3)))
    assert r.status_code == 200
    found = r.json()
    assert found["object"] == "batch.validation"
    assert found["valid"] is True
    assert found["errors"] == {"object": "list", "data": []}
    assert found["error_count"] == 0
    assert found["request_counts"] == {"total": 3}
    assert found["models"] == ["tiny"]
    assert found["duplicates"] == 0
    for table in (Batch, BatchRequest, BatchEvent, OrmQ):
        assert not table._default_manager.exists()
    assert not any((data_folder / "spool").glob("intake-*"))


def test_errors_are_those_that_the_batch_would_have(
    api: APIClient, make_file: MakeFile
) -> None:
    content = chat_lines(2) + b"x\n" * 1500
    found = validate(api, make_file(content)).json()
    assert found["valid"] is False
    assert found["error_count"] == 1500
    assert len(found["errors"]["data"]) == 1000
    assert found["errors"]["data"][0] == {
        "code": "invalid_json_line",
        "message": "This line is not parseable as valid JSON.",
        "param": None,
        "line": 3,
    }
    assert found["request_counts"] == {"total": 1502}
    assert found["duplicates"] is None
    assert found["estimate"] is None


def test_a_file_that_is_not_there_is_an_error_of_the_batch_too(
    api: APIClient, stranger: User, other_team: Team, make_file: MakeFile
) -> None:
    foreign = validate(api_client(stranger, other_team), make_file()).json()
    for found in (foreign, validate(api, "file-none").json()):
        (error,) = found["errors"]["data"]
        assert (error["code"], error["param"]) == ("invalid_request", "file_id")
        assert found["valid"] is False


def test_the_options_of_the_batch_count(api: APIClient, make_file: MakeFile) -> None:
    ServedModel.objects.create(name="other")
    copy = chat("same", temperature=0)
    file = make_file(lines(copy, chat("b", model="other"), copy))
    (error,) = validate(api, file).json()["errors"]["data"]
    assert error["code"] == "mismatched_model"
    mixed = {"allow_mixed_models": True}
    found = validate(api, file, batchsite=mixed).json()
    assert found["valid"] is True
    assert found["models"] == ["tiny", "other"]
    assert found["duplicates"] == 1
    found = validate(api, file, batchsite=mixed | {"dedupe": False}).json()
    assert found["duplicates"] == 0


def test_the_call_takes_what_create_takes(api: APIClient, make_file: MakeFile) -> None:
    file = make_file(chat_lines(1))
    r = validate(api, file, metadata={"a": "1"}, batchsite={"priority": 5})
    assert r.status_code == 200
    r = validate(api, file, completion_window="1h")
    assert error_of(r) == (400, "completion_window", "invalid_value")
    r = validate(api, file, batchsite={"priority": 101})
    assert error_of(r)[1] == "batchsite.priority"


def test_a_process_checks_one_file_at_a_time(
    api: APIClient, make_file: MakeFile
) -> None:
    file = make_file(chat_lines(1))
    with gates.place(gates.DRY_RUNS, ""):
        r = validate(api, file)
    assert (r.status_code, r["Retry-After"]) == (429, "5")
    assert r.json()["error"]["code"] == "rate_limit_exceeded"
    assert validate(api, file).status_code == 200


def test_viewers_do_not_validate(viewer: User, team: Team, make_file: MakeFile) -> None:
    r = validate(api_client(viewer, team), make_file())
    assert r.status_code == 403


def test_without_history_only_what_the_file_says_is_estimated(
    api: APIClient, make_file: MakeFile
) -> None:
    file = make_file(
        lines(chat("a" * 400, max_tokens=50), chat("b", max_tokens=30, n=2))
    )
    found = validate(api, file).json()["estimate"]
    # about four characters a token
    assert 100 < found["input_tokens"] < 160
    assert found["output_tokens_most"] == 110
    assert found["output_tokens"] is found["seconds"] is found["gpu_hours"] is None
    assert "tiny never ran here" in found["basis"]
    unlimited = make_file(lines(chat("a", max_tokens=5), chat("b")))
    found = validate(api, unlimited).json()["estimate"]
    assert found["output_tokens_most"] is None


def test_history_tells_time_answers_and_gpu_hours(
    api: APIClient, make_file: MakeFile, tiny: ServedModel
) -> None:
    engine = external_engine()
    engine.gauges = {"gpus": [{}, {}]}
    engine.save(update_fields=["gauges"])
    # 40 tokens a request, 20 a second
    measured(tiny, engine)
    copy = chat("c", seed=1)
    many = [chat(f"a{n}") for n in range(38)]
    file = make_file(lines(*many, chat("b", max_tokens=10), copy, copy))
    found = validate(api, file).json()["estimate"]
    # one may not have more than 10, and one is a copy that costs nothing
    assert found["output_tokens"] == 39 * 40 + 10
    seconds = (39 * 40 + 10) / 20
    assert found["seconds"] == round(seconds)
    assert found["seconds_low"] < found["seconds"] < found["seconds_high"]
    assert found["gpu_hours"] == pytest.approx(2 * seconds / 3600, abs=0.0001)
    assert "10 measured requests of tiny on the server ext" in found["basis"]
    assert found["accuracy"] is None


def test_embeddings_take_time_but_no_output_tokens(
    api: APIClient, make_file: MakeFile, tiny: ServedModel
) -> None:
    measured(tiny, output_tokens=0)
    url = "/v1/embeddings"
    rows = [{"model": "tiny", "input": "abc"}] * 20
    found = validate(api, make_file(lines(*rows, url=url)), endpoint=url).json()
    estimate = found["estimate"]
    assert (estimate["output_tokens_most"], estimate["output_tokens"]) == (0, 0)
    # 10 requests in 20 s
    assert estimate["seconds"] == 40
    assert estimate["gpu_hours"] is None


def ended(make_batch: MakeBatch, **over: Any) -> BatchEstimate:
    """A batch that took 120 s where 100 were estimated, with answers of 30 tokens."""
    lengths = Lengths()
    for _ in range(30):
        lengths.add(30, cut=False)
    columns: dict[str, Any] = {
        "model": "tiny",
        "endpoint": "/v1/chat/completions",
        "rows": 30,
        "input_tokens": 900,
        "seconds": 100.0,
        "seconds_low": 90.0,
        "seconds_high": 110.0,
        "settled_at": timezone.now(),
        "ran_seconds": 120.0,
        "characters": 5000,
        "character_tokens": 2000,
        "lengths": lengths.as_json(),
    }
    batch = make_batch(status="completed", completed=30)
    return BatchEstimate.objects.create(batch=batch, **(columns | over))


def test_past_batches_tell_tokens_and_how_good_estimates_are(
    api: APIClient, make_file: MakeFile, make_batch: MakeBatch, tiny: ServedModel
) -> None:
    measured(tiny, rows=1000, output_tokens=40_000, seconds=2000.0)
    file = make_file(lines(*[chat(f"a{n}") for n in range(50)]))
    characters = sum(len(json.dumps(chat(f"a{n}"))) for n in range(50))
    before = validate(api, file).json()["estimate"]
    assert before["output_tokens"] == 50 * 40

    ended(make_batch)
    found = validate(api, file).json()["estimate"]
    # 2.5 characters a token, and answers of 30 tokens at 20 tokens a second
    assert found["input_tokens"] == round(characters / 2.5)
    assert (found["output_tokens"], found["seconds"]) == (50 * 30, 75)
    assert "2.50 characters each, as measured on 1 batch of tiny" in found["basis"]
    assert "of your team for this endpoint" in found["basis"]
    assert found["accuracy"] == {
        "estimates": 1,
        "median_error": pytest.approx(1 / 6),
        "within": 0,
    }

    for _ in range(9):
        ended(make_batch)
    found = validate(api, file).json()["estimate"]
    # ten batches took 1.2 times as long as estimated
    assert (found["seconds_low"], found["seconds_high"]) == (75, 90)
    assert "off by 17 % (median of the last 10; 0 of 10" in found["basis"]


def test_another_teams_batches_are_better_than_none(
    api: APIClient,
    other_team: Team,
    make_file: MakeFile,
    make_batch: MakeBatch,
    tiny: ServedModel,
) -> None:
    one = ended(make_batch)
    Batch.objects.filter(pk=one.batch_id).update(team=other_team)
    found = validate(api, make_file(lines(chat("a")))).json()["estimate"]
    assert found["output_tokens"] == 30
    assert "batches for this endpoint" in found["basis"]
    # How fast it runs is another question, which nothing answers.
    assert found["seconds"] is None
    assert "tiny never ran here" in found["basis"]
