# SPDX-License-Identifier: Apache-2.0
"""What tests send: batch files and API clients."""

from __future__ import annotations

import json
from typing import Any

from rest_framework.test import APIClient

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import create_api_key
from tests.described import DescribedClient


def chat_lines(rows: int, *, model: str = "tiny") -> bytes:
    """A batch file of `rows` different chat requests."""
    lines = [
        {
            "custom_id": f"row-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": model,
                "messages": [{"role": "user", "content": f"Count to {number}."}],
            },
        }
        for number in range(rows)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def error_of(r: Any) -> tuple[int, str | None, str | None]:
    """Status, param and code of an answer that must be OpenAI's error envelope."""
    assert r["Content-Type"] == "application/json"
    assert r["x-request-id"].startswith("req_")
    assert set(r.json()) == {"error"}
    told = r.json()["error"]
    assert set(told) == {"message", "type", "param", "code"}
    kind = "server_error" if r.status_code >= 500 else "invalid_request_error"
    assert told["type"] == kind
    assert told["message"]
    return r.status_code, told["param"], told["code"]


def api_client(user: User, team: Team, **fields: Any) -> APIClient:
    """A client with a new key of that person for that team; `fields` are the key's.

    It gets a 500 as an answer, as a client on the network does, and fails on answers
    that the OpenAPI document does not describe.
    """
    token = create_api_key(team=team, user=user, name="test", **fields)
    client = DescribedClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client
