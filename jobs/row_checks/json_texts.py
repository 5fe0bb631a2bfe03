# SPDX-License-Identifier: Apache-2.0
"""Answers that should be JSON, read as strictly as the standard."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from .outcome import CannotTell

# Longer answers are not parsed: what a million characters of JSON become is 50 MB.
ANSWER_CHARACTERS = 2_000_000


class NotJSON(ValueError):
    """The text is no JSON; the message says where."""


def parsed(text: str) -> Any:
    """The text as JSON, as strict as the standard; NotJSON, or CannotTell if too large."""
    if len(text) > ANSWER_CHARACTERS:
        raise CannotTell(f"longer than {ANSWER_CHARACTERS:,} characters")
    try:
        return json.loads(text, parse_constant=_no_constant)
    except NotJSON:
        raise
    except json.JSONDecodeError as error:
        raise NotJSON(f"{error.msg} at character {error.pos + 1:,}") from None
    except RecursionError:
        raise CannotTell("nested too deeply to be read") from None
    except ValueError:
        raise CannotTell("a number is too long to be read") from None


def _no_constant(name: str) -> NoReturn:
    raise NotJSON(f"{name} is no JSON value")
