# SPDX-License-Identifier: Apache-2.0
"""Where an answer is from: engine, version, model, sampling, tries, copies, the cache."""

from __future__ import annotations

import json
from typing import Any

from .models import BatchRequest, Result

# Members of a request body that decide what is drawn: OpenAI's, and those that vLLM
# adds (the fields of its SamplingParams).
SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "n",
    "best_of",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "min_tokens",
    "stop",
    "stop_token_ids",
    "ignore_eos",
    "bad_words",
    "logit_bias",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "length_penalty",
    "use_beam_search",
)


def sampling_of(request: BatchRequest) -> dict[str, Any]:
    """The sampling that the request asks for, as it is sent; the rest is the engine's."""
    body = json.loads(request.body)
    return {name: body[name] for name in SAMPLING if name in body}


def provenance_of(result: Result) -> dict[str, Any]:
    """All that is known of where a result is from.

    `engine`, `generation`, `engine_version`, `model_source`, `model_revision`, and where
    they apply `adapter_source` (of a LoRA adapter), `rewritten` (members of the body
    that were changed for the engine) and `copied_from` (the custom_id of the request
    that ran for this one) are stored with the result. `sampling` comes from the stored
    request, which never changes. `attempts` are tries at an engine, 0 for a copy;
    `cached_tokens` those of the prompt that vLLM had in its prefix cache.
    """
    return {
        **result.provenance,
        "sampling": sampling_of(result.request),
        "attempts": result.attempts,
        "cached_tokens": result.cached_tokens,
    }
