# SPDX-License-Identifier: Apache-2.0
"""Trying a model out: one short request, by the way that every batch goes."""

from __future__ import annotations

import json
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction

from batchsite.accounts.models import Team, User

from . import file_store, submit
from .models import Batch, BatchFile, ServedModel
from .refusals import Refused

# The most urgent there is; and the shortest life that a batch may have.
PRIORITY = 100
PROMPT = "Say hello in one short sentence."
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": 40,
    },
    "/v1/completions": {"prompt": PROMPT, "max_tokens": 40},
    "/v1/embeddings": {"input": PROMPT},
}


def run(
    *,
    model: ServedModel,
    team: Team,
    user: User,
    endpoint: str = "/v1/chat/completions",
) -> Batch:
    """An ordinary batch of one row that asks the model; Refused.

    The team's limits hold for it as for any other.
    """
    if endpoint not in BODIES:
        raise Refused(f"A model cannot be tried at {endpoint!r}.", param="endpoint")
    if model.state != ServedModel.State.ENABLED:
        raise Refused(f"{model} is {model.state}, so that no batch may name it.")
    line = {
        "custom_id": "test",
        "method": "POST",
        "url": endpoint,
        "body": {"model": model.name, **BODIES[endpoint]},
    }
    content = json.dumps(line).encode() + b"\n"
    file = file_store.store_upload(
        team=team,
        user=user,
        upload=SimpleUploadedFile("model-test.jsonl", content),
        purpose=BatchFile.Purpose.BATCH,
    )
    try:
        with transaction.atomic():
            return submit.create_batch(
                team=team,
                user=user,
                input_file_id=file.public_id,
                endpoint=endpoint,
                name=name_of(model),
                priority=PRIORITY,
                dedupe=False,
                expires_in_seconds=submit.SHORTEST_SECONDS,
            )
    except Refused:
        file_store.delete_file(file=file, user=user)
        raise


def name_of(model: ServedModel) -> str:
    """What the batch of a trial is called."""
    return f"test of {model.name}"[:200]
