# SPDX-License-Identifier: Apache-2.0
"""How good an answer is, from 0 to 1: the metrics of suites.

A scorer is a plain function of the answer's text and of the reference; it raises
NotScored where there is nothing to compare with. An answer that has no text is not good:
it gets 0 from every metric and reaches no scorer.
"""

from __future__ import annotations

from .kinds import KINDS
from .metrics import OVERALL, Metric, read, read_kept, score, scored

__all__ = ["KINDS", "OVERALL", "Metric", "read", "read_kept", "score", "scored"]
