# SPDX-License-Identifier: Apache-2.0
"""`login` and `logout`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from . import config
from .printing import say
from .problems import Problem
from .session import site

Url = Annotated[
    str, typer.Argument(metavar="[URL]", help="The site, as in the browser.")
]


def login(url: Url = "") -> None:
    """Sign in to a site with an API key, and remember both.

    The key is asked for, or read from stdin in a script. A key is made in the browser:
    Team, API keys, New key.
    """
    asked = url or os.environ.get("BATCHSITE_URL", "") or _ask("Address of the site")
    address = config.clean_url(asked)
    if config.travels_in_clear(address):
        say(f"{address} is not encrypted: the key can be read on its way.", "yellow")
    key = os.environ.get("BATCHSITE_API_KEY", "") or _ask("API key", hidden=True)
    if not key.isascii() or not key.isprintable() or not key:
        raise Problem("That is no API key: they look like sk-bs-… and are ASCII.")
    given = config.Access(address, key)
    found = len(site(given).get("models")["data"])
    config.store(given)
    served = f"{found} model{'' if found == 1 else 's'}"
    say(f"Signed in to {address}, which serves {served}. Kept in {config.path()}.")


def logout() -> None:
    """Forget the key that `login` stored. It stays valid until it is revoked."""
    if config.forget():
        say(
            f"Removed {config.path()}. To end the key itself, revoke it in the browser."
        )
    else:
        say("Nothing was stored.")


def _ask(what: str, *, hidden: bool = False) -> str:
    """From the person, or a line from stdin where nobody can answer."""
    if sys.stdin.isatty():
        return str(typer.prompt(what, hide_input=hidden, err=True)).strip()
    return sys.stdin.readline().strip()
