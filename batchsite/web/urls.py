# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import URLPattern, path

from . import views

# included at the root
account_urls: list[URLPattern] = [
    path("", views.home, name="home"),
    path("favicon.ico", views.favicon, name="favicon"),
    path("login/", views.sign_in, name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("theme/", views.choose_theme, name="theme"),
    path("alarms/", views.alarm_list, name="alarm-list"),
]
