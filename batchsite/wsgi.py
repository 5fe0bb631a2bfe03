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
# With gunicorn's --preload this is done once, for all web processes that fork from here:
# no connection may be shared, and what the first request would import is.
connections.close_all()
_ = get_resolver().url_patterns
application = with_chunked_bodies(django_application)
