# SPDX-License-Identifier: Apache-2.0
"""What past work says about coming work."""

from __future__ import annotations

from django.db.models import Sum

from .models import Measurement

# Used for sizing chunks only, until the model has been measured here.
DEFAULT_TOKENS_PER_SECOND = 1000.0


def tokens_per_second(model: str) -> float:
    """Output tokens a second of the model over its newest twenty measurements."""
    newest = Measurement.objects.filter(served_model__name=model).order_by("-pk")[:20]
    sums = Measurement.objects.filter(pk__in=newest.values("pk")).aggregate(
        tokens=Sum("output_tokens"), seconds=Sum("seconds")
    )
    if not sums["seconds"] or not sums["tokens"]:
        return DEFAULT_TOKENS_PER_SECOND
    return float(sums["tokens"]) / float(sums["seconds"])
