# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.urls import URLPattern, path

from . import (
    datasets,
    feeds,
    items,
    marks,
    panels,
    quality,
    queues,
    review,
    reworks,
    rubrics,
)

# included under reviews/
review_urls: list[URLPattern] = [
    path("", queues.queue_list, name="queue-list"),
    path("new/", queues.queue_new, name="queue-new"),
    path("<str:code>/", queues.queue_detail, name="queue-detail"),
    path("<str:code>/agreement/", quality.queue_quality, name="queue-quality"),
    path("<str:code>/judge/", quality.judge_new, name="judge-new"),
    path("<str:code>/settings/", queues.queue_settings, name="queue-settings"),
    path("<str:code>/state/", queues.queue_state, name="queue-state"),
    path(
        "<str:code>/label-studio/",
        queues.label_studio_file,
        name="queue-label-studio",
    ),
    path(
        "<str:code>/label-studio/take/",
        queues.label_studio_take,
        name="queue-label-studio-take",
    ),
    path("<str:code>/rework/", reworks.queue_rework, name="queue-rework"),
    path("<str:code>/rules/", feeds.rule_add, name="queue-rule-add"),
    path(
        "<str:code>/rules/<int:key>/remove/",
        feeds.rule_remove,
        name="queue-rule-remove",
    ),
    path("<str:code>/items/", items.item_list, name="queue-items"),
    path("<str:code>/items/change/", items.item_bulk, name="item-bulk"),
    path("<str:code>/items/<str:item>/", items.item_detail, name="item-detail"),
    path("<str:code>/items/<str:item>/decide/", items.item_decide, name="item-decide"),
    path("<str:code>/items/<str:item>/review/", review.review_item, name="review-item"),
    path("<str:code>/items/<str:item>/diff/", review.review_diff, name="review-diff"),
    path("<str:code>/review/", review.review, name="review"),
    path("<str:code>/review/undo/", review.review_undo, name="review-undo"),
    path("<str:code>/review/jump/", review.review_jump, name="review-jump"),
]

# included under rubrics/
rubric_urls: list[URLPattern] = [
    path("", rubrics.rubric_list, name="rubric-list"),
    path("new/", rubrics.rubric_new, name="rubric-new"),
    path("preview/", rubrics.rubric_preview, name="rubric-preview"),
    path("import/", rubrics.rubric_import, name="rubric-import"),
    path("<str:code>/", rubrics.rubric_detail, name="rubric-detail"),
    path("<str:code>/export/", rubrics.rubric_export, name="rubric-export"),
    path("<str:code>/archive/", rubrics.rubric_archive, name="rubric-archive"),
]

# included under datasets/
dataset_urls: list[URLPattern] = [
    path("", datasets.dataset_list, name="dataset-list"),
    path("new/", datasets.dataset_new, name="dataset-new"),
    path("<str:code>/", datasets.dataset_detail, name="dataset-detail"),
]

# included under marks/
mark_urls: list[URLPattern] = [
    path("", marks.mark_list, name="mark-list"),
    path("export/", marks.mark_export, name="mark-export"),
]

# included at the root
feed_urls: list[URLPattern] = [
    path(
        "batches/<str:code>/results/<int:index>/mark/",
        marks.mark_change,
        name="mark-change",
    ),
    path("batches/<str:code>/review/", panels.batch_review, name="batch-review"),
    path("batches/<str:code>/to-review/", feeds.feed_new, name="feed-new"),
]
