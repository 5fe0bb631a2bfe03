# SPDX-License-Identifier: Apache-2.0
"""F: the Files API."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from .proof import proves
from .server import LocalServer, Server, error, jsonl
from .strict import FileDeleted, FileObject, FilePage, ok

DAY = 86_400
FILE_BYTES = 200_000_000


@proves("F-01", "F-06", "F-07")
@pytest.mark.parametrize("seconds", [3600, 2_592_000])
def test_an_upload_takes_a_life_within_bounds(server: Server, seconds: int) -> None:
    life = {"expires_after[anchor]": "created_at", "expires_after[seconds]": seconds}

    file = server.upload(b"x", purpose="user_data", **life)

    assert file["expires_at"] == file["created_at"] + seconds


@proves("F-01")
def test_an_upload_refuses_bad_and_unknown_fields(server: Server) -> None:
    anchor = {"expires_after[anchor]": "created_at"}
    line = b"{}\n"

    def told(**fields: str) -> tuple[int, str | None]:
        return error(server.send(line, **fields))[:2]

    assert told(more="x") == (400, "more")
    assert told(**anchor) == (400, "expires_after.seconds")
    assert told(**{"expires_after[seconds]": "3600"}) == (400, "expires_after.anchor")
    for seconds in ("3599", "2592001", "x", ""):
        life = anchor | {"expires_after[seconds]": seconds}
        assert told(**life) == (400, "expires_after.seconds")
    life = {"expires_after[anchor]": "now", "expires_after[seconds]": "3600"}
    assert told(**life) == (400, "expires_after.anchor")
    only_file = server.http.post("/files", files={"file": ("a.jsonl", line)})
    assert error(only_file)[:2] == (400, "purpose")
    only_purpose = server.http.post(
        "/files", data={"purpose": "batch"}, files={"x": ("a", b"")}
    )
    assert error(only_purpose)[0] == 400


@proves("F-02", "F-03")
@pytest.mark.parametrize(
    "purpose", ["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
)
def test_uploads_may_have_each_purpose(server: Server, purpose: str) -> None:
    file = server.upload(b"{}\n", purpose=purpose)

    # OpenAI's object has no `evals`, though its guide shows it: both may be answered.
    shown = {"evals", "user_data"} if purpose == "evals" else {purpose}
    assert file["purpose"] in shown


@proves("F-02")
@pytest.mark.parametrize("purpose", ["batch_output", "nothing", ""])
def test_uploads_for_other_purposes_are_refused(server: Server, purpose: str) -> None:
    assert error(server.send(b"{}\n", purpose=purpose))[:2] == (400, "purpose")


@proves("F-03", "F-04", "F-05", "F-06", "F-11")
def test_the_file_object_is_whole(server: Server) -> None:
    data = server.requests(2)
    before = int(time.time()) - 5
    _, sent = ok(FileObject, server.send(data, name="täst 1.jsonl"))

    _, shown = ok(FileObject, server.http.get(f"/files/{sent['id']}"))

    assert shown == sent
    assert set(sent) >= {
        *("id", "object", "bytes", "created_at", "filename", "purpose"),
        *("status", "expires_at", "status_details"),
    }
    assert sent["object"] == "file"
    assert sent["bytes"] == len(data)
    assert type(sent["created_at"]) is int
    assert sent["created_at"] >= before
    assert sent["filename"] == "täst 1.jsonl"
    assert sent["status"] in ("uploaded", "processed")
    assert sent["status_details"] is None


@proves("F-06", "F-07")
def test_only_batch_files_expire_by_themselves(server: Server) -> None:
    batch = server.upload(server.requests(1))
    other = server.upload(b"x", purpose="user_data")

    assert batch["expires_at"] - batch["created_at"] == 30 * DAY
    assert other["expires_at"] is None


@proves("F-08", "E-07")
def test_a_file_over_200_mb_is_refused_and_leaves_nothing(
    server: Server, tmp_path: Path
) -> None:
    newest = server.http.get("/files", params={"limit": 1}).json()

    with (tmp_path / "big").open("w+b") as big:
        # Zeros that take no room on the disk.
        big.truncate(FILE_BYTES + 1)
        answer = server.http.post(
            "/files", data={"purpose": "batch"}, files={"file": ("big.jsonl", big)}
        )

    assert error(answer)[0] == 400
    assert answer.json()["error"]["message"] == "File is too large."
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert server.http.get("/files", params={"limit": 1}).json() == newest


@proves("F-08", "E-07")
def test_a_team_may_have_a_smaller_limit(local_site: LocalServer) -> None:
    site = local_site.site
    site.query("UPDATE accounts_team SET max_file_bytes = 1000 WHERE name = 'Blue'")
    try:
        # A web process remembers a key's team for a second.
        time.sleep(1.5)
        within = local_site.send(b"x" * 1000, purpose="user_data")
        over = local_site.send(b"x" * 1001, purpose="user_data")
    finally:
        site.query("UPDATE accounts_team SET max_file_bytes = NULL WHERE name = 'Blue'")
        time.sleep(1.5)

    assert within.status_code == 200
    assert local_site.content(within.json()["id"]) == b"x" * 1000
    assert over.json()["error"]["message"] == "File is too large."


@proves("F-09", "F-10")
def test_the_file_list_filters_and_orders(server: Server) -> None:
    made = [server.upload(b"x", purpose="assistants")["id"] for _ in range(3)]
    where = {"purpose": "assistants"}

    _, newest = ok(FilePage, server.http.get("/files", params=where))
    oldest = server.http.get("/files", params=where | {"order": "asc"}).json()
    limited = server.http.get("/files", params=where | {"limit": 1}).json()

    assert [file["id"] for file in newest["data"][:3]] == made[::-1]
    assert [file["id"] for file in oldest["data"][-3:]] == made
    assert {file["purpose"] for file in newest["data"]} == {"assistants"}
    assert set(newest) == {"object", "data", "first_id", "last_id", "has_more"}
    assert newest["object"] == "list"
    assert newest["has_more"] is False
    assert newest["first_id"] == made[-1]
    assert (len(limited["data"]), limited["has_more"]) == (1, True)
    assert server.http.get("/files", params={"limit": 10_000}).status_code == 200


@proves("F-09")
@pytest.mark.parametrize(
    "params",
    [{"limit": 0}, {"limit": 10_001}, {"limit": "x"}, {"order": "up"}, {"after": "x"}],
    ids=str,
)
def test_the_file_list_refuses_bad_parameters(
    server: Server, params: dict[str, str]
) -> None:
    assert error(server.http.get("/files", params=params))[:2] == (
        400,
        next(iter(params)),
    )


@proves("F-10")
def test_an_empty_file_list_is_whole(server: Server) -> None:
    last = server.http.get("/files", params={"order": "asc", "limit": 1}).json()

    params = {"after": last["last_id"], "limit": 1}
    _, page = ok(FilePage, server.http.get("/files", params=params))

    assert page == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


@proves("F-12", "E-09")
def test_a_deleted_file_is_gone(server: Server) -> None:
    file_id = server.upload(b"{}\n")["id"]

    _, deleted = ok(FileDeleted, server.http.delete(f"/files/{file_id}"))

    assert deleted == {"id": file_id, "object": "file", "deleted": True}
    for answer in (
        server.http.get(f"/files/{file_id}"),
        server.http.get(f"/files/{file_id}/content"),
        server.http.delete(f"/files/{file_id}"),
    ):
        assert error(answer) == (404, "id", None)
    listed = server.http.get("/files", params={"limit": 20}).json()["data"]
    assert file_id not in [file["id"] for file in listed]


@proves("F-13", "T-02")
@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf{}\r\n\r\n{}",
        jsonl("\u2028ä\ud83d\ude00"),
        b"[1]\n" + bytes(range(256)) * 400,
    ],
    ids=["bom", "text", "bytes"],
)
def test_content_is_what_was_sent(server: Server, data: bytes) -> None:
    assert server.content(server.upload(data)["id"]) == data
    assert server.content(server.upload(data, purpose="user_data")["id"]) == data


@proves("F-14", "B-19")
def test_a_batch_goes_on_naming_its_deleted_output(server: Server) -> None:
    batch = server.run(server.requests(1))
    assert server.http.delete(f"/files/{batch['output_file_id']}").status_code == 200

    assert server.batch(batch["id"]) == batch
    assert error(server.post(f"/batches/{batch['id']}/cancel"))[0] == 409
    listed = server.http.get("/batches", params={"limit": 100}).json()["data"]
    assert batch in listed
