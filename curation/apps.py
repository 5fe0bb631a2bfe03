# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.apps import AppConfig

from jobs import extensions
from jobs.extensions import ResultAct


class CurationConfig(AppConfig):
    name = "curation"
    label = "curation"
    verbose_name = "Curation"

    def ready(self) -> None:
        """Join the batch service."""
        extensions.chore_modules.append("curation.chores")
        extensions.api_schemas.append("curation.api.schema")
        extensions.batch_tabs.append(("review", "Review"))
        extensions.home_tiles.append("curation.web.panels.home_tile")
        extensions.home_panels.append("curation.web.panels.home_panel")
        extensions.result_panels.append("curation.web.marks.result_panel")
        extensions.result_acts.append(
            ResultAct("Send to review", "feed-new", "curation:write")
        )
        extensions.row_filters.append("curation.row_filter.BY_REVIEW")
