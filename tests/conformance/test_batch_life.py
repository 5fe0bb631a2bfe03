# SPDX-License-Identifier: Apache-2.0
"""B: how batches run and end, and their result files."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.site import wait_for

from .proof import proves
from .server import CHAT, LocalServer, Server, error, jsonl
from .strict import Batch, ok

DAY = 86_400
# Refused by the engine: no answer has fewer tokens than none.
REFUSED: dict[str, Any] = {"max_tokens": -1}
EXPIRED = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}


def custom_ids(server: Server, batch: dict[str, Any]) -> list[str]:
    """All custom_ids of the batch's output and error file."""
    rows = [
        *server.rows(batch["output_file_id"]),
        *server.rows(batch["error_file_id"]),
    ]
    return sorted(row["custom_id"] for row in rows)


def half_slow(server: Server) -> bytes:
    """Four requests that the test engine answers at once, and four after a minute."""
    quick = [server.request(f"quick-{n}", f"{n}") for n in range(4)]
    slow = [server.request(f"slow-{n}", f"{n}", test={"delay": 60}) for n in range(4)]
    return jsonl(*quick, *slow)


def four_answers(server: Server, batch: dict[str, Any]) -> dict[str, Any]:
    """The batch once its quick half is answered."""

    def look() -> dict[str, Any] | None:
        now = server.batch(batch["id"])
        return now if now["request_counts"]["completed"] >= 4 else None

    found = wait_for(look, timeout=30, what="four answers")
    assert found is not None
    return found


def check_halves(server: Server, batch: dict[str, Any], code: str) -> None:
    """The quick half is in the output file, the slow half in the error file."""
    good, bad = (server.rows(batch[f"{n}_file_id"]) for n in ("output", "error"))
    assert sorted(row["custom_id"] for row in good) == [f"quick-{n}" for n in range(4)]
    assert sorted(row["custom_id"] for row in bad) == [f"slow-{n}" for n in range(4)]
    assert {row["error"]["code"] for row in bad} == {code}
    assert {row["response"] for row in bad} == {None}
    assert batch["request_counts"] == {"total": 8, "completed": 4, "failed": 4}
    assert batch["usage"]["output_tokens"] > 0


@proves("B-02")
@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/completions", {"prompt": "Say hello."}),
        ("/v1/embeddings", {"input": ["one", "two"]}),
        ("/v1/responses", {"input": "Say hello."}),
        ("/v1/score", {"text_1": "a", "text_2": ["b", "c"]}),
        ("/v1/rerank", {"query": "a", "documents": ["b", "c"]}),
    ],
)
def test_each_endpoint_of_the_engine_runs(
    local_site: LocalServer, endpoint: str, body: dict[str, Any]
) -> None:
    line = {
        "custom_id": "a",
        "method": "POST",
        "url": endpoint,
        "body": {"model": local_site.model, **body},
    }

    batch = local_site.run(jsonl(line), endpoint=endpoint)

    assert batch["status"] == "completed", batch
    [row] = local_site.rows(batch["output_file_id"])
    assert row["response"]["status_code"] == 200
    assert isinstance(row["response"]["body"], dict)


def end_the_window(server: LocalServer, batch: dict[str, Any]) -> None:
    """Let the batch have been made a day ago, with its window ending now."""
    moments = [
        time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - ago))
        for ago in (DAY, 1)
    ]
    server.site.query(
        "UPDATE jobs_batch SET created_at = %s, expires_at = %s WHERE public_id = %s",
        *moments,
        batch["id"],
    )


@pytest.fixture(scope="session")
def halves(own_site: LocalServer) -> dict[str, dict[str, Any]]:
    """A batch that is being cancelled and one whose window ends, both half answered.

    They wait together for the requests in flight.
    """
    made = [own_site.submit(half_slow(own_site)) for _ in range(2)]
    first, second = (four_answers(own_site, batch) for batch in made)
    _, cancelling = ok(Batch, own_site.post(f"/batches/{first['id']}/cancel"))
    end_the_window(own_site, second)
    return {"cancelled": cancelling, "expired": second}


