# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.urls import URLPattern, path

from . import runs, suites

# included under benchmarks/
benchmark_urls: list[URLPattern] = [
    path("", runs.run_list, name="run-list"),
    path("new/", runs.run_new, name="run-new"),
    path("suites/", suites.suite_list, name="suite-list"),
    path("suites/new/", suites.suite_new, name="suite-new"),
    path("suites/<str:code>/", suites.suite_detail, name="suite-detail"),
    path("suites/<str:code>/versions/", suites.suite_version, name="suite-version"),
    path("suites/<str:code>/archive/", suites.suite_archive, name="suite-archive"),
    path("suites/<str:code>/export/", suites.suite_export, name="suite-export"),
    path("runs/<str:code>/", runs.run_detail, name="run-detail"),
    path("runs/<str:code>/items/<int:index>/", runs.run_item, name="run-item"),
    *(
        path(f"runs/<str:code>/{act}/", runs.run_act, {"act": act}, name=f"run-{act}")
        for act in ("cancel", "resume", "rerun")
    ),
]
# of one batch, at the site's root
batch_benchmark_urls: list[URLPattern] = [
    path("batches/<str:code>/to-suite/", suites.suite_replay, name="suite-replay"),
]
