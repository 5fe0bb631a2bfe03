# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jobs.ordering import (
    RUNS_NOT,
    Order,
    Spool,
    cut_chunks,
    decide,
    is_deterministic,
    max_tokens,
    prefix_key,
)


def chat(document: str, question: str, **over: Any) -> dict[str, Any]:
    return {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": document},
            {"role": "user", "content": question},
        ],
        **over,
    }


def order(folder: Path, bodies: list[dict[str, Any]], *, dedupe: bool = True) -> Order:
    spool = Spool(folder)
    names = sorted({body["model"] for body in bodies if "model" in body})
    models = [names.index(b["model"]) if "model" in b else 0 for b in bodies]
    for model, body in zip(models, bodies, strict=True):
        spool.add(model=model, body=body, raw_body=json.dumps(body))
    return decide(spool.sorted_keys(), models, dedupe=dedupe)


def test_requests_over_one_document_follow_each_other(tmp_path: Path) -> None:
    documents = [str(n) * 2000 for n in range(5)]
    bodies = [chat(d, f"question {q}") for q in range(6) for d in documents]
    random.Random(1).shuffle(bodies)
    sequence = order(tmp_path, bodies).sequence()
    seen = [bodies[i]["messages"][0]["content"][0] for i in sequence]
    changes = sum(a != b for a, b in itertools.pairwise(seen))
    assert sorted(sequence) == list(range(30))
    assert changes == 4


def test_inside_a_group_the_longest_answers_start_first(tmp_path: Path) -> None:
    limits = [5, 500, 50, 5000]
    bodies = [chat("d" * 2000, str(n), max_tokens=n) for n in limits]
    bodies += [chat("e" * 2000, str(n), max_tokens=n) for n in limits]
    sequence = order(tmp_path, bodies).sequence()
    tokens = [max_tokens(bodies[i]) for i in sequence]
    assert tokens == [5000, 500, 50, 5] * 2


def test_input_order_stays_when_nothing_is_shared(tmp_path: Path) -> None:
    bodies = [chat(f"{n:04d} " * 300, "q", max_tokens=n) for n in range(1, 40)]
    assert list(order(tmp_path, bodies).sequence()) == list(range(39))


def test_what_all_requests_share_does_not_count_as_a_group(tmp_path: Path) -> None:
    bodies = [chat("same " * 500 + f"{n:04d} " * 300, "q") for n in range(30)]
    assert list(order(tmp_path, bodies).sequence()) == list(range(30))


def test_models_run_one_after_another_each_in_input_order(tmp_path: Path) -> None:
    bodies = [
        chat(f"{n:04d} " * 300, "q", model="small" if n % 3 else "large")
        for n in range(12)
    ]
    large, small = [0, 3, 6, 9], [1, 2, 4, 5, 7, 8, 10, 11]
    assert list(order(tmp_path, bodies).sequence()) == large + small


def test_what_all_requests_of_a_model_share_does_not_count_either(
    tmp_path: Path,
) -> None:
    bodies = [
        chat(model * 2000 + f"{n:04d} " * 300, "q", model=model)
        for n in range(9)
        for model in ("a", "b")
    ]
    sequence = list(order(tmp_path, bodies).sequence())
    assert sequence == [*range(0, 18, 2), *range(1, 18, 2)]


def test_exact_copies_of_deterministic_requests_run_once(tmp_path: Path) -> None:
    body = chat("d", "q", temperature=0)
    seeded = chat("d", "q", seed=7)
    hot = chat("d", "q", temperature=0.7)
    several = chat("d", "q", temperature=0, n=2)
    bodies = [hot, body, seeded, body, hot, several, seeded, several, body]
    found = order(tmp_path, bodies)
    copies = {i: c for i, c in enumerate(found.copies) if c != RUNS_NOT}
    assert copies == {3: 1, 8: 1, 6: 2}
    assert len(found.sequence()) == 6
    (tmp_path / "again").mkdir()
    assert len(order(tmp_path / "again", bodies, dedupe=False).sequence()) == 9


def test_deterministic_means_temperature_zero_or_a_seed_and_one_answer() -> None:
    assert is_deterministic({"temperature": 0})
    assert is_deterministic({"temperature": 0.0, "n": 1})
    assert is_deterministic({"seed": 0})
    assert not is_deterministic({})
    assert not is_deterministic({"temperature": False, "n": 3})
    assert not is_deterministic({"temperature": 0.1})
    assert not is_deterministic({"seed": 1, "n": 2})


def test_a_prefix_key_has_one_digest_per_full_block_and_an_upper_bound() -> None:
    assert prefix_key({"prompt": "x" * 255}) == ""
    assert len(prefix_key({"prompt": "x" * 513})) == 16
    assert len(prefix_key({"prompt": "x" * 1_000_000})) == 64 * 8
    assert prefix_key({"input": ["a" * 300]}) == prefix_key({"prompt": ["a" * 300]})
    assert prefix_key({"messages": "odd"}) == prefix_key({})


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 3_000_000)), max_size=200),
    st.integers(10, 2000),
)
def test_chunks_cover_every_request_once_within_their_limits(
    rows: list[tuple[int, int]], rate: int
) -> None:
    tokens = [t for t, _ in rows]
    sizes = [s for _, s in rows]
    models = [0 if i < len(rows) // 2 else 1 for i in range(len(rows))]
    sequence = list(range(len(rows)))
    chunks = cut_chunks(
        sequence,
        model_of=models,
        size_of=sizes,
        tokens_of=tokens,
        rates=[rate, rate],
    )
    covered = [place for start, end in chunks for place in range(start, end)]
    assert covered == sequence
    for start, end in chunks:
        assert len({models[i] for i in range(start, end)}) == 1
        assert end - start <= 256
        assert end - start == 1 or sum(sizes[start:end]) <= 8_000_000
        if end - start > 16:
            assert sum(tokens[start:end]) <= rate * 30
