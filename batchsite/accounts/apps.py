# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class AccountsConfig(AppConfig):
    name = "batchsite.accounts"
    label = "accounts"
    verbose_name = "People and keys"

    def ready(self) -> None:
        from . import sign_ins

        sign_ins.connect()


class AuditedAdminConfig(AdminConfig):
    """Django's admin on a site that tells the audit log what is changed in it."""

    default_site = "batchsite.accounts.admin_site.AuditedAdminSite"
