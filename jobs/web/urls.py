# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.urls import URLPattern, path

from . import actions, check_actions, detail, engine_actions, views

# included at the root
job_urls: list[URLPattern] = [
    path("batches/", views.batch_list, name="batch-list"),
    path("batches/<str:code>/", detail.batch_detail, name="batch-detail"),
    path("batches/<str:code>/checks/", check_actions.batch_checks, name="batch-checks"),
    path(
        "batches/<str:code>/checks/add/",
        check_actions.batch_checks_add,
        name="batch-checks-add",
    ),
    path("batches/<str:code>/cancel/", actions.batch_cancel, name="batch-cancel"),
    path("batches/<str:code>/pause/", actions.batch_pause, name="batch-pause"),
    path("batches/<str:code>/resume/", actions.batch_resume, name="batch-resume"),
    path("batches/<str:code>/retry/", actions.batch_retry, name="batch-retry"),
    path(
        "batches/<str:code>/error-report/",
        views.batch_error_report,
        name="batch-error-report",
    ),
    path("files/<str:code>/download/", views.file_download, name="file-download"),
    path("engines/", views.engine_list, name="engine-list"),
    path("engines/<int:key>/pause/", engine_actions.engine_pause, name="engine-pause"),
    path("engines/<int:key>/drain/", engine_actions.engine_drain, name="engine-drain"),
    path(
        "engines/<int:key>/resume/", engine_actions.engine_resume, name="engine-resume"
    ),
]
