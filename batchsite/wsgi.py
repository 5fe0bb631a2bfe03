# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "batchsite.settings")

django_application = get_wsgi_application()

# These need the apps.
from batchsite.accounts.installation import check_secret_key  # noqa: E402
from batchsite.chunked import with_chunked_bodies  # noqa: E402

check_secret_key()
application = with_chunked_bodies(django_application)
