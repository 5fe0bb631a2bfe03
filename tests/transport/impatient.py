# SPDX-License-Identifier: Apache-2.0
"""The site for gunicorn, with clients that may be silent for half a second only."""

from __future__ import annotations

from batchsite.wsgi import django_application

# It needs the apps, which the line above sets up.
from batchsite.chunked import with_chunked_bodies  # isort: skip

application = with_chunked_bodies(django_application, silence=0.5)
