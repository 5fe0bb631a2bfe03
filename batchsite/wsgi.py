# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "batchsite.settings")

django_application = get_wsgi_application()

# These need the apps.
from batchsite.accounts.installation import check_secret_key  # noqa: E402
from batchsite.chunked import with_chunked_bodies  # noqa: E402

check_secret_key()
# gunicorn --preload forks its processes from here. They must not share a connection, and
# should share what the first request would otherwise have each of them import.
connections.close_all()
_ = get_resolver().url_patterns
application = with_chunked_bodies(django_application)
