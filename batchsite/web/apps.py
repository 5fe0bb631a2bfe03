# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "batchsite.web"
    label = "site_web"
    verbose_name = "Web"
