# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from . import (
    actions,
    batch_tabs,
    bulk,
    check_actions,
    deleted,
    detail,
    engine_actions,
    engine_day,
    new_check,
    new_start,
    new_table,
    new_uploads,
    results,
    views,
)

# batches/new/
new_urls: list[URLPattern] = [
    path("", new_start.batch_new, name="batch-new"),
    path("uploads/", new_uploads.upload_new, name="batch-new-upload"),
    path(
        "uploads/<str:code>/", new_uploads.upload_detail, name="batch-new-upload-detail"
    ),
    path(
        "uploads/<str:code>/parts/",
        new_uploads.upload_part,
        name="batch-new-upload-part",
    ),
    path(
        "uploads/<str:code>/complete/",
        new_uploads.upload_complete,
        name="batch-new-upload-complete",
    ),
    path(
        "uploads/<str:code>/cancel/",
        new_uploads.upload_cancel,
        name="batch-new-upload-cancel",
    ),
    path("files/<str:code>/", new_check.batch_new_check, name="batch-new-check"),
    path(
        "files/<str:code>/report/",
        new_check.batch_new_report,
        name="batch-new-report",
    ),
    path("tables/<str:code>/", new_table.batch_new_table, name="batch-new-table"),
]
# included at the root
job_urls: list[URLPattern | URLResolver] = [
    path("batches/", views.batch_list, name="batch-list"),
    path("batches/bulk/", bulk.batch_bulk, name="batch-bulk"),
    path("batches/export/", bulk.batch_export, name="batch-export"),
    path("batches/views/save/", bulk.saved_view_save, name="saved-view-save"),
    path(
        "batches/views/<int:key>/delete/",
        bulk.saved_view_delete,
        name="saved-view-delete",
    ),
    # Before the batches themselves, of which none is called so.
    path("batches/deleted/", deleted.deleted_list, name="batch-deleted-list"),
    path("batches/new/", include(new_urls)),
    path("batches/<str:code>/", detail.batch_detail, name="batch-detail"),
    path("batches/<str:code>/checks/", check_actions.batch_checks, name="batch-checks"),
    path(
        "batches/<str:code>/checks/add/",
        check_actions.batch_checks_add,
        name="batch-checks-add",
    ),
    path("batches/<str:code>/cancel/", actions.batch_cancel, name="batch-cancel"),
    path("batches/<str:code>/delete/", deleted.batch_delete, name="batch-delete"),
    path("batches/<str:code>/restore/", deleted.batch_restore, name="batch-restore"),
    path("batches/<str:code>/remove/", deleted.batch_remove, name="batch-remove"),
    path("batches/<str:code>/pause/", actions.batch_pause, name="batch-pause"),
    path("batches/<str:code>/resume/", actions.batch_resume, name="batch-resume"),
    path("batches/<str:code>/retry/", actions.batch_retry, name="batch-retry"),
    path("batches/<str:code>/results/", results.result_list, name="batch-results"),
    path(
        "batches/<str:code>/results/export/",
        results.result_export_file,
        name="batch-results-export",
    ),
    path(
        "batches/<str:code>/results/<int:index>/",
        results.result_detail,
        name="batch-result",
    ),
    path("batches/<str:code>/errors/", batch_tabs.batch_errors, name="batch-errors"),
    path("batches/<str:code>/log/", batch_tabs.batch_log, name="batch-log"),
    path(
        "batches/<str:code>/log/export/",
        batch_tabs.batch_log_file,
        name="batch-log-export",
    ),
    path("batches/<str:code>/config/", batch_tabs.batch_config, name="batch-config"),
    path("batches/<str:code>/api/", batch_tabs.batch_api, name="batch-api"),
    path(
        "batches/<str:code>/error-report/",
        views.batch_error_report,
        name="batch-error-report",
    ),
    path("files/<str:code>/download/", views.file_download, name="file-download"),
    path("engines/", views.engine_list, name="engine-list"),
    path("engines/day/", engine_day.engine_day, name="engine-day"),
    path(
        "engines/<int:key>/restart/",
        engine_actions.engine_restart,
        name="engine-restart",
    ),
    path("engines/<int:key>/pause/", engine_actions.engine_pause, name="engine-pause"),
    path("engines/<int:key>/drain/", engine_actions.engine_drain, name="engine-drain"),
    path(
        "engines/<int:key>/resume/", engine_actions.engine_resume, name="engine-resume"
    ),
]
