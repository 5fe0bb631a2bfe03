# SPDX-License-Identifier: Apache-2.0
"""`make bench-curation`: a queue with a million items, its pages, judging, and datasets.

How long pages take (median of 15), how long a judgement takes until the next item is
there, and time and memory of a dataset's version that takes every item.
"""

from __future__ import annotations

import argparse
import http.client
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from http.cookies import SimpleCookie
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["LOG_LEVEL"] = "WARNING"

from deploy.bench_pipeline import cpu_model, running_site  # noqa: E402 - needs the path above
from tests.e2e.client import Running  # noqa: E402 - as above

TIMES = 15
OPEN = 1000
FILL = """
import json
from django.db import connection
from django.test import Client
from django.utils import timezone
from batchsite.accounts.models import Team, User
from curation import datasets, queues, rubrics
from curation.models import Candidate, ItemVersion, Resolution, ReviewItem
from curation.questions import read
team, user = Team.objects.get(name="Blue"), User.objects.get(email="owner@example.com")
asked = [dict(key="good", type="label", title="It is", options=["good", "bad"])]
rubric = rubrics.create_rubric(team=team, name="Good", questions=read("q", asked), user=user)
queue = queues.create_queue(team=team, name="Large", kind="single", rubric_version=rubric.latest, user=user)
answer = json.dumps(dict(choices=[dict(message=dict(role="assistant", content="said " * 60))]))
now, slice_ = timezone.now(), 5000
for start in range(0, {rows}, slice_):
    numbers = range(start, min(start + slice_, {rows}))
    items = ReviewItem.objects.bulk_create(
        ReviewItem(queue=queue, key=f"batch#{{n}}", state="completed" if n >= {open_} else "pending",
                   submitted=int(n >= {open_})) for n in numbers)
    versions = ItemVersion.objects.bulk_create(
        ItemVersion(item=item, custom_id=f"row-{{n}}", endpoint="/v1/chat/completions",
                    request_body=json.dumps(dict(messages=[dict(role="user", content=f"ask {{n}} " * 20)])))
        for item, n in zip(items, numbers))
    Candidate.objects.bulk_create(
        Candidate(version=version, batch_code="batch", model="tiny", body=answer) for version in versions)
    Resolution.objects.bulk_create(
        Resolution(version=version, how="single", answers_text='{{"good": "good"}}', created_at=now)
        for version, n in zip(versions, numbers) if n >= {open_})
with connection.cursor() as cursor:
    cursor.execute(
        "UPDATE curation_reviewitem SET version_id = (SELECT v.id FROM curation_itemversion v"
        " WHERE v.item_id = curation_reviewitem.id)")
    cursor.execute("ANALYZE")
dataset = datasets.create_dataset(team=team, name="Large", user=user)
client = Client()
client.force_login(user)
print(queue.public_id, dataset.public_id, client.cookies["sessionid"].value)
"""
BUILD = """
import resource, sys, time
import django
django.setup()
from curation import datasets
from curation.specs import Spec
from curation.models import Dataset, ReviewQueue
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.monotonic()
version = datasets.build_version(
    dataset=Dataset.objects.get(), queues=list(ReviewQueue.objects.all()),
    spec=Spec(sys.argv[1], file_format=sys.argv[2]), user=None)
took = time.monotonic() - began
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(version.rows, round(took, 1), before // 1024, after // 1024)
"""


class Browser:
    """One connection that keeps its cookies."""

    def __init__(self, port: int, session: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._cookies = {"sessionid": session}

    def ask(
        self, address: str, form: dict[str, str] | None = None
    ) -> tuple[float, str]:
        """Milliseconds, and what was answered; with a form it is a POST of htmx."""
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self._cookies.items())}
        body = None
        if form is not None:
            headers |= {
                "Content-Type": "application/x-www-form-urlencoded",
                "HX-Request": "true",
            }
            body = urllib.parse.urlencode(form)
        began = time.monotonic()
        self._connection.request("POST" if form else "GET", address, body, headers)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        took = (time.monotonic() - began) * 1000
        assert answer.status == 200, (address, answer.status)
        for name, cookie in SimpleCookie(answer.getheader("Set-Cookie", "")).items():
            self._cookies[name] = cookie.value
        return took, text


def pages(running: Running, queue: str, session: str) -> None:
    """The times of the queue's pages, and of judging."""
    browser = Browser(running.port, session)
    base = f"/reviews/{queue}/"
    for name, address in {
        "list": "/reviews/",
        "queue": base,
        "items": f"{base}items/",
        "items, done": f"{base}items/?view=done",
        "item by custom_id": f"{base}items/?q=row-500",
        "review": f"{base}review/",
    }.items():
        took = [browser.ask(address)[0] for _ in range(TIMES)]
        middle, slowest = statistics.median(took), max(took[1:])
        print(f"{name:<20} {middle:6.0f} / {slowest:.0f} ms (median / slowest)")
    judge(browser, base)


def judge(browser: Browser, base: str) -> None:
    """A hundred judgements, each answered with the next item."""
    took = []
    _, text = browser.ask(f"{base}review/")
    for _ in range(100):
        found = re.search(r"/items/(item_\w+)/review/", text)
        token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', text)
        assert found, text[:500]
        assert token, text[:500]
        form = {
            "csrfmiddlewaretoken": token[1],
            "version": "1",
            "act": "submit",
            "a-good": "good",
            "seconds": "3",
        }
        milliseconds, text = browser.ask(f"{base}items/{found[1]}/review/", form)
        assert "submitted" in text
        took.append(milliseconds)
    took.sort()
    print(
        f"judge, next item     {statistics.median(took):6.0f} ms median,"
        f" {took[-2]:.0f} ms p99 of {len(took)}",
        flush=True,
    )


def main() -> None:
    """Fill a site on SQLite, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    print(f"machine  {os.cpu_count()} cores, {cpu_model()}, {options.rows:,} items")
    with (
        tempfile.TemporaryDirectory() as scratch,
        running_site(Path(scratch) / "site", "") as running,
    ):
        code = FILL.format(rows=options.rows, open_=OPEN)
        queue, _, session = running.site.python(code, timeout=3600).split()[-3:]
        pages(running, queue, session)
        for form, file in (("sft", "jsonl"), ("sft", "parquet"), ("reward", "csv")):
            done = subprocess.run(
                [sys.executable, "-c", BUILD, form, file],
                env=running.site.env(DJANGO_SETTINGS_MODULE="batchsite.settings"),
                cwd=ROOT,
                check=True,
                capture_output=True,
                text=True,
            )
            rows, took, before, after = done.stdout.split()
            print(
                f"dataset {form}, {file:<8} {int(rows):,} rows in {took} s;"
                f" {after} MB at most, {before} MB before",
                flush=True,
            )


if __name__ == "__main__":
    main()
