# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.apps import AppConfig, apps
from django.contrib.admin.apps import AdminConfig

# What the admin calls the packages whose tables it lists.
NAMES = {"axes": "Tries to sign in", "django_q": "Wake-up calls of workers"}


class AccountsConfig(AppConfig):
    name = "batchsite.accounts"
    label = "accounts"
    verbose_name = "People and keys"

    def ready(self) -> None:
        from . import sign_ins

        sign_ins.connect()
        for label, name in NAMES.items():
            apps.get_app_config(label).verbose_name = name


class AuditedAdminConfig(AdminConfig):
    """Django's admin on a site that tells the audit log what is changed in it."""

    default_site = "batchsite.accounts.admin_site.AuditedAdminSite"
