# SPDX-License-Identifier: Apache-2.0
"""The server under test: any base URL and key, or a whole site of our own."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any, cast

from httpx2 import Client, Response
from openai import OpenAI

from tests.e2e.client import Running
from tests.site import Site

FINAL = {"completed", "failed", "expired", "cancelled"}
CHAT = "/v1/chat/completions"


@dataclass
class Server:
    """Where the suite sends its requests, by the SDK and by plain HTTP."""

    url: str
    key: str
    model: str
    timeout: float = 60
    client: OpenAI = field(init=False)
    http: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = OpenAI(base_url=self.url, api_key=self.key, max_retries=0)
        self.http = Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=120,
        )

    def close(self) -> None:
        """Let go of the connections."""
        self.client.close()
        self.http.close()

    def send(
        self,
        data: bytes,
        *,
        name: str = "in.jsonl",
        purpose: str = "batch",
        **over: Any,
    ) -> Response:
        """POST /files; `over` are further form fields."""
        return self.http.post(
            "/files", files={"file": (name, data)}, data={"purpose": purpose, **over}
        )

    def upload(self, data: bytes, **over: Any) -> dict[str, Any]:
        """The file object of an upload that must succeed."""
        answer = self.send(data, **over)
        assert answer.status_code == 200, answer.text
        return cast("dict[str, Any]", answer.json())

    def post(self, path: str, body: Any = None) -> Response:
        """POST with a JSON body."""
        return self.http.post(path, json=body)

    def create(self, file_id: str, **over: Any) -> Response:
        """POST /batches; None leaves a field out."""
        body = {
            "input_file_id": file_id,
            "endpoint": CHAT,
            "completion_window": "24h",
        } | over
        return self.post("/batches", {k: v for k, v in body.items() if v is not None})

    def submit(self, data: bytes, **over: Any) -> dict[str, Any]:
        """The batch object of an accepted file, just made."""
        answer = self.create(self.upload(data)["id"], **over)
        assert answer.status_code == 200, answer.text
        return cast("dict[str, Any]", answer.json())

    def batch(self, batch_id: str) -> dict[str, Any]:
        """The batch object now."""
        answer = self.http.get(f"/batches/{batch_id}")
        assert answer.status_code == 200, answer.text
        return cast("dict[str, Any]", answer.json())

    def wait(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Poll until the status is final."""
        deadline = time.monotonic() + self.timeout
        while batch["status"] not in FINAL:
            assert time.monotonic() < deadline, f"not final in time: {batch}"
            time.sleep(0.2)
            batch = self.batch(batch["id"])
        return batch

    def run(self, data: bytes, **over: Any) -> dict[str, Any]:
        """Submit and wait for the end."""
        return self.wait(self.submit(data, **over))

    def errors(self, data: bytes, **over: Any) -> list[dict[str, Any]]:
        """The line errors of a file that must fail its batch."""
        batch = self.run(data, **over)
        assert batch["status"] == "failed", batch
        return cast("list[dict[str, Any]]", batch["errors"]["data"])

    def content(self, file_id: str) -> bytes:
        """The bytes of a file."""
        answer = self.http.get(f"/files/{file_id}/content")
        assert answer.status_code == 200, answer.text
        return answer.content

    def rows(self, file_id: str | None) -> list[dict[str, Any]]:
        """The parsed lines of a result file; none without a file."""
        if file_id is None:
            return []
        return [json.loads(line) for line in self.content(file_id).splitlines()]

    def request(
        self, custom_id: str, text: str = "hello", **body: Any
    ) -> dict[str, Any]:
        """An input line for a chat answer of few tokens."""
        return {
            "custom_id": custom_id,
            "method": "POST",
            "url": CHAT,
            "body": {
                "model": self.model,
                "messages": [{"role": "user", "content": text}],
                "max_tokens": 8,
            }
            | body,
        }

    def requests(self, count: int, **body: Any) -> bytes:
        """A file of that many chat requests, row-0 and so on."""
        return jsonl(
            *(self.request(f"row-{n}", f"Say {n}.", **body) for n in range(count))
        )


@dataclass
class LocalServer(Server):
    """Our own site, whose database and processes the tests may touch."""

    running: Running = field(kw_only=True)

    @property
    def site(self) -> Site:
        """The site's data folder, database and commands."""
        return self.running.site


def jsonl(*lines: Any) -> bytes:
    """The lines as a file; bytes go in as they are."""
    return b"".join(
        (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n"
        for line in lines
    )


def error(answer: Response) -> tuple[int, str | None, str | None]:
    """Status, param and code of an answer that must be OpenAI's error envelope."""
    assert answer.headers["content-type"].startswith("application/json"), answer.text
    assert answer.headers["x-request-id"]
    assert set(answer.json()) == {"error"}
    told = answer.json()["error"]
    assert set(told) == {"message", "type", "param", "code"}
    assert isinstance(told["message"], str)
    assert told["message"]
    assert isinstance(told["type"], str)
    return answer.status_code, told["param"], told["code"]


def message(answer: Response) -> str:
    """The words of an error."""
    return str(answer.json()["error"]["message"])
