# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "batchsite.accounts"
    label = "accounts"
    verbose_name = "People and keys"
