# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.urls import URLPattern, path

from . import datasets, feeds, items, judges, marks, queues, rubrics

# under /v1/curation/, without a slash at the end as all of the API
curation_api_urls: list[URLPattern] = [
    path("rubrics", rubrics.rubric_collection, name="api-rubrics"),
    path("rubrics/<str:rubric_id>", rubrics.rubric_detail, name="api-rubric"),
    path("queues", queues.queue_collection, name="api-queues"),
    path("queues/<str:queue_id>", queues.queue_detail, name="api-queue"),
    path("queues/<str:queue_id>/feeds", feeds.queue_feeds, name="api-queue-feeds"),
    path("queues/<str:queue_id>/rules", feeds.queue_rules, name="api-queue-rules"),
    path("rules/<str:rule_id>", feeds.rule_detail, name="api-rule"),
    path("queues/<str:queue_id>/items", items.item_collection, name="api-queue-items"),
    path("queues/<str:queue_id>/next", items.queue_next, name="api-queue-next"),
    path("queues/<str:queue_id>/undo", items.queue_undo, name="api-queue-undo"),
    path("queues/<str:queue_id>/rework", queues.queue_rework, name="api-queue-rework"),
    path(
        "queues/<str:queue_id>/label_studio/config",
        queues.label_studio_config,
        name="api-queue-label-studio-config",
    ),
    path(
        "queues/<str:queue_id>/label_studio/tasks",
        queues.label_studio_tasks,
        name="api-queue-label-studio-tasks",
    ),
    path(
        "queues/<str:queue_id>/agreement",
        queues.queue_agreement,
        name="api-queue-agreement",
    ),
    path(
        "queues/<str:queue_id>/judge_runs",
        judges.judge_runs,
        name="api-queue-judge-runs",
    ),
    path("judge_runs/<str:judge_run_id>", judges.judge_run, name="api-judge-run"),
    path("items/<str:item_id>", items.item_detail, name="api-item"),
    path(
        "items/<str:item_id>/responses", items.item_responses, name="api-item-responses"
    ),
    path("items/<str:item_id>/skip", items.item_skip, name="api-item-skip"),
    path(
        "items/<str:item_id>/resolution",
        items.item_resolution,
        name="api-item-resolution",
    ),
    path("marks", marks.mark_collection, name="api-marks"),
    path("datasets", datasets.dataset_collection, name="api-datasets"),
    path("datasets/<str:dataset_id>", datasets.dataset_detail, name="api-dataset"),
    path(
        "datasets/<str:dataset_id>/versions",
        datasets.dataset_versions,
        name="api-dataset-versions",
    ),
]
