# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.urls import URLPattern, path

from . import suites

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
    path("suites/<str:suite_id>/export", suites.suite_export, name="api-suite-export"),
]
