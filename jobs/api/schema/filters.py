# SPDX-License-Identifier: Apache-2.0
"""Which results of a batch are meant, as bodies say it."""

from __future__ import annotations

from jobs.result_search import FINISH_REASONS

from .objects import noted, one_of, some, text

RESULT_FILTER = some(
    outcome=one_of(("completed", "failed")),
    error_class=text(200, least=1),
    finish_reason=one_of(FINISH_REASONS),
    words=text(200, least=1),
    place=one_of(("answers", "requests", "ids")),
    check=noted("NAME:failed of a row check; :failed of any.", text(200, least=1)),
)
