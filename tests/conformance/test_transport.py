# SPDX-License-Identifier: Apache-2.0
"""T: what breaks clients before any object is read."""

from __future__ import annotations

import uuid

import pytest
from httpx2 import Client, Response

from .proof import proves
from .server import LocalServer, Server, error, jsonl
from .strict import (
    Batch,
    BatchPage,
    FileDeleted,
    FileObject,
    FilePage,
    Model,
    ModelPage,
    ok,
    strict,
)


@proves("T-01", "B-06")
def test_paths_work_without_a_slash_at_the_end(server: Server) -> None:
    data = server.requests(1)
    sent = server.send(data)
    file_id = sent.json()["id"]
    made = server.create(file_id)
    batch_id = made.json()["id"]
    answers = [
        sent,
        made,
        server.http.get("/files"),
        server.http.get(f"/files/{file_id}"),
        server.http.get(f"/files/{file_id}/content"),
        server.http.get("/batches"),
        server.http.get(f"/batches/{batch_id}"),
        server.post(f"/batches/{batch_id}/cancel"),
    ]
    # A batch that was quicker than the cancel refuses it, and a redirect is neither.
    assert {r.status_code for r in answers[:-1]} == {200}
    assert answers[-1].status_code in (200, 409)
    assert answers[4].content == data
    for answer in answers:
        assert not answer.history


@proves("T-02", "F-13")
def test_content_comes_to_a_client_that_accepts_binary_only(server: Server) -> None:
    data = jsonl({"a": "ä\u2028"}, b'{"b": 1}\r')
    file_id = server.upload(data)["id"]

    answer = server.http.get(
        f"/files/{file_id}/content", headers={"Accept": "application/binary"}
    )

    assert answer.status_code == 200
    assert answer.content == data
    assert server.client.files.content(file_id).read() == data


@proves("T-03", "F-01", "F-07")
def test_the_sdk_sets_a_files_life_by_bracketed_fields(server: Server) -> None:
    file = server.client.files.create(
        file=("in.jsonl", server.requests(1)),
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 7200},
    )

    assert file.expires_at == file.created_at + 7200


@proves("T-04", "F-09", "F-10")
def test_the_sdk_walks_through_all_pages_of_files(server: Server) -> None:
    made = [server.upload(b"x", name=f"{n}.txt", purpose="user_data") for n in range(5)]
    expected = [file["id"] for file in reversed(made)]

    walked = [
        file.id
        for _, file in zip(
            range(5),
            server.client.files.list(purpose="user_data", limit=2),
            strict=False,
        )
    ]
    assert walked == expected
    page = server.http.get("/files", params={"purpose": "user_data", "limit": 2}).json()
    assert (page["first_id"], page["last_id"]) == (expected[0], expected[1])
    assert page["has_more"] is True
    params = {"purpose": "user_data", "limit": 2, "after": page["last_id"]}
    page = server.http.get("/files", params=params).json()
    assert [file["id"] for file in page["data"]] == expected[2:4]


@proves("T-04", "B-16", "B-17")
def test_the_sdk_walks_through_all_pages_of_batches(server: Server) -> None:
    file_id = server.upload(server.requests(1))["id"]
    made = [server.create(file_id).json()["id"] for _ in range(5)]

    walked = [
        batch.id
        for _, batch in zip(range(5), server.client.batches.list(limit=2), strict=False)
    ]

    assert walked == made[::-1]


def everything_refused(server: Server) -> dict[str, Response]:
    """An answer for each way in which a request can be refused."""
    nobody = Client(base_url=server.url, timeout=60)
    wrong = {"Authorization": f"Bearer {server.key[:-4]}0000"}
    plain = {"Content-Type": "text/plain"}
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    with nobody:
        return {
            "no key": nobody.get("/files"),
            "wrong key": nobody.get("/batches", headers=wrong),
            "unknown path": server.http.get("/nothing/here"),
            "slash": server.http.get("/files/"),
            "wrong method": server.http.put("/files"),
            "wrong type": server.http.post("/batches", content=b"x", headers=plain),
            "no JSON": server.http.post(
                "/batches",
                content=b"{",
                headers={"Content-Type": "application/json"},
            ),
            "no multipart": server.http.post("/files", content=b"x", headers=form),
            "unknown file": server.http.get("/files/file-none"),
            "unknown batch": server.http.get("/batches/batch_none"),
            "no field": server.post("/batches", {}),
            "bad limit": server.http.get("/batches", params={"limit": "many"}),
            "bad cursor": server.http.get("/files", params={"after": "file-none"}),
        }


@proves("T-05")
def test_every_refusal_is_the_error_envelope(server: Server) -> None:
    told = {why: error(answer) for why, answer in everything_refused(server).items()}

    assert {why: status for why, (status, _, _) in told.items()} == {
        "no key": 401,
        "wrong key": 401,
        "unknown path": 404,
        "slash": 404,
        "wrong method": 405,
        "wrong type": 415,
        "no JSON": 400,
        "no multipart": 400,
        "unknown file": 404,
        "unknown batch": 404,
        "no field": 400,
        "bad limit": 400,
        "bad cursor": 400,
    }


