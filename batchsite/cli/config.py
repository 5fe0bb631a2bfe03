# SPDX-License-Identifier: Apache-2.0
"""Which site, and with which key: the environment, else what `batchsite login` stored.

The variables are the client's own; the site's settings are in batchsite/settings.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .problems import Problem, Unreachable

LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Access:
    """A site's address, without /v1, and a key of it."""

    url: str
    key: str

    def __repr__(self) -> str:
        return f"Access({self.url})"


def folder(kind: str, default: str) -> Path:
    """Our part of one of the XDG folders: CONFIG or STATE."""
    named = os.environ.get(f"XDG_{kind}_HOME", "")
    # Relative ones are to be ignored, says the XDG specification.
    base = Path(named) if Path(named).is_absolute() else Path.home() / default
    return base / "batchsite"


def path() -> Path:
    """The file that `login` writes."""
    return folder("CONFIG", ".config") / "config.json"


def clean_url(given: str) -> str:
    """An address as people paste it, without /v1 and slashes at the end; Problem if none."""
    url = given.strip()
    if "://" not in url:
        url = f"http://{url}" if _host(f"//{url}") in LOCAL else f"https://{url}"
    url = url.rstrip("/").removesuffix("/v1").rstrip("/")
    if urlsplit(url).scheme not in ("http", "https") or not _host(url):
        raise Problem(f"{given} is no address like https://batchsite.example.com.")
    return url


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        # Reading the port is what checks it.
        _ = parts.port
    except ValueError:
        return ""
    return parts.hostname or ""


def travels_in_clear(url: str) -> bool:
    """Whether the key would go over a network without encryption."""
    return urlsplit(url).scheme == "http" and _host(url) not in LOCAL


def access() -> Access:
    """What the commands work with; Unreachable, with what to do, when it is not known."""
    url = os.environ.get("BATCHSITE_URL", "")
    key = os.environ.get("BATCHSITE_API_KEY", "")
    kept = None if url and key else stored()
    if url:
        url = clean_url(url)
        if not key and kept is not None and kept.url != url:
            # A key is never sent to another site than its own.
            raise Unreachable(
                f"BATCHSITE_URL is {url}, and you are signed in to {kept.url}."
                " Set BATCHSITE_API_KEY too, or run: batchsite login"
            )
    elif kept is not None:
        url = kept.url
    key = key or (kept.key if kept else "")
    if not url or not key:
        missing = "BATCHSITE_API_KEY is missing" if url else "You are not signed in"
        raise Unreachable(f"{missing}. Run: batchsite login")
    return Access(url, key)


def stored() -> Access | None:
    """What `login` stored; Problem when the file is broken."""
    try:
        found = json.loads(path().read_text())
        return Access(str(found["url"]), str(found["api_key"]))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Problem(f"{path()} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Problem(f"{path()} is broken. Run: batchsite login") from error


def store(given: Access) -> None:
    """Keep it for this person alone."""
    write_private(path(), json.dumps({"url": given.url, "api_key": given.key}) + "\n")


def forget() -> bool:
    """Remove what `login` stored; False when there was nothing."""
    try:
        path().unlink()
    except FileNotFoundError:
        return False
    return True


def write_private(target: Path, text: str) -> None:
    """Replace a file as a whole, in mode 600 from its first byte on."""
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp makes it with mode 600.
        number, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
    except OSError as error:
        raise Problem(f"{target} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(number, "w") as file:
            file.write(text)
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
