# SPDX-License-Identifier: Apache-2.0
"""The site for gunicorn, with little time for headers and bodies."""

from __future__ import annotations

from batchsite import webworker
from batchsite.wsgi import application as application

webworker.HEADER_SECONDS = 1.0
webworker.BODY_SECONDS = 2.0
