# SPDX-License-Identifier: Apache-2.0
"""A site's web process alone: gunicorn as `manage.py up` starts it, without workers."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.processes import child_setup
from tests.postgres import free_port
from tests.site import ROOT, Process, Site, wait_for

_names = itertools.count()


@dataclass
class WebServer:
    """gunicorn on a port of its own, and a key of team Blue."""

    site: Site
    process: Process
    port: int
    key: str

    def connect(self) -> socket.socket:
        """An open connection; reads give up after 60 s."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def head(self, path: str, *headers: str) -> bytes:
        """The beginning of a POST request with the key."""
        lines = [
            f"POST {path} HTTP/1.1",
            "Host: localhost",
            "Connection: close",
            f"Authorization: Bearer {self.key}",
            *headers,
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def send(self, pieces: Iterable[bytes], *, close: bool = False) -> Answer:
        """Send the pieces, with `close` also an end of what comes; the whole answer."""
        with self.connect() as connection:
            # A server that refuses a request need not take all of it.
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    connection.sendall(piece)
                if close:
                    connection.shutdown(socket.SHUT_WR)
            return read_answer(connection)

    def files(self) -> list[str]:
        """Names of the files that the site's database knows."""
        rows = self.site.query("SELECT filename FROM jobs_batchfile ORDER BY id")
        return [row["filename"] for row in rows]

    def bytes_kept(self) -> list[Path]:
        """What lies in the spool and the storage."""
        folders = (self.site.folder / name for name in ("spool", "files"))
        return [p for folder in folders for p in folder.rglob("*") if p.is_file()]

    def peak_kib(self) -> int:
        """The largest memory that any of its processes held, in KiB."""
        pids = [self.process.pid, *children_of(self.process.pid)]
        return max(peak_memory(pid) for pid in pids)


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The message of OpenAI's error envelope."""
        return str(self.json()["error"]["message"])


def read_answer(connection: socket.socket) -> Answer:
    """All that the server sends until it closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(1 << 16):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Answer(int(first.split(" ")[1]) if first else 0, headers, body)


def chunked(pieces: Iterable[bytes]) -> Iterable[bytes]:
    """The pieces as HTTP chunks, without the last one that ends a body."""
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)


def multipart(content: bytes, *, name: str = "in.jsonl") -> tuple[bytes, bytes, bytes]:
    """Beginning, content and end of an upload's body; the boundary is `b`."""
    head = (
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="'
        + name.encode()
        + b'"\r\nContent-Type: application/jsonl\r\n\r\n'
    )
    return head, content, b"\r\n--b--\r\n"


def children_of(pid: int) -> list[int]:
    """Direct children of a process."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def peak_memory(pid: int) -> int:
    """The most memory that a living process has held so far, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (one for one in status.splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1])


def new_key(site: Site) -> str:
    """A key of team Blue, which is made when it is missing."""
    return site.run(
        *("createapikey", "--team", "Blue", "--user", "owner@example.com"),
        *("--name", "test"),
    ).stdout.splitlines()[-1]


def serve(
    site: Site,
    *,
    app: str = "batchsite.wsgi",
    key: str = "",
    port: int = 0,
    **env: str,
) -> WebServer:
    """Start gunicorn on the site and wait until it answers; makes a key without one."""
    port = port or free_port()
    key = key or new_key(site)
    path = site.folder / f"gunicorn-{next(_names)}.log"
    with path.open("wb") as log:
        popen = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", app),
                *(
                    "--bind",
                    f"127.0.0.1:{port}",
                    "--worker-class",
                    "batchsite.webworker.Worker",
                ),
                *("--workers", "1", "--threads", "4", "--chdir", str(ROOT)),
                *("--log-level", "warning", "--no-control-socket"),
            ],
            cwd=ROOT,
            env=site.env(**env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=child_setup(signal.SIGKILL),
        )
    process = Process(popen, path)
    site.processes.append(process)
    server = WebServer(site, process, port, key)

    def answers() -> bool:
        if popen.poll() is not None:
            raise AssertionError(process.log())
        try:
            server.connect().close()
        except OSError:
            return False
        return True

    wait_for(answers, timeout=60, what="gunicorn")
    return server
