# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "batchsite.settings")

application = get_wsgi_application()

from batchsite.accounts.installation import check_secret_key  # noqa: E402 - needs the apps

check_secret_key()
