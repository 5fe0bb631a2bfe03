# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.urls import URLPattern, path

from . import views

# included at the root
job_urls: list[URLPattern] = [
    path("batches/", views.batch_list, name="batch-list"),
    path("batches/<str:code>/", views.batch_detail, name="batch-detail"),
    path("batches/<str:code>/cancel/", views.batch_cancel, name="batch-cancel"),
    path(
        "batches/<str:code>/error-report/",
        views.batch_error_report,
        name="batch-error-report",
    ),
    path("files/<str:code>/download/", views.file_download, name="file-download"),
    path("engines/", views.engine_list, name="engine-list"),
]
