from __future__ import annotations

from collections import Counter
from typing import Any

from django.db import migrations
from django.db.models import Exists, OuterRef

SLICE = 1000


def fill(apps: Any, schema_editor: Any) -> None:
    """Give older batches their engine time: of samples, or what their estimate says.

    Samples are kept for 30 days. Of batches before them only the sum is known, and its
    hour is that of their end. Requests and tokens are counted by a chore, later.
    """
    Usage = apps.get_model("jobs", "Usage")
    Sample = apps.get_model("jobs", "ThroughputSample")
    Estimate = apps.get_model("jobs", "BatchEstimate")
    who = ("batch__team_id", "batch__owner_id", "batch__model")
    used: Counter[Any] = Counter()
    samples = Sample.objects.filter(engine_seconds__gt=0)
    for *key, at, seconds in samples.values_list(
        *who, "at", "engine_seconds"
    ).iterator(SLICE):
        used[*key, _hour(at)] += seconds
    sampled = Sample.objects.filter(batch=OuterRef("batch"))
    alone = Estimate.objects.filter(
        ~Exists(sampled), ran_seconds__gt=0, batch__closed_at__isnull=False
    )
    for *key, at, seconds in alone.values_list(
        *who, "batch__closed_at", "ran_seconds"
    ).iterator(SLICE):
        used[*key, _hour(at)] += seconds
    Usage.objects.bulk_create(
        (
            Usage(team_id=team, user_id=user, model=model, hour=hour,
                  engine_seconds=seconds)
            for (team, user, model, hour), seconds in used.items()
        ),
        batch_size=SLICE,
    )


def _hour(moment: Any) -> Any:
    return moment.replace(minute=0, second=0, microsecond=0)


class Migration(migrations.Migration):
    dependencies = [("jobs", "0020_usage")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
