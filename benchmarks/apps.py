# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.apps import AppConfig

from jobs import extensions
from jobs.extensions import ResultAct


class BenchmarksConfig(AppConfig):
    name = "benchmarks"
    label = "benchmarks"
    verbose_name = "Benchmarks"

    def ready(self) -> None:
        """Join the batch service."""
        extensions.chore_modules.append("benchmarks.chores")
        extensions.api_schemas.append("benchmarks.api.schema")
        extensions.home_panels.append("benchmarks.web.panels.home_panel")
        extensions.result_acts.append(
            ResultAct("Make a suite", "suite-replay", "benchmarks:write")
        )
