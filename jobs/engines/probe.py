# SPDX-License-Identifier: Apache-2.0
"""Short questions to an engine, for callers without an event loop."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from .client import Answer, AnswerTooLarge, EngineClient, EngineUnreachable


class BadAnswer(Exception):
    """The server answered, but not as an OpenAI-compatible engine does; in words."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What an engine says about itself."""

    models: list[str] = field(default_factory=list)
    version: str = ""


def health(client: EngineClient, *, timeout: float = 2) -> int:
    """The status of /health; 0 when there is no answer within `timeout` seconds."""
    try:
        return asyncio.run(_get(client, "/health", timeout)).status
    except (EngineUnreachable, AnswerTooLarge):
        return 0


def metrics(client: EngineClient, *, timeout: float = 2) -> str:
    """The text of /metrics; "" when there is none."""
    try:
        answer = asyncio.run(_get(client, "/metrics", timeout))
    except (EngineUnreachable, AnswerTooLarge):
        return ""
    return answer.body.decode(errors="replace") if answer.status == 200 else ""


def identity(client: EngineClient, *, timeout: float = 10) -> Identity:
    """The engine's models and version.

    Raises EngineUnreachable, or BadAnswer when /v1/models is refused or no list.
    """
    return asyncio.run(_identity(client, timeout))


def load_adapter(
    client: EngineClient, *, name: str, source: str, timeout: float
) -> str:
    """Have vLLM serve a LoRA adapter by that name; "" or its reason why not.

    Raises EngineUnreachable when there is no answer within `timeout` seconds.
    """
    body = json.dumps({"lora_name": name, "lora_path": source}).encode()
    answer = asyncio.run(_post(client, "/v1/load_lora_adapter", body, timeout))
    if answer.status == 200:
        return ""
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"it answers with status {answer.status}"


async def _post(client: EngineClient, path: str, body: bytes, timeout: float) -> Answer:
    async with client:
        return await client.post(path, body, timeout=timeout)


async def _get(client: EngineClient, path: str, timeout: float) -> Answer:
    async with client:
        return await client.get(path, timeout=timeout)


async def _identity(client: EngineClient, timeout: float) -> Identity:
    async with client:
        listed = await client.get("/v1/models", timeout=timeout)
        names = model_names(listed)
        try:
            told = (await client.get("/version", timeout=timeout)).json()
        except (EngineUnreachable, ValueError):
            told = {}
    version = told.get("version", "") if isinstance(told, dict) else ""
    return Identity(models=names, version=str(version)[:100])


def model_names(answer: Answer) -> list[str]:
    """The ids in an answer of /v1/models; BadAnswer with the reason when there are none."""
    if answer.status in (401, 403):
        raise BadAnswer(f"it refuses the API key ({answer.status})")
    if answer.status != 200:
        raise BadAnswer(f"/v1/models answers with status {answer.status}")
    try:
        body: Any = answer.json()
        names = [str(model["id"]) for model in body["data"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BadAnswer("/v1/models does not answer with a list of models") from error
    if not names:
        raise BadAnswer("it serves no model")
    return names
