# SPDX-License-Identifier: Apache-2.0
"""The list of models and a model's page: state, speed, use, queue, history in words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from batchsite.accounts.models import User
from jobs.models import Engine, EngineEvent, EngineModel, Measurement, ServedModel
from jobs.web.model_states import Site, standing
from tests.conftest import MakeBatch
from tests.web import rows

pytestmark = pytest.mark.django_db


def a_model(name: str = "tiny", **over: Any) -> ServedModel:
    return ServedModel.objects.create(name=name, **{"source": "/m/tiny"} | over)


def measured(
    model: ServedModel, engine: Engine | None = None, *, days: float = 0, **over: Any
) -> Measurement:
    columns = {
        "rows": 120,
        "input_tokens": 1000,
        "output_tokens": 6000,
        "seconds": 60,
        "created_at": timezone.now() - timedelta(days=days),
    }
    return Measurement.objects.create(
        served_model=model, engine=engine, **columns | over
    )


def text(client: Client, path: str, **more: Any) -> str:
    return " ".join(client.get(path, **more).content.decode().split())


@pytest.mark.parametrize(
    ("columns", "word", "detail"),
    [
        ({"state": "failed", "state_reason": "no tensor"}, "failed", "no tensor"),
        ({"state": "disabled"}, "disabled", "No batch may name it."),
        ({}, "no engine", "manage.py runengine --name gpu0"),
        ({"source": ""}, "nowhere", "No engine serves it any more."),
    ],
)
def test_without_engines_a_model_says_what_is_missing(
    columns: dict[str, Any], word: str, detail: str
) -> None:
    found = standing(a_model(**columns), Site())
    assert found.word == word
    assert detail in found.detail


def test_a_model_is_where_living_hosts_have_it() -> None:
    engine = rows.managed()
    model = ServedModel.objects.get()
    assert standing(model, Site()).detail == "on gpu0"
    Engine.objects.update(state="loading", loaded_model=None, wanted_model=model)
    assert standing(model, Site()).word == "loading"
    Engine.objects.update(state="stopped", wanted_model=None)
    assert standing(model, Site()).detail == "gpu0 can load it when a batch wants it."
    # What a dead host wrote last does not count.
    Engine.objects.update(state="ready", loaded_model=model, host_heartbeat=None)
    found = standing(model, Site())
    assert (found.word, found.detail) == (
        "no engine",
        "gpu0 could load it and is not running.",
    )
    # Pins and reserved engines.
    other = rows.managed("gpu1", loaded_model=a_model("other"), reserved=True)
    assert standing(model, Site()).engines == ["gpu0"]
    model.engines.set([other])
    assert standing(model, Site()).engines == ["gpu1"]
    engine.delete()
    model.engines.clear()
    assert "reserved for other models" in standing(model, Site()).detail


def test_adapters_follow_their_base_and_external_models_their_server() -> None:
    engine = rows.managed(loaded_adapters={"tuned": "/m/tuned"})
    base = ServedModel.objects.get()
    adapter = a_model("tuned", source="/m/tuned", base=base)
    assert standing(adapter, Site()).detail == "on gpu0"
    base.engines.set([engine])
    Engine.objects.update(loaded_adapters={})
    assert standing(adapter, Site()).word == "loadable"
    ServedModel.objects.filter(pk=base.pk).update(state="failed")
    adapter = ServedModel.objects.get(name="tuned")
    assert standing(adapter, Site()).detail == "Its base tiny is failed."

    elsewhere = a_model("far", source="")
    ext = rows.managed(
        "ext", kind="external", base_url="http://127.0.0.1:9", loaded_model=None
    )
    EngineModel.objects.create(engine=ext, served_model=elsewhere, remote_name="x")
    assert standing(elsewhere, Site()).detail == "by ext"
    Engine.objects.update(worker_heartbeat=None)
    assert standing(elsewhere, Site()).detail == "ext has no running worker."


def test_the_list_has_speed_use_and_queue(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    engine = rows.managed()
    model = ServedModel.objects.get()
    measured(model, engine)
    measured(model, engine, days=10, output_tokens=18_000)
    measured(model, engine, days=40, output_tokens=10**9)
    rows.running(make_batch, completed=100, failed=5, result_seq=105)
    rows.running(make_batch)
    a_model("<b>idle", state="failed", state_reason="<i>" + "long " * 100)
    model.engines.set([engine])
    client.force_login(owner)

    page = text(client, "/models/")

    # 24,000 tokens in 120 s of 30 days.
    assert '200 <span class="unit">tok/s</span><span class="sub">240 requests' in page
    assert (
        '120 <span class="unit">requests</span><span class="sub">6,000 tokens' in page
    )
    assert '1,895 <span class="unit">requests</span><span class="sub">2 batches' in page
    assert "pinned to gpu0" in page
    assert "&lt;b&gt;idle" in page
    assert "<i>long" not in page
    assert "not measured" in page
    assert "New model" not in page


def test_polls_get_the_rows_alone_with_a_fixed_number_of_queries(
    client: Client, owner: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for n in range(5):
        rows.managed(f"gpu{n}", loaded_model=a_model(f"m{n}"))
    client.force_login(owner)
    header = {"hx-request": "true"}
    # session, user; models, their pins; engines, what external ones serve; figures; queue
    with django_assert_num_queries(8):
        r = client.get("/models/", headers=header)
    assert r.content.decode().strip().startswith('<div id="model-rows"')
    again = client.get("/models/", headers=header | {"if-none-match": r["ETag"]})
    assert again.status_code == 304
    ServedModel.objects.filter(name="m0").update(state="disabled")
    again = client.get("/models/", headers=header | {"if-none-match": r["ETag"]})
    assert again.status_code == 200


def test_an_empty_list_says_how_a_model_comes_here(
    client: Client, owner: User, staff: User
) -> None:
    client.force_login(owner)
    assert "Whoever runs this site adds them." in text(client, "/models/")
    client.force_login(staff)
    assert "/models/new/" in text(client, "/models/")


def test_a_models_page_shows_what_it_is_and_did(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    engine = rows.managed()
    model = ServedModel.objects.get()
    ServedModel.objects.update(
        source="/m/<b>", engine_args=["--max-model-len", "8 k"], request_timeout=90
    )
    a_model("tuned", source="/m/tuned", base=model)
    model.engines.set([engine])
    measured(model, engine)
    measured(model, None, days=2, hardware="1 x <L4>", output_tokens=600)
    EngineEvent.objects.create(
        engine=engine,
        old_state="loading",
        new_state="ready",
        model="tiny",
        seconds=42,
    )
    rows.running(make_batch, name="CV <parsing>")
    client.force_login(owner)

    page = text(client, f"/models/{model.pk}/")

    for words in (
        "/m/&lt;b&gt;",
        "--max-model-len &#x27;8 k&#x27;",
        "90 s at most",
        ">tuned</a>",
        "gpu0, in 42 s",
        "CV &lt;parsing&gt;",
        "100 <span",
        "10 <span",
        "1 x &lt;L4&gt;",
        "not known: the files are not on the web server&#x27;s host",
        "<polyline",
    ):
        assert words in page
    assert "Change" not in page
    assert "Remove" not in page
    assert client.get("/models/999/").status_code == 404


def test_loads_that_failed_are_told_before_the_model_is_given_up(
    client: Client, owner: User
) -> None:
    model = a_model(load_failures=2, state_reason="<b>no room")
    client.force_login(owner)
    page = text(client, f"/models/{model.pk}/")
    assert "It did not load 2 times in a row; after three it is given up." in page
    assert "&lt;b&gt;no room" in page


def test_another_teams_batches_are_not_shown(
    client: Client, stranger: User, staff: User, make_batch: MakeBatch
) -> None:
    model = a_model()
    rows.running(make_batch, name="secret plan")
    client.force_login(stranger)
    assert "secret plan" not in text(client, f"/models/{model.pk}/")
    client.force_login(staff)
    assert "secret plan" in text(client, f"/models/{model.pk}/")


def test_an_external_models_page_has_no_loads_and_no_memory(
    client: Client, staff: User
) -> None:
    model = a_model("far", source="")
    client.force_login(staff)
    page = text(client, f"/models/{model.pk}/")
    assert "Servers elsewhere load their models themselves." in page
    assert "Memory, estimated" not in page
    assert f"/models/{model.pk}/change/" not in page
