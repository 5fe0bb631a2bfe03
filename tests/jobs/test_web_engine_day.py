# SPDX-License-Identifier: Apache-2.0
"""Loads and swaps of the last day: what the events say, as picture and table."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from batchsite.accounts.models import User
from jobs.models import Engine, EngineEvent
from jobs.web import engine_day, engines
from tests.web import rows

pytestmark = pytest.mark.django_db


def moved(
    engine: Engine, old: str, new: str, at: datetime, seconds: float, model: str
) -> None:
    EngineEvent.objects.create(
        engine=engine,
        old_state=old,
        new_state=new,
        at=at,
        seconds=seconds,
        model=model,
    )


def the_day(now: datetime) -> engine_day.Day:
    return engine_day.days(engines.engines(), now)[0]


def test_a_swap_is_told_by_model_with_its_times() -> None:
    now = timezone.now()
    engine = rows.managed()
    hour = timedelta(hours=1)
    moved(engine, "loading", "ready", now - 30 * hour, 60, "a")
    moved(engine, "ready", "draining", now - 6 * hour, 24 * 3600, "a")
    moved(engine, "draining", "stopping", now - 6 * hour, 0, "a")
    moved(engine, "stopping", "stopped", now - 6 * hour, 0, "a")
    moved(engine, "stopped", "loading", now - 6 * hour, 0, "b")
    moved(engine, "loading", "failed", now - 5 * hour, 3600, "b")

    day = the_day(now)

    assert [lane.model for lane in day.lanes] == ["a", "b"]
    first = day.lanes[0].bars[0]
    # Of what began before the day, the day's part is shown: 18 of 24 hours.
    assert (first.span.state, first.x, first.width) == ("ready", "0.0", "750.0")
    assert [bar.span.state for bar in day.lanes[1].bars] == ["loading", "failed"]
    assert day.lanes[1].bars[0].width == "41.7"
    assert day.rows[0].state == "failed"
    assert day.rows[0].until == now
    assert "failed b from" in day.rows[0].words
    assert day.rows[1].lasted == "1 h"


def test_nothing_is_said_of_the_time_after_a_hosts_last_sign_of_life() -> None:
    now = timezone.now()
    engine = rows.managed(alive=False)
    moved(engine, "loading", "ready", now - timedelta(hours=2), 60, "a")
    Engine.objects.update(host_heartbeat=now - timedelta(hours=1))

    (_, ready) = the_day(now).lanes[0].bars

    assert ready.span.until == now - timedelta(hours=1)


def test_a_host_that_came_back_ends_what_the_last_one_left() -> None:
    now = timezone.now()
    engine = rows.managed(state="stopped", loaded_model=None, socket_path="")
    moved(engine, "loading", "ready", now - timedelta(hours=3), 60, "a")
    EngineEvent.objects.create(
        engine=engine, kind="host", old_state="", at=now - timedelta(hours=1)
    )

    (_, ready) = the_day(now).lanes[0].bars

    assert ready.span.words.endswith("2 h; its host went within this time")


def test_without_events_the_present_state_counts() -> None:
    now = timezone.now()
    rows.managed(state_since=now - timedelta(minutes=90))
    (bar,) = the_day(now).lanes[0].bars
    assert bar.span.words.startswith("ready with tiny from")
    assert bar.span.lasted == "1 h 30 min"
    assert engine_day.days([], now) == []


def test_the_page_has_picture_and_table_and_hostile_names_are_text(
    client: Client, owner: User
) -> None:
    now = timezone.now()
    engine = rows.managed()
    moved(engine, "stopped", "loading", now - timedelta(hours=2), 5, "<b>\x07")
    rows.managed("gpu1", state="stopped", loaded_model=None, socket_path="")
    client.force_login(owner)

    page = client.get("/engines/").content.decode()

    assert "<title>loading &lt;b&gt;\N{REPLACEMENT CHARACTER} from" in page
    assert "Loads and swaps as a table" in page
    assert "It held no model in the last 24 hours." in page
    assert "gpu1: nothing in the last 24 hours." in page


def test_polls_get_the_picture_alone(
    client: Client, owner: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    rows.managed()
    rows.managed("gpu1")
    client.force_login(owner)
    # session, user, engines, and the events of each
    with django_assert_num_queries(5):
        r = client.get("/engines/day/", headers={"hx-request": "true"})
    assert r.content.decode().strip().startswith('<section id="engine-day"')
    assert Client().get("/engines/day/")["Location"] == "/login/?next=/engines/day/"


def test_a_busy_engine_shows_the_latest_rows_and_says_so() -> None:
    now = timezone.now()
    engine = rows.managed()
    for minute in range(100, 0, -1):
        new, old = ("ready", "loading") if minute % 2 else ("loading", "ready")
        moved(engine, old, new, now - timedelta(minutes=minute), 60, "a")
    day = the_day(now)
    assert len(day.rows) == engine_day.MOST_ROWS
    assert day.more == 101 - engine_day.MOST_ROWS
