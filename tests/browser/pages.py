# SPDX-License-Identifier: Apache-2.0
"""Every page of the site: what the browser opens, and as whom.

`tests/web/test_every_page.py` fails for an address that stands in neither table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone


@dataclass(frozen=True)
class Visit:
    """An address, with `{places}` to fill in, and who opens it ("" is nobody).

    `shows` is a heading by which a page of several states is the one that is meant.
    """

    path: str
    who: str = "owner"
    status: int = 200
    shows: str = ""


TEAM = "/teams/{team}"
# name of the address: the states of its page that look different
PAGES: dict[str, list[Visit]] = {
    "login": [Visit("/login/", ""), Visit("/login/?next=/engines/", "")],
    "set-password": [
        Visit("{link}", "", shows="Set your password"),
        Visit("/set-password/x/y/", "", shows="This link does not work any more"),
    ],
    "account": [Visit("/account/"), Visit("/account/", "alone")],
    "account-password": [Visit("/account/password/")],
    "design": [Visit("/design/", "staff"), Visit("/design/", "owner", 403)],
    "home": [
        Visit("/"),
        Visit("/?span=7d", "viewer"),
        Visit("/", "newcomer", shows="Your first batch goes here"),
    ],
    "batch-list": [
        Visit("/batches/"),
        Visit("/batches/?status=expired"),
        Visit("/batches/?tag=weekly"),
        Visit("/batches/?q=nowhere"),
        Visit("/batches/", "viewer"),
        Visit("/batches/", "newcomer"),
    ],
    "batch-deleted-list": [
        Visit("/batches/deleted/", shows="Deleted batches"),
        Visit("/batches/deleted/", "viewer"),
        Visit("/batches/deleted/", "newcomer", shows="Nothing is deleted"),
    ],
    "batch-new": [
        Visit("/batches/new/"),
        Visit("/batches/new/?clone={cloneless}"),
        Visit("/batches/new/", "staff"),
        Visit("/batches/new/", "viewer", 403),
    ],
    "batch-new-check": [
        Visit("/batches/new/files/{good_file}/"),
        Visit("/batches/new/files/{bad_file}/"),
        Visit("/batches/new/files/{bad_file}/?from=50"),
        Visit("/batches/new/files/{good_file}/?clone={paused}"),
    ],
    "batch-new-table": [
        Visit("/batches/new/tables/{table}/"),
        Visit("/batches/new/tables/{no_table}/", shows="This table cannot be read"),
    ],
    "batch-detail": [
        Visit("/batches/{validating}/"),
        Visit("/batches/{running}/"),
        Visit("/batches/{running}/", "viewer"),
        Visit("/batches/{paused}/"),
        Visit("/batches/{finalizing}/"),
        Visit("/batches/{completed}/"),
        Visit("/batches/{retried}/"),
        Visit("/batches/{failed}/"),
        Visit("/batches/{refused}/"),
        Visit("/batches/{cancelled}/"),
        Visit("/batches/{expired}/"),
        Visit("/batches/batch_nothing/", status=404),
        Visit("/batches/{deleted}/", status=410, shows="This batch is deleted"),
        Visit("/batches/{deleted}/", "viewer", status=410),
    ],
    "batch-results": [
        Visit("/batches/{running}/results/"),
        Visit("/batches/{retried}/results/"),
        Visit("/batches/{retried}/results/?with={running}"),
        Visit(f"/batches/{{retried}}/results/?check={'W' * 40}:failed"),
        Visit("/batches/{retried}/results/?tokens_min=x&with=none"),
        Visit("/batches/{running}/results/?q=nowhere"),
        Visit("/batches/{validating}/results/"),
    ],
    "batch-result": [
        *(
            Visit(f"/batches/{{running}}/results/0/?view={view}")
            for view in ("rendered", "raw", "json", "request", "provenance")
        ),
        Visit("/batches/{running}/results/31/", shows="row-31"),
        Visit("/batches/{running}/results/0/?with={retried}"),
    ],
    "batch-errors": [
        Visit("/batches/{running}/errors/"),
        Visit("/batches/{retried}/errors/"),
        Visit("/batches/{failed}/errors/"),
        Visit("/batches/{validating}/errors/", shows="Nothing has failed"),
    ],
    "batch-log": [
        Visit("/batches/{running}/log/"),
        Visit("/batches/{running}/log/?level=warnings"),
    ],
    "batch-config": [
        Visit("/batches/{running}/config/"),
        Visit("/batches/{cancelled}/config/"),
    ],
    "batch-api": [
        Visit("/batches/{running}/api/"),
        Visit("/batches/{cancelled}/api/?in=python"),
        Visit("/batches/{completed}/api/?in=node"),
    ],
    "batch-review": [
        Visit("/batches/{running}/review/"),
        Visit("/batches/{judged}/review/", "viewer"),
        Visit("/batches/{validating}/review/"),
    ],
    "feed-new": [
        Visit("/batches/{running}/to-review/?q=fine"),
    ],
    "dataset-list": [
        Visit("/datasets/"),
        Visit("/datasets/", "newcomer", shows="No datasets yet"),
    ],
    "dataset-new": [
        Visit("/datasets/new/"),
        Visit("/datasets/new/?queue={queue}"),
        Visit("/datasets/new/", "viewer", 403),
    ],
    "dataset-detail": [
        Visit("/datasets/{dataset}/"),
        Visit("/datasets/{dataset}/", "viewer"),
    ],
    "mark-list": [
        Visit("/marks/"),
        Visit("/marks/?starred=on&least=9"),
        Visit("/marks/", "newcomer", shows="Nothing is marked yet"),
    ],
    "queue-list": [
        Visit("/reviews/"),
        Visit("/reviews/", "viewer"),
        Visit("/reviews/", "newcomer", shows="No review queues yet"),
        Visit("/reviews/?state=archived"),
    ],
    "queue-new": [Visit("/reviews/new/"), Visit("/reviews/new/", "viewer", 403)],
    "queue-detail": [
        Visit("/reviews/{queue}/"),
        Visit("/reviews/{queue}/", "viewer"),
        Visit("/reviews/{empty_queue}/"),
    ],
    "queue-quality": [
        Visit("/reviews/{queue}/agreement/"),
        Visit("/reviews/{pairs}/agreement/"),
        Visit("/reviews/{empty_queue}/agreement/"),
    ],
    "judge-new": [Visit("/reviews/{queue}/judge/")],
    "queue-settings": [
        Visit("/reviews/{queue}/settings/"),
        Visit("/reviews/{queue}/settings/", "viewer"),
    ],
    "queue-items": [
        Visit("/reviews/{queue}/items/"),
        Visit("/reviews/{queue}/items/", "viewer"),
        Visit("/reviews/{queue}/items/?view=disputed"),
        Visit("/reviews/{empty_queue}/items/"),
        Visit("/reviews/{queue}/items/?q=nowhere"),
    ],
    "item-detail": [
        Visit("/reviews/{queue}/items/{torn}/"),
        Visit("/reviews/{queue}/items/{torn}/", "viewer"),
        Visit("/reviews/{pairs}/items/{pair}/"),
        Visit("/reviews/{queue}/items/{decided}/"),
    ],
    "review": [
        Visit("/reviews/{queue}/review/"),
        Visit("/reviews/{pairs}/review/"),
        Visit("/reviews/{spans}/review/"),
        Visit("/reviews/{empty_queue}/review/", shows="The queue is empty"),
    ],
    "review-item": [
        Visit("/reviews/{queue}/items/{torn}/review/"),
        Visit("/reviews/{queue}/items/{decided}/review/"),
    ],
    "rubric-list": [
        Visit("/rubrics/"),
        Visit("/rubrics/", "viewer"),
        Visit("/rubrics/?state=archived"),
        Visit("/rubrics/", "newcomer"),
    ],
    "rubric-new": [
        Visit("/rubrics/new/"),
        Visit("/rubrics/new/?from=cv-parsing"),
        Visit("/rubrics/new/?from=report-evaluation"),
    ],
    "rubric-detail": [
        Visit("/rubrics/{rubric}/"),
        Visit("/rubrics/{rubric}/", "viewer"),
        Visit("/rubrics/{rubric}/?version=1"),
    ],
    "run-list": [
        Visit("/benchmarks/"),
        Visit("/benchmarks/", "viewer"),
        Visit("/benchmarks/", "newcomer", shows="No benchmark has run yet"),
    ],
    "run-new": [
        Visit("/benchmarks/new/?suite={suite}"),
        Visit("/benchmarks/new/", "newcomer", shows="First a suite"),
        Visit("/benchmarks/new/", "viewer", 403),
    ],
    "run-detail": [
        Visit("/benchmarks/runs/{run}/"),
        Visit("/benchmarks/runs/{run}/", "viewer"),
        Visit("/benchmarks/runs/{going}/"),
    ],
    "run-item": [
        Visit("/benchmarks/runs/{run}/items/0/"),
        Visit("/benchmarks/runs/{run}/items/1/"),
        Visit("/benchmarks/runs/{going}/items/0/"),
        Visit("/benchmarks/runs/{run}/items/9/", status=404),
    ],
    "suite-list": [
        Visit("/benchmarks/suites/"),
        Visit("/benchmarks/suites/", "viewer"),
        Visit("/benchmarks/suites/?state=archived"),
        Visit("/benchmarks/suites/", "newcomer"),
    ],
    "suite-new": [Visit("/benchmarks/suites/new/")],
    "suite-detail": [
        Visit("/benchmarks/suites/{suite}/"),
        Visit("/benchmarks/suites/{long_suite}/", "viewer"),
        Visit("/benchmarks/suites/{old_suite}/"),
    ],
    "suite-replay": [Visit("/batches/{completed}/to-suite/")],
    "batch-retry": [Visit("/batches/{retried}/retry/?error=context_length_exceeded")],
    "engine-list": [
        Visit("/engines/"),
        Visit("/engines/", "staff", shows="Engines"),
        Visit("/engines/?history=gpu0", shows="Engines"),
    ],
    "model-list": [
        Visit("/models/"),
        Visit("/models/", "staff", shows="Models"),
    ],
    "model-detail": [
        Visit("/models/{model}/", shows="tiny"),
        Visit("/models/{model}/?test={tested}", "staff", shows="tiny"),
        Visit("/models/{model_failed}/", "staff"),
        Visit("/models/0/", status=404),
    ],
    "model-new": [Visit("/models/new/", "staff"), Visit("/models/new/", status=403)],
    "model-change": [Visit("/models/{model}/change/", "staff")],
    "team-list": [
        Visit("/teams/"),
        Visit("/teams/?q=none"),
        Visit("/teams/", "alone"),
        Visit("/teams/", "staff"),
    ],
    "team-people": [Visit(f"{TEAM}/people/"), Visit(f"{TEAM}/people/", "viewer")],
    "team-keys": [
        Visit(f"{TEAM}/keys/?all"),
        Visit(f"{TEAM}/keys/", "viewer"),
        Visit("/teams/{new_team}/keys/", "newcomer"),
    ],
    "team-keys-new": [Visit(f"{TEAM}/keys/new/")],
    "team-limits": [Visit(f"{TEAM}/limits/"), Visit(f"{TEAM}/limits/", "staff")],
    "team-usage": [
        Visit(f"{TEAM}/usage/", shows="The last 12 weeks"),
        Visit(f"{TEAM}/usage/?by=person&model=tiny", "viewer"),
        Visit(f"{TEAM}/usage/?person=nobody"),
        Visit("/teams/{new_team}/usage/", "newcomer"),
    ],
    "site-usage": [Visit("/usage/", "staff"), Visit("/usage/", "owner", 403)],
    "team-audit": [
        Visit(f"{TEAM}/audit/"),
        Visit(f"{TEAM}/audit/?who=nobody"),
        Visit("/teams/{new_team}/audit/", "newcomer"),
        Visit(f"{TEAM}/audit/", "viewer", 403),
    ],
    "team-webhooks": [
        Visit(f"{TEAM}/webhooks/"),
        Visit("/teams/{new_team}/webhooks/", "newcomer"),
    ],
    "team-webhooks-new": [Visit(f"{TEAM}/webhooks/new/")],
    "team-webhooks-detail": [
        Visit(f"{TEAM}/webhooks/{{endpoint}}/"),
        Visit(f"{TEAM}/webhooks/{{endpoint_off}}/"),
    ],
    "team-webhooks-deliveries": [Visit(f"{TEAM}/webhooks/deliveries/")],
    "team-webhooks-delivery": [Visit(f"{TEAM}/webhooks/deliveries/{{delivery}}/")],
    "api-docs": [Visit("/v1/docs", "")],
}
# Django's own pages in the site's colours: those that look different.
ADMIN = [
    Visit("/admin/", "staff"),
    Visit("/admin/jobs/batch/", "staff"),
    Visit("/admin/jobs/batch/{batch_pk}/change/", "staff"),
    Visit("/admin/jobs/result/", "staff"),
    Visit("/admin/accounts/apikey/add/", "staff"),
]
# Pages that answer what no test can ask for: template, its context.
ANSWERS: dict[str, dict[str, Any]] = {
    "500.html": {},
    "403_csrf.html": {},
    "site/locked.html": {
        "tries": 10,
        "minutes": 15,
        "at": timezone.now() + timedelta(minutes=15),
    },
}
# Addresses that show no page of their own when they are opened, and what they are.
NO_PAGE = {
    "team": "goes to the team's people",
    "favicon": "goes to the picture",
    "alarm-list": "a part of a page",
    "engine-day": "a part of a page",
    "batch-checks": "a part of a page",
    "batch-error-report": "a download",
    "batch-export": "a download",
    "batch-log-export": "a download",
    "batch-results-export": "a download",
    "batch-new-report": "a download",
    "batch-new-upload-detail": "for a script",
    "file-download": "a download",
    "rubric-export": "a download",
    "suite-export": "a download",
    "queue-label-studio": "a download",
    "mark-export": "a download",
    "review-jump": "goes to an item",
    "team-audit-export": "a download",
    "team-usage-export": "a download",
    "site-usage-export": "a download",
    **dict.fromkeys(
        [
            "logout",
            "theme",
            "account-name",
            "account-time-zone",
            "batch-bulk",
            "queue-state",
            "queue-rework",
            "mark-change",
            "queue-label-studio-take",
            "queue-rule-add",
            "queue-rule-remove",
            "item-bulk",
            "item-decide",
            "review-undo",
            "review-diff",
            "rubric-preview",
            "rubric-import",
            "rubric-archive",
            "run-cancel",
            "run-rerun",
            "run-resume",
            "suite-archive",
            "suite-version",
            "batch-cancel",
            "saved-view-delete",
            "saved-view-save",
            "batch-new-upload",
            "batch-new-upload-part",
            "batch-new-upload-complete",
            "batch-new-upload-cancel",
            "batch-checks-add",
            "engine-drain",
            "engine-pause",
            "engine-restart",
            "engine-resume",
            "batch-delete",
            "batch-restore",
            "batch-remove",
            "batch-pause",
            "batch-resume",
            "model-enable",
            "model-disable",
            "model-retry",
            "model-remove",
            "model-test",
            "team-people-add",
            "team-people-role",
            "team-people-remove",
            "team-people-link",
            "team-keys-revoke",
            "team-webhooks-own-secret",
            "team-webhooks-own-rotate",
            "team-webhooks-redeliver",
            "team-webhooks-change",
            "team-webhooks-secret",
            "team-webhooks-rotate",
            "team-webhooks-enable",
            "team-webhooks-disable",
            "team-webhooks-delete",
            "team-webhooks-test",
        ],
        "takes a form",
    ),
}
