# SPDX-License-Identifier: Apache-2.0
"""What the commands have in common: the site that they talk to."""

from __future__ import annotations

from . import config
from .api import Api
from .printing import say


def site(given: config.Access | None = None) -> Api:
    """The API of the site that the person is signed in to, or of the one given."""
    access = given or config.access()
    return Api(access, say=lambda why: say(why, style="yellow"))
