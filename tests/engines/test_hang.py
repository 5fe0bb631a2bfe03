# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import json
import threading
import urllib.request
from typing import Any

import pytest
from pytest_django import Settings

from jobs.engines import vllm
from jobs.engines.client import EngineClient
from jobs.engines.hang import Pulse
from jobs.models import EngineEvent
from tests.engine_process import counts
from tests.site import wait_for

METRICS = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 4.0
vllm:generation_tokens_total{engine="0",model_name="m"} 90.0
vllm:generation_tokens_created{engine="0",model_name="m"} 1.7e+09
vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 3.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 1.0
vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="m"} 5.0
vllm:iteration_tokens_total_count{engine="0",model_name="m"} 40.0
"""


def ask(url: str, **test: Any) -> None:
    """Send a request, and leave it to its fate."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps({**body, "test": test}).encode()
    )

    def send() -> None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(request, timeout=30).close()

    threading.Thread(target=send, daemon=True).start()


def test_progress_is_read_over_all_cores_and_reasons() -> None:
    progress = vllm.progress(METRICS)
    assert progress is not None
    assert progress.requests == 7
    assert progress.marks == {
        "num_requests_running": 3,
        "num_requests_waiting": 4,
        "generation_tokens_total": 90,
        "request_success_total": 4,
        "iteration_tokens_total_count": 40,
    }
    # Without vLLM's statistics there is nothing to judge by.
    assert vllm.progress("vllm:num_requests_running 3.0\n") is None
    assert vllm.progress("") is None


def test_only_a_core_with_requests_that_does_not_move_is_dead(
    test_engine: str, settings: Settings
) -> None:
    client = EngineClient(base_url=test_engine)
    settings.BATCHSITE_ENGINE_HANG_SECONDS = 60
    pulse = Pulse()
    assert pulse.feel(client, in_flight=0) is None
    pulse._moved -= 100
    # Idle for long is no hang.
    assert pulse.feel(client, in_flight=0) is None
    ask(test_engine, hang_core=True)
    wait_for(lambda: counts(test_engine)["running"])
    assert pulse.feel(client, in_flight=1) is None
    pulse._moved -= 100
    death = pulse.feel(client, in_flight=1)
    assert death is not None
    assert death.kind == EngineEvent.Kind.HUNG
    assert "produced no token for 100 s while 1 requests run" in death.why
    settings.BATCHSITE_ENGINE_HANG_SECONDS = 0
    assert pulse.feel(client, in_flight=1) is None


@pytest.mark.parametrize("moves", [True, False])
def test_requests_that_the_core_never_took_count_too(
    test_engine: str, settings: Settings, moves: bool
) -> None:
    client = EngineClient(base_url=test_engine)
    settings.BATCHSITE_ENGINE_HANG_SECONDS = 60
    pulse = Pulse()
    pulse.feel(client, in_flight=5)
    pulse._moved -= 100
    if moves:
        ask(test_engine)
        wait_for(lambda: counts(test_engine)["requests"])
        wait_for(lambda: not counts(test_engine)["running"])
    assert (pulse.feel(client, in_flight=5) is None) is moves


def test_tokens_a_second_are_those_since_the_last_reading(test_engine: str) -> None:
    client = EngineClient(base_url=test_engine)
    pulse = Pulse()
    pulse.feel(client, in_flight=0)
    assert pulse.gauges["tokens_s"] is None
    pulse._counted = (pulse._moved - 10, -50.0)
    pulse.feel(client, in_flight=0)
    speed: Any = pulse.gauges["tokens_s"]
    assert 0 < speed <= 5
    # An engine whose counter began anew has made nothing, not less than nothing.
    pulse._counted = (pulse._moved - 10, 1e9)
    pulse.feel(client, in_flight=0)
    assert pulse.gauges["tokens_s"] == 0