@proves("B-18", "B-25", "L-04", "L-07")
def test_a_cancelled_batch_keeps_its_answers(
    local_site: LocalServer, halves: dict[str, dict[str, Any]]
) -> None:
    cancelling = halves["cancelled"]
    assert cancelling["status"] == "cancelling"
    assert cancelling["cancelling_at"] >= cancelling["in_progress_at"]

    cancelled = local_site.wait(cancelling)

    assert cancelled["status"] == "cancelled"
    assert cancelled["cancelled_at"] - cancelled["cancelling_at"] <= 600
    check_halves(local_site, cancelled, "batch_cancelled")


@proves("B-18", "B-19", "B-06")
def test_cancelling_twice_is_harmless(server: Server) -> None:
    batch = server.submit(server.requests(500))

    first = server.post(f"/batches/{batch['id']}/cancel")
    again = server.post(f"/batches/{batch['id']}/cancel")

    for answer in (first, again):
        ok(Batch, answer)
        assert answer.json()["status"] in ("cancelling", "cancelled")
    cancelled = server.wait(again.json())
    assert cancelled["status"] == "cancelled"
    assert server.post(f"/batches/{batch['id']}/cancel").json() == cancelled
    assert server.client.batches.cancel(batch["id"]).status == "cancelled"


@proves("B-19", "E-10")
def test_a_batch_that_has_ended_cannot_be_cancelled(server: Server) -> None:
    for data, status in ((server.requests(1), "completed"), (b"{}\n", "failed")):
        batch = server.run(data)
        assert batch["status"] == status

        answer = server.post(f"/batches/{batch['id']}/cancel")

        assert error(answer) == (409, None, None)
        told = answer.json()["error"]
        assert told["type"] == "invalid_request_error"
        assert told["message"] == f"Cannot cancel a batch with status '{status}'."
        assert server.batch(batch["id"]) == batch


@proves("B-20", "L-03")
def test_a_batch_whose_rows_all_fail_completes(server: Server) -> None:
    batch = server.run(server.requests(2, **REFUSED))

    assert batch["status"] == "completed"
    assert batch["output_file_id"] is None
    assert batch["request_counts"] == {"total": 2, "completed": 0, "failed": 2}
    assert len(server.rows(batch["error_file_id"])) == 2


@proves("B-21")
def test_a_batch_without_failed_rows_has_no_error_file(server: Server) -> None:
    batch = server.run(server.requests(2))

    assert batch["status"] == "completed"
    assert batch["error_file_id"] is None


@proves("B-22", "E-31")
def test_more_than_50000_requests_fail_the_batch(server: Server) -> None:
    [told] = server.errors(server.requests(50_001))

    assert told["code"] == "too_many_requests_in_file"
    assert told["line"] is None
    assert "50,000" in told["message"]


@proves("B-22")
def test_more_than_50000_embedding_inputs_fail_the_batch(server: Server) -> None:
    rows = [
        {
            "custom_id": f"{n}",
            "method": "POST",
            "url": "/v1/embeddings",
            "body": {"model": server.model, "input": ["a"] * count},
        }
        for n, count in enumerate((25_000, 25_001))
    ]

    [told] = server.errors(jsonl(*rows), endpoint="/v1/embeddings")

    assert "50,000" in told["message"]


@proves("B-23", "E-25")
def test_all_lines_of_a_file_name_one_model(local_site: LocalServer) -> None:
    local_site.site.run("addmodel", "other", "--source", "example/other")
    try:
        lines = jsonl(
            local_site.request("a"),
            local_site.request("b", model="other"),
            local_site.request("c"),
        )

        [told] = local_site.errors(lines)
    finally:
        local_site.site.query("DELETE FROM jobs_servedmodel WHERE name = 'other'")

    assert (told["code"], told["line"]) == ("mismatched_model", 2)
    assert "does not match the rest of the batch" in told["message"]


@proves("B-24", "B-25", "L-04", "L-07", "L-08")
def test_a_batch_expires_with_what_was_answered(
    local_site: LocalServer, halves: dict[str, dict[str, Any]]
) -> None:
    batch = halves["expired"]

    expired = local_site.wait(batch)

    _, shown = ok(Batch, local_site.http.get(f"/batches/{batch['id']}"))
    assert shown["status"] == "expired"
    assert shown["expired_at"] >= shown["expires_at"]
    check_halves(local_site, expired, "batch_expired")
    rows = local_site.rows(expired["error_file_id"])
    assert [row["error"] for row in rows] == [EXPIRED] * 4
    assert error(local_site.post(f"/batches/{batch['id']}/cancel"))[0] == 409


