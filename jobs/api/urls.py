# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.urls import URLPattern

api_urls: list[URLPattern] = []
