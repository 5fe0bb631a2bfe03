# SPDX-License-Identifier: Apache-2.0
"""The only module that speaks HTTP to an engine, managed or external."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobs.models import Engine

ANSWER_LIMIT = 16_000_000
# Below the 5 s after which uvicorn, vLLM's server, closes an idle connection: a request
# on a connection that is just being closed would look like the death of the engine.
KEEPALIVE_SECONDS = 3


class EngineUnreachable(Exception):
    """No usable HTTP answer: refused, reset, cut off, or not the engine we meant."""


class EngineRefused(EngineUnreachable):
    """No connection: the request never reached the engine."""


class EngineTimeout(EngineUnreachable):
    """The engine took the request and did not answer in time."""


class AnswerTooLarge(Exception):
    """The answer is longer than 16 MB."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and the body as received."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """The parsed body; ValueError when it is not JSON."""
        return orjson.loads(self.body)


def root_url(url: str) -> str:
    """An engine's address without a trailing slash or `/v1`; both ways of writing are fine."""
    return url.strip().rstrip("/").removesuffix("/v1").rstrip("/")


class EngineClient:
    """One engine's connection pool; use as an async context manager in one event loop."""

    def __init__(
        self,
        *,
        base_url: str = "",
        socket_path: str = "",
        api_key: str = "",
        connections: int = 0,
    ) -> None:
        self.root = "http://engine" if socket_path else root_url(base_url)
        self._socket_path = socket_path
        self._connections = connections
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def of(cls, engine: Engine, *, connections: int = 0) -> Self:
        """The client for an engine row; reads the key from the named variable."""
        return cls(
            base_url=engine.base_url,
            socket_path="" if engine.base_url else engine.socket_path,
            api_key=os.environ.get(engine.api_key_env, "")
            if engine.api_key_env
            else "",
            connections=connections,
        )

    async def __aenter__(self) -> Self:
        connector = (
            aiohttp.UnixConnector(
                self._socket_path,
                limit=self._connections,
                keepalive_timeout=KEEPALIVE_SECONDS,
            )
            if self._socket_path
            else aiohttp.TCPConnector(
                limit=self._connections, keepalive_timeout=KEEPALIVE_SECONDS
            )
        )
        self._session = aiohttp.ClientSession(
            connector=connector, headers=self._headers, auto_decompress=True
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self, method: str, path: str, *, body: bytes | None = None, timeout: float
    ) -> Answer:
        """Send one request and read the whole answer.

        `timeout` is in seconds over everything. Raises EngineRefused, EngineTimeout,
        EngineUnreachable or AnswerTooLarge; every HTTP status is an Answer.
        """
        if self._session is None:
            raise RuntimeError("EngineClient is used outside its 'async with'.")
        try:
            async with self._session.request(
                method,
                f"{self.root}{path}",
                data=body,
                timeout=aiohttp.ClientTimeout(total=timeout),
                allow_redirects=False,
            ) as r:
                content = await self._read(r)
                return Answer(r.status, content, r.headers)
        except aiohttp.ClientConnectorError as error:
            raise EngineRefused(f"no connection: {error}") from error
        except TimeoutError as error:
            raise EngineTimeout(f"no answer within {timeout:.0f} s") from error
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise EngineUnreachable(
                f"{type(error).__name__}: {error}".rstrip(": ")
            ) from error

    async def _read(self, r: aiohttp.ClientResponse) -> bytes:
        if (r.content_length or 0) > ANSWER_LIMIT:
            raise AnswerTooLarge
        parts: list[bytes] = []
        size = 0
        async for part in r.content.iter_any():
            size += len(part)
            if size > ANSWER_LIMIT:
                raise AnswerTooLarge
            parts.append(part)
        return b"".join(parts)

    async def get(self, path: str, *, timeout: float = 10) -> Answer:
        return await self.request("GET", path, timeout=timeout)

    async def post(self, path: str, body: bytes, *, timeout: float) -> Answer:
        return await self.request("POST", path, body=body, timeout=timeout)