@proves("B-26")
def test_too_many_batches_in_an_hour_wait(local_site: LocalServer) -> None:
    file_id = local_site.upload(b"{}\n")["id"]
    made = local_site.create(file_id)
    site = local_site.site
    site.query("UPDATE accounts_team SET max_batches_per_hour = 1 WHERE name = 'Blue'")
    try:
        answer = local_site.create(file_id)
    finally:
        site.query(
            "UPDATE accounts_team SET max_batches_per_hour = NULL WHERE name = 'Blue'"
        )

    assert made.status_code == 200
    assert error(answer)[0] == 429
    assert 0 < int(answer.headers["retry-after"]) <= 3600


@proves("B-05", "B-27")
@pytest.mark.parametrize("seconds", [None, 3600, 2_592_000])
def test_result_files_expire_after_their_own_creation(
    server: Server, seconds: int | None
) -> None:
    life = seconds and {"anchor": "created_at", "seconds": seconds}
    good, bad = server.request("a"), server.request("b", **REFUSED)

    batch = server.run(jsonl(good, bad), output_expires_after=life)

    for role in ("output", "error"):
        file = server.http.get(f"/files/{batch[f'{role}_file_id']}").json()
        assert file["expires_at"] == file["created_at"] + (seconds or 30 * DAY)
        assert file["created_at"] >= batch["created_at"]


@proves("L-02", "L-03", "L-05", "L-06", "L-07", "L-08")
def test_each_request_has_its_own_answer_once(server: Server) -> None:
    good = [server.request(f"good {n}", f"Say {n}.") for n in range(20)]
    bad = [server.request(f"bad {n}", f"Say {n}.", **REFUSED) for n in range(3)]
    same = [server.request(f"same {n}", "Twice.", temperature=0) for n in range(3)]

    batch = server.run(jsonl(*good[:10], *bad, *same, *good[10:]))

    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 26, "completed": 23, "failed": 3}
    everyone = sorted(line["custom_id"] for line in [*good, *bad, *same])
    assert custom_ids(server, batch) == everyone
    output = {row["custom_id"]: row for row in server.rows(batch["output_file_id"])}
    assert len({row["id"] for row in output.values()}) == 23
    for row in output.values():
        assert set(row) == {"id", "custom_id", "response", "error"}
        assert row["id"].startswith("batch_req_")
        assert row["error"] is None
        assert row["response"]["status_code"] == 200
        assert row["response"]["request_id"]
        assert isinstance(row["response"]["body"], dict)
        assert row["response"]["body"]["object"] == "chat.completion"
    for row in server.rows(batch["error_file_id"]):
        assert set(row) == {"id", "custom_id", "response", "error"}
        assert row["error"] is None
        assert row["response"]["status_code"] == 400
        assert isinstance(row["response"]["body"]["error"]["message"], str)


@proves("L-05")
def test_answers_are_joined_by_custom_id(local_site: LocalServer) -> None:
    texts = {f"row {n}": f"This is {n}." for n in range(30)}
    lines = [local_site.request(name, text) for name, text in texts.items()]

    batch = local_site.run(jsonl(*lines))

    # The test engine says what it was told.
    assert texts == {
        row["custom_id"]: row["response"]["body"]["choices"][0]["message"]["content"]
        for row in local_site.rows(batch["output_file_id"])
    }


@proves("L-03", "L-08")
def test_the_engines_refusal_comes_as_it_was_said(local_site: LocalServer) -> None:
    line = local_site.request("long", "x", max_tokens=100_000)

    batch = local_site.run(jsonl(line))

    [row] = local_site.rows(batch["error_file_id"])
    assert row["error"] is None
    assert row["response"]["status_code"] == 400
    told = row["response"]["body"]["error"]
    assert set(told) == {"message", "type", "param", "code"}
    assert told["param"] == "max_tokens"
    assert "maximum context length" in told["message"]


@proves("L-01")
def test_the_body_reaches_the_engine_and_comes_back_whole(server: Server) -> None:
    line = server.request("ö 1", "Sag \U0001f600.", temperature=0, seed=7, stop=["\n"])
    assert set(line) == {"custom_id", "method", "url", "body"}
    assert line["url"] == CHAT
    raw = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()

    batch = server.run(b"\xef\xbb\xbf" + raw + b"\r\n\r\n")

    assert batch["request_counts"]["completed"] == 1
    [row] = server.rows(batch["output_file_id"])
    assert row["custom_id"] == "ö 1"
