# SPDX-License-Identifier: Apache-2.0
"""Fetch what is measured for a signed-in person, or answer 404; 403 without the right."""

from __future__ import annotations

from django.http import HttpRequest

from batchsite.accounts import permissions
from benchmarks.models import Run, Suite
from jobs.access import found_or_404, person

READ = "benchmarks:read"
WRITE = "benchmarks:write"


def get_suite(request: HttpRequest, code: str, *, right: str = READ) -> Suite:
    """The suite with that public id, with its team."""
    user = person(request)
    rows = Suite.objects.visible_to(user).select_related("team", "created_by")
    suite = found_or_404(rows.find(code))
    permissions.require(user, suite.team, right)
    return suite


def get_run(request: HttpRequest, code: str, *, right: str = READ) -> Run:
    """The run with that public id, with its suite and team."""
    user = person(request)
    rows = Run.objects.visible_to(user)
    rows = rows.select_related("team", "version__suite__team", "created_by", "rerun_of")
    run = found_or_404(rows.find(code))
    permissions.require(user, run.team, right)
    return run