@proves("T-05")
def test_refusals_by_right_and_by_size_are_the_envelope(
    local_site: LocalServer,
) -> None:
    reader = local_site.site.run(
        *("createapikey", "--team", "Blue", "--user", "owner@example.com"),
        *("--name", "reader", "--scope", "files:read"),
    ).stdout.splitlines()[-1]
    with Client(
        base_url=local_site.url, headers={"Authorization": f"Bearer {reader}"}
    ) as reading:
        assert reading.get("/files").status_code == 200
        assert error(reading.get("/batches"))[0] == 403
        assert error(reading.delete("/files/file-none"))[0] == 403
    large = local_site.post("/batches", {"metadata": {"a": "x" * 1_100_000}})
    assert error(large)[0] == 413
    # These the web server refuses by itself, and ends the connection: each has its own.
    for path, long, status in (
        ("/files", "x" * 100_000, 431),
        (f"/files?after={'x' * 10_000}", "", 414),
    ):
        with Client(base_url=local_site.url, headers={"X-Long": long}) as alone:
            assert error(alone.get(path))[0] == status


@proves("T-06", "E-10")
def test_a_conflict_tells_the_client_not_to_repeat_it(server: Server) -> None:
    failed = server.run(b"{}\n")

    answer = server.post(f"/batches/{failed['id']}/cancel")

    assert error(answer)[0] == 409
    assert answer.headers["x-should-retry"] == "false"


@proves("T-07")
def test_every_answer_has_a_request_id_of_its_own(server: Server) -> None:
    answers = [
        server.http.get("/models"),
        server.http.get("/files"),
        server.send(b"{}\n"),
        *everything_refused(server).values(),
    ]

    found = [answer.headers["x-request-id"] for answer in answers]

    assert all(found)
    assert len(set(found)) == len(answers)
    assert server.client.models.list()._request_id


@proves("T-08", "F-05")
def test_the_sdk_sees_a_file_get_ready(server: Server) -> None:
    file_id = server.upload(server.requests(1))["id"]

    ready = server.client.files.wait_for_processing(file_id, max_wait_seconds=60)

    assert ready.status == "processed"


@proves("T-09")
def test_a_repeated_create_makes_no_second_batch(server: Server) -> None:
    file_id = server.upload(server.requests(1))["id"]
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    body = {
        "input_file_id": file_id,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }

    first = server.http.post("/batches", json=body, headers=headers)
    again = server.http.post("/batches", json=body, headers=headers)
    other = server.http.post(
        "/batches", json=body | {"metadata": {"a": "b"}}, headers=headers
    )

    assert first.status_code == again.status_code == 200
    assert first.json()["id"] == again.json()["id"]
    assert error(other)[0] == 409
    newest = server.http.get("/batches", params={"limit": 2}).json()["data"]
    assert [batch["id"] for batch in newest].count(first.json()["id"]) == 1


@proves("T-10")
@pytest.mark.parametrize(
    "headers",
    [{}, {"OpenAI-Organization": "org-1"}, {"OpenAI-Project": "proj_1"}],
    ids=["neither", "organization", "project"],
)
def test_bearer_keys_work_beside_the_sdks_other_headers(
    server: Server, headers: dict[str, str]
) -> None:
    with Client(base_url=server.url, timeout=60) as client:
        bearer = {"Authorization": f"bearer {server.key}", **headers}

        answer = client.get("/models", headers=bearer)

    assert answer.status_code == 200
    assert server.model in [model["id"] for model in answer.json()["data"]]


@proves("T-11")
def test_every_answer_parses_strictly_as_the_sdks_type(server: Server) -> None:
    file, _ = ok(FileObject, server.send(server.requests(1)))
    batch, _ = ok(Batch, server.create(file.id))
    done = server.wait(server.batch(batch.id))
    ok(Batch, server.http.get(f"/batches/{batch.id}"))
    failed = server.run(b'{"custom_id": 1}\n')
    ok(Batch, server.http.get(f"/batches/{failed['id']}"))
    ok(FileObject, server.http.get(f"/files/{file.id}"))
    ok(FileObject, server.http.get(f"/files/{done['output_file_id']}"))
    ok(FilePage, server.http.get("/files", params={"limit": 5, "purpose": "batch"}))
    ok(FilePage, server.http.get("/files", params={"purpose": "vision"}))
    ok(BatchPage, server.http.get("/batches"))
    ok(ModelPage, server.http.get("/models"))
    ok(Model, server.http.get(f"/models/{server.model}"))
    deleted, _ = ok(FileDeleted, server.http.delete(f"/files/{file.id}"))
    assert deleted.deleted


@proves("T-11")
def test_the_strict_reading_notices_what_the_sdk_forgives() -> None:
    good = (
        '{"id": "file-1", "object": "file", "bytes": 1, "created_at": 1,'
        ' "filename": "a", "purpose": "batch", "status": "processed"}'
    )
    strict(FileObject, good)
    for old, new in (
        ('"bytes": 1', '"bytes": "1"'),
        (', "filename": "a"', ""),
        ('"processed"', '"ready"'),
        ('"created_at": 1', '"created_at": 1.5'),
        ('"created_at": 1', '"created_at": null'),
    ):
        with pytest.raises(ValueError, match="validation error"):
            strict(FileObject, good.replace(old, new))
