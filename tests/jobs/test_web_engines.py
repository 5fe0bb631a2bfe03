# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from django.test import Client
from pytest_django import DjangoAssertNumQueries

from batchsite.accounts.models import User
from jobs.models import Engine, EngineEvent, ServedModel
from tests.conftest import MakeBatch
from tests.web import rows

GAUGES = {
    "gpus": [
        {
            "name": "H100",
            "utilization": 97,
            "memory_used": 70_400_000_000,
            "memory_total": 85_500_000_000,
            "temperature": 61,
            "power": 588.4,
        }
    ],
    "running": 236,
    "waiting": 0,
    "kv_cache": 0.95,
    "prefix_hits": 0.64,
}


def test_a_ready_engine_shows_its_gauges(client: Client, owner: User) -> None:
    rows.managed(gauges=GAUGES, version="0.32.0", in_flight=236)
    client.force_login(owner)

    page = client.get("/engines/").content.decode()

    for words in (
        "gpu0",
        "ready",
        "tiny",
        "vLLM 0.32.0",
        "95 %",
        "64 %",
        "H100",
        "97 %",
        "70 GB of 86 GB",
        "61 °C",
        "588 W",
    ):
        assert words in page
    # A cache that is nearly full wants an eye.
    assert page.count("bar-hot") == 1


def test_output_has_its_unit_and_an_external_engines_comes_from_its_results(
    client: Client, owner: User, make_batch: MakeBatch
) -> None:
    rows.managed(gauges={"tokens_s": 1234.5})
    external = rows.managed(
        "ext", kind="external", base_url="http://127.0.0.1:9", loaded_model=None
    )
    batch = rows.running(make_batch)
    rows.sampled(batch, external, rows=12, minutes=2)
    client.force_login(owner)

    page = client.get("/engines/").content.decode()

    assert "1,234 tok/s" in page
    # Six samples a minute of 12 results with 50 tokens each.
    assert "60 tok/s" in page


def test_no_gpu_is_said_in_words(client: Client, owner: User) -> None:
    rows.managed(gauges={"gpu_note": "no GPU: driver not loaded"})
    rows.managed("gpu1")
    client.force_login(owner)

    page = client.get("/engines/").content.decode()

    assert "no GPU: driver not loaded" in page
    assert page.count("no GPU") == 2


def test_loading_shows_how_long_and_the_last_line(client: Client, owner: User) -> None:
    rows.managed(
        state=Engine.State.LOADING,
        state_reason="swapping to tiny",
        gauges={"loading": {"elapsed": 19.4, "line": "<b>Loading weights"}},
    )
    client.force_login(owner)

    page = client.get("/engines/").content.decode()

    assert "swapping to tiny · loading for 19 s" in page
    assert "&lt;b&gt;Loading weights" in page


def test_a_dead_host_and_worker_are_named_with_their_commands(
    client: Client, owner: User
) -> None:
    rows.managed(alive=False)
    client.force_login(owner)

    page = client.get("/engines/").content.decode()
    cards = page[page.index('id="engine-cards"') : page.index('id="engine-day"')]

    # The last state that a dead host wrote is not shown as the present one.
    assert "not running" in cards
    assert ">ready<" not in cards
    assert "manage.py runengine --name gpu0" in cards
    assert "manage.py runworker --engine gpu0" in cards


def test_pause_and_fault_are_said(client: Client, owner: User) -> None:
    rows.managed(paused=True, fault="the engine answered 401: check its key")
    client.force_login(owner)

    page = client.get("/engines/").content.decode()

    assert "Paused: it takes no new requests." in page
    assert "the engine answered 401: check its key" in page


GATES = {
    "closed": [{"gate": "a", "cause": "x", "reason": "GPU 0 is <hot>", "since": 1}],
    "ended": [{"gate": "b", "cause": "the disk was full", "since": 60, "until": 120}],
}


def test_closed_gates_are_said_in_amber_and_earlier_ones_below(
    client: Client, owner: User
) -> None:
    rows.managed(gates=GATES)
    client.force_login(owner)

    page = client.get("/engines/").content.decode()

    assert 'is-amber hostile">Takes no new requests: GPU 0 is &lt;hot&gt;.' in page
    assert ">1 Jan 00:01:00</time> to <time" in page
    assert ": the disk was full." in page
    r = client.get("/engines/", headers={"hx-request": "true"})
    Engine.objects.update(gates={})
    again = client.get(
        "/engines/", headers={"hx-request": "true", "if-none-match": r["ETag"]}
    )
    assert again.status_code == 200


