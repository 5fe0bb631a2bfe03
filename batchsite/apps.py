# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.apps import AppConfig


class BatchsiteConfig(AppConfig):
    name = "batchsite"
    label = "batchsite"
    verbose_name = "Batchsite"
