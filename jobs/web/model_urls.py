# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.urls import URLPattern, path

from . import model_actions, models

# included under models/
model_urls: list[URLPattern] = [
    path("", models.model_list, name="model-list"),
    path("new/", models.model_new, name="model-new"),
    path("<int:key>/", models.model_detail, name="model-detail"),
    path("<int:key>/change/", models.model_change, name="model-change"),
    path("<int:key>/enable/", model_actions.model_enable, name="model-enable"),
    path("<int:key>/disable/", model_actions.model_disable, name="model-disable"),
    path("<int:key>/retry/", model_actions.model_retry, name="model-retry"),
    path("<int:key>/remove/", model_actions.model_remove, name="model-remove"),
    path("<int:key>/test/", model_actions.model_test, name="model-test"),
]
