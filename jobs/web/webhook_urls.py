# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.urls import URLPattern, path

from . import deliveries, webhooks

# included under teams/
webhook_urls: list[URLPattern] = [
    path("<int:team>/webhooks/", webhooks.endpoint_list, name="team-webhooks"),
    path("<int:team>/webhooks/new/", webhooks.endpoint_new, name="team-webhooks-new"),
    path(
        "<int:team>/webhooks/secret/",
        webhooks.team_secret,
        name="team-webhooks-own-secret",
    ),
    path(
        "<int:team>/webhooks/rotate/",
        webhooks.team_rotate,
        name="team-webhooks-own-rotate",
    ),
    path(
        "<int:team>/webhooks/deliveries/",
        deliveries.delivery_list,
        name="team-webhooks-deliveries",
    ),
    path(
        "<int:team>/webhooks/deliveries/<str:code>/",
        deliveries.delivery_detail,
        name="team-webhooks-delivery",
    ),
    path(
        "<int:team>/webhooks/deliveries/<str:code>/redeliver/",
        deliveries.delivery_redeliver,
        name="team-webhooks-redeliver",
    ),
    path(
        "<int:team>/webhooks/<str:code>/",
        webhooks.endpoint_detail,
        name="team-webhooks-detail",
    ),
    path(
        "<int:team>/webhooks/<str:code>/change/",
        webhooks.endpoint_change,
        name="team-webhooks-change",
    ),
    path(
        "<int:team>/webhooks/<str:code>/secret/",
        webhooks.endpoint_secret,
        name="team-webhooks-secret",
    ),
    path(
        "<int:team>/webhooks/<str:code>/rotate/",
        webhooks.endpoint_rotate,
        name="team-webhooks-rotate",
    ),
    path(
        "<int:team>/webhooks/<str:code>/enable/",
        webhooks.endpoint_enable,
        name="team-webhooks-enable",
    ),
    path(
        "<int:team>/webhooks/<str:code>/disable/",
        webhooks.endpoint_disable,
        name="team-webhooks-disable",
    ),
    path(
        "<int:team>/webhooks/<str:code>/delete/",
        webhooks.endpoint_delete,
        name="team-webhooks-delete",
    ),
    path(
        "<int:team>/webhooks/<str:code>/test/",
        webhooks.endpoint_test,
        name="team-webhooks-test",
    ),
]
