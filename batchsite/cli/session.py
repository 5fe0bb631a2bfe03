# SPDX-License-Identifier: Apache-2.0
"""What the commands have in common: the site that they talk to."""

from __future__ import annotations

from . import config
from .api import Api
from .printing import say

_opened: list[Api] = []


def site(given: config.Access | None = None) -> Api:
    """The API of the site that the person is signed in to, or of the one given.

    Its connections are open until `leave`.
    """
    api = Api(given or config.access(), say=lambda why: say(why, style="yellow"))
    _opened.append(api)
    return api


def leave() -> None:
    """End the connections of the command."""
    while _opened:
        _opened.pop().close()
