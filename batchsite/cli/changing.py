# SPDX-License-Identifier: Apache-2.0
"""`retry` and `cancel`."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import typer

from . import options, watching
from .api import path_of
from .printing import say, status_word, write_json
from .session import site
from .submitting import made

CustomIds = Annotated[
    list[str] | None,
    typer.Option("--custom-id", help="A row to take instead; may be repeated."),
]


def retry(
    batch_id: options.BatchId,
    model: options.Model = "",
    system: options.System = "",
    temperature: options.Temperature = None,
    max_tokens: options.MaxTokens = None,
    members: options.Members = None,
    custom_ids: CustomIds = None,
    name: options.Name = "",
    tags: options.Tags = None,
    priority: options.Priority = None,
    window: options.Window = "",
    webhook: options.Webhook = "",
    watch: options.Watch = False,
    strict: options.Strict = False,
    as_json: options.Json = False,
) -> None:
    """Run the failed rows of a batch that has ended again, changed if you like.

    They become a batch of their own; all that is not named stays the parent's.
    """
    options.check_strict(strict=strict, watch=watch)
    given: dict[str, Any] = {
        "model": model,
        "system_prompt": options.text_of(system),
        "body": options.members_of(
            members, max_tokens=max_tokens, temperature=temperature
        ),
        "custom_ids": list(custom_ids or ()),
        "batchsite": options.extensions(
            name=name,
            tags=tags,
            priority=priority,
            window=window,
            webhook=webhook,
        ),
    }
    api = site()
    child = api.post(
        path_of("batches", batch_id, "retry"),
        {key: value for key, value in given.items() if value},
        idempotency_key=secrets.token_hex(16),
    )
    made(api, child, watch=watch, strict=strict, as_json=as_json)


def cancel(batch_id: options.BatchId, as_json: options.Json = False) -> None:
    """End a batch: nothing new is started, and what was answered is kept."""
    batch = site().post(path_of("batches", batch_id, "cancel"), repeat=True)
    if as_json:
        write_json(batch)
    else:
        say(f"{batch['id']} is {status_word(batch)}.")
        if not watching.is_final(batch):
            say("Requests at the engine get up to 30 s.")
