# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import URLPattern, path

from . import account, audit, design, home, keys, limits, members, team, usage, views

# included at the root
account_urls: list[URLPattern] = [
    path("", home.home, name="home"),
    path("favicon.ico", views.favicon, name="favicon"),
    path("login/", views.sign_in, name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("theme/", views.choose_theme, name="theme"),
    path("alarms/", views.alarm_list, name="alarm-list"),
    path("design/", design.design, name="design"),
    path("usage/", usage.site_usage, name="site-usage"),
    path("usage/export/", usage.site_usage_export, name="site-usage-export"),
    path("account/", account.account, name="account"),
    path("account/name/", account.name_change, name="account-name"),
    path("account/time-zone/", account.time_zone_change, name="account-time-zone"),
    path("account/password/", account.password_change, name="account-password"),
    path(
        "set-password/<str:uidb64>/<str:token>/",
        account.set_password,
        name="set-password",
    ),
]

# included under teams/
team_urls: list[URLPattern] = [
    path("", team.team_list, name="team-list"),
    path("<int:team>/", team.team_home, name="team"),
    path("<int:team>/people/", members.people_list, name="team-people"),
    path("<int:team>/people/add/", members.person_add, name="team-people-add"),
    path(
        "<int:team>/people/<int:member>/role/",
        members.person_role,
        name="team-people-role",
    ),
    path(
        "<int:team>/people/<int:member>/remove/",
        members.person_remove,
        name="team-people-remove",
    ),
    path(
        "<int:team>/people/<int:member>/link/",
        members.person_link,
        name="team-people-link",
    ),
    path("<int:team>/keys/", keys.key_list, name="team-keys"),
    path("<int:team>/keys/new/", keys.key_new, name="team-keys-new"),
    path(
        "<int:team>/keys/<str:start>/revoke/", keys.key_revoke, name="team-keys-revoke"
    ),
    path("<int:team>/limits/", limits.limit_list, name="team-limits"),
    path("<int:team>/usage/", usage.team_usage, name="team-usage"),
    path("<int:team>/usage/export/", usage.team_usage_export, name="team-usage-export"),
    path("<int:team>/audit/", audit.audit_list, name="team-audit"),
    path("<int:team>/audit/export/", audit.audit_export, name="team-audit-export"),
]
