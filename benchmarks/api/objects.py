# SPDX-License-Identifier: Apache-2.0
"""Rows of benchmarks as objects of the API: every field present, times in unix seconds."""

from __future__ import annotations

from typing import Any

from benchmarks.models import Suite, SuiteItem, SuiteVersion
from jobs.api.serializers import unix

Object = dict[str, Any]


def suite_object(suite: Suite, version: SuiteVersion) -> Object:
    """A suite with what one version of it has, mostly its newest."""
    return {
        "id": suite.public_id,
        "object": "benchmark.suite",
        "name": suite.name,
        "version": version.number,
        "items": version.count,
        "url": version.url,
        "metrics": [metric.as_json() for metric in version.metrics],
        "source": version.source,
        "sha256": version.sha256,
        "archived": suite.archived_at is not None,
        "created_at": unix(suite.created_at),
        "version_created_at": unix(version.created_at),
    }


def item_object(item: SuiteItem) -> Object:
    """An item; the metrics are what is asked of it."""
    return {
        "object": "benchmark.item",
        "id": item.custom_id,
        "reference": None,
        "tags": [],
        **item.as_line(),
        "metrics": [metric.as_json() for metric in item.metrics],
    }
