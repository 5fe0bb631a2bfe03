from __future__ import annotations

from collections import Counter
from typing import Any

from django.db import migrations
from django.db.models import Case, F, Value, When
from django.db.models.functions import Cast, Concat
from django.db.models.fields import CharField

SLICE = 1000


def fill(apps: Any, schema_editor: Any) -> None:
    """Give rows that failed before their class, and count them by hour.

    By our own code or the engine's status: old error objects are not read again.
    """
    Result = apps.get_model("jobs", "Result")
    FailureCount = apps.get_model("jobs", "FailureCount")
    counts: Counter[Any] = Counter()
    newest: dict[Any, Any] = {}
    last = 0
    failed = Result.objects.filter(outcome="failed").order_by("pk")
    while rows := list(
        failed.filter(pk__gt=last).values_list(
            "pk", "batch_id", "error_code", "status_code", "created_at"
        )[:SLICE]
    ):
        for pk, batch, code, status, at in rows:
            hour = at.replace(minute=0, second=0, microsecond=0)
            key = (batch, code or f"http_{status}", hour)
            counts[key] += 1
            newest[key] = max(newest.get(key, at), at)
            last = pk
        failed.filter(pk__gte=rows[0][0], pk__lte=last).update(
            error_class=Case(
                When(error_code="", then=Concat(
                    Value("http_"), Cast(F("status_code"), CharField())
                )),
                default=F("error_code"),
            )
        )
    for (batch, word, hour), rows in counts.items():
        FailureCount.objects.create(
            batch_id=batch, error_class=word, hour=hour, rows=rows,
            newest_at=newest[batch, word, hour],
        )


class Migration(migrations.Migration):
    dependencies = [("jobs", "0013_error_classes")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