def test_gates_that_a_dead_worker_left_are_not_the_present_ones(
    client: Client, owner: User
) -> None:
    rows.managed(gates=GATES, worker_heartbeat=None)
    client.force_login(owner)

    assert "is &lt;hot&gt;" not in client.get("/engines/").content.decode()


def test_unexpected_gauges_do_not_break_the_page(client: Client, owner: User) -> None:
    rows.managed(gauges={"gpus": "none", "running": "x", "loading": [1], "kv_cache": 7})
    rows.managed("gpu1", gauges={"gpus": [3, {"utilization": None}]})
    client.force_login(owner)

    assert client.get("/engines/").status_code == 200


def test_polls_get_the_cards_alone_and_304(
    client: Client, owner: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for n in range(4):
        rows.managed(f"gpu{n}", gauges=GAUGES)
    client.force_login(owner)

    # session, user, engines, the models that are pinned to them, what became of estimates
    with django_assert_num_queries(5):
        r = client.get("/engines/", headers={"hx-request": "true"})
    again = client.get(
        "/engines/", headers={"hx-request": "true", "if-none-match": r["ETag"]}
    )

    assert r.content.decode().strip().startswith('<div id="engine-cards"')
    assert "<html" not in r.content.decode()
    assert again.status_code == 304


def test_models_that_belong_to_an_engine_and_adapters_are_named(
    client: Client, owner: User
) -> None:
    first = rows.managed(loaded_adapters={"tuned": "/m/tuned", "<b>": "/m/b"})
    second = rows.managed("gpu1", reserved=True)
    large = ServedModel.objects.create(name="large", source="/m/large")
    large.engines.set([first, second])
    rows.managed("gpu2", reserved=True)
    client.force_login(owner)

    page = " ".join(client.get("/engines/").content.decode().split())

    assert '<dt>adapters</dt> <dd class="hostile">&lt;b&gt;, tuned</dd>' in page
    assert '<dt>pinned here</dt> <dd class="hostile">large</dd>' in page
    assert '<dt>reserved for</dt> <dd class="hostile">large</dd>' in page
    assert '<dt>reserved for</dt> <dd class="hostile">no model yet</dd>' in page


def test_engines_that_share_a_gpu_say_so(client: Client, owner: User) -> None:
    gauges = {"gpus": [{"uuid": "GPU-1", "index": 0}]}
    rows.managed(gauges=gauges)
    rows.managed("gpu1", gauges=gauges)
    rows.managed("gpu2", gauges=gauges, alive=False)
    client.force_login(owner)

    page = client.get("/engines/").content.decode()

    assert page.count("GPU 0 is also used by the engine gpu1") == 1
    assert page.count("GPU 0 is also used by the engine gpu0") == 1
    assert "manage.py runengine --name gpu1 --gpus …" in page
    assert "used by the engine gpu2" not in page


def happened(engine: Engine, *steps: tuple[str, str, float, str]) -> None:
    """Moves with the seconds of the state before, and the model they are about."""
    for old, new, seconds, model in steps:
        EngineEvent.objects.create(
            engine=engine,
            old_state=old,
            new_state=new,
            seconds=seconds,
            model=model,
            generation=7,
        )


def test_a_card_tells_its_engines_history_and_goes_on_doing_so(
    client: Client, owner: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    engine = rows.managed()
    happened(
        engine,
        ("ready", "draining", 7200, "a"),
        ("draining", "stopping", 2, "a"),
        ("stopping", "stopped", 1, "a"),
        ("stopped", "loading", 0.25, "b"),
        ("loading", "ready", 12, "b"),
    )
    EngineEvent.objects.create(engine=engine, kind="died", reason="<b>killed")
    client.force_login(owner)

    assert "loaded b" not in client.get("/engines/").content.decode()
    with django_assert_num_queries(6):
        page = client.get(
            "/engines/?history=gpu0", headers={"hx-request": "true"}
        ).content.decode()

    for words in (
        "loaded b in 12 s",
        "the swap from a took 15 s, 3.2 s of it not loading:"
        " drained 2.0 s, stopped 1.0 s, waited 0.2 s",
        "draining after it was ready for 2 h",
        "&lt;b&gt;killed",
        'hx-get="/engines/?history=gpu0"',
    ):
        assert words in page
    # The newest comes first.
    assert page.index("killed") < page.index("loaded b")
    assert client.get("/engines/?history=none").status_code == 200


def test_without_engines_the_page_says_how_to_get_one(
    client: Client, owner: User
) -> None:
    client.force_login(owner)

    assert (
        "manage.py addengine NAME --url URL" in client.get("/engines/").content.decode()
    )
