# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from batchsite.web.urls import account_urls, team_urls
from benchmarks.api.urls import benchmark_api_urls
from benchmarks.web.urls import batch_benchmark_urls, benchmark_urls
from curation.api.urls import curation_api_urls
from curation.web.urls import (
    dataset_urls,
    feed_urls,
    mark_urls,
    review_urls,
    rubric_urls,
)
from jobs.api.urls import api_urls
from jobs.web.model_urls import model_urls
from jobs.web.urls import job_urls
from jobs.web.webhook_urls import webhook_urls

admin.autodiscover()

urlpatterns = [
    path("admin/", admin.site.urls),
    # Before the rest of the API, which knows no other path.
    path("v1/benchmarks/", include(benchmark_api_urls)),
    path("v1/curation/", include(curation_api_urls)),
    path("v1/", include(api_urls)),
    path("", include(account_urls)),
    path("teams/", include(team_urls)),
    path("teams/", include(webhook_urls)),
    path("models/", include(model_urls)),
    path("benchmarks/", include(benchmark_urls)),
    path("", include(batch_benchmark_urls)),
    path("reviews/", include(review_urls)),
    path("rubrics/", include(rubric_urls)),
    path("datasets/", include(dataset_urls)),
    path("marks/", include(mark_urls)),
    path("", include(feed_urls)),
    path("", include(job_urls)),
]
