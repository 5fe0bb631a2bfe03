# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.contrib.admin.apps import SimpleAdminConfig
from django.core import checks

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


class AuditedAdminConfig(SimpleAdminConfig):
    """Django's admin on a site that tells the audit log what is changed in it.

    Its classes are imported by `batchsite.urls` and by the checks: they and what they
    need are a quarter of what a worker would import at its start, for nothing.
    """

    default_site = "batchsite.accounts.admin_site.AuditedAdminSite"

    def ready(self) -> None:
        """Register Django's checks of the admin, without importing its classes."""
        from django.contrib.admin.checks import check_dependencies

        checks.register(check_dependencies, checks.Tags.admin)
        checks.register(check_admin_classes, checks.Tags.admin)


def check_admin_classes(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Django's checks of every admin class."""
    from django.contrib.admin import autodiscover
    from django.contrib.admin.checks import check_admin_app

    autodiscover()
    found: list[checks.CheckMessage] = check_admin_app(app_configs, **kwargs)
    return found
