# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.urls import URLPattern, path

from . import runs, suites

# under /v1/benchmarks/, without a slash at the end as all of the API
benchmark_api_urls: list[URLPattern] = [
    path("suites", suites.suite_collection, name="api-suites"),
    path("suites/<str:suite_id>", suites.suite_detail, name="api-suite"),
    path(
        "suites/<str:suite_id>/versions",
        suites.suite_versions,
        name="api-suite-versions",
    ),
    path("suites/<str:suite_id>/items", suites.suite_items, name="api-suite-items"),
    path("runs", runs.run_collection, name="api-runs"),
    path("runs/<str:run_id>", runs.run_detail, name="api-run"),
    path("runs/<str:run_id>/cancel", runs.run_cancel, name="api-run-cancel"),
    path("runs/<str:run_id>/resume", runs.run_resume, name="api-run-resume"),
    path("runs/<str:run_id>/rerun", runs.run_rerun, name="api-run-rerun"),
    path(
        "runs/<str:run_id>/comparison", runs.run_comparison, name="api-run-comparison"
    ),
    path("suites/<str:suite_id>/export", suites.suite_export, name="api-suite-export"),
]
