# SPDX-License-Identifier: Apache-2.0
"""What a program writes to watch, read and repeat one batch, ready to paste."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.utils.text import slugify

from jobs.models import Batch

LANGUAGES = ("curl", "python", "node")


@dataclass(frozen=True)
class Snippet:
    """A few lines for one purpose."""

    title: str
    code: str

    @property
    def id(self) -> str:
        """The element of the page that has the code."""
        return f"snippet-{slugify(self.title)}"


def of(batch: Batch, base: str, language: str) -> list[Snippet]:
    """The snippets in one of LANGUAGES; `base` is the API's address, with /v1."""
    make = {"curl": _curl, "python": _python, "node": _node}[language]
    return make(batch, base)


def arguments(batch: Batch) -> dict[str, Any]:
    """What POST /v1/batches takes to make the same batch of the same file again."""
    made: dict[str, Any] = {
        "input_file_id": batch.input_file_ref,
        "endpoint": batch.endpoint,
        "completion_window": batch.completion_window,
    }
    if batch.metadata:
        made["metadata"] = batch.metadata
    return made


def extensions(batch: Batch) -> dict[str, Any]:
    """The members that Batchsite adds, where they differ from the defaults."""
    made: dict[str, Any] = {}
    if batch.name:
        made["name"] = batch.name
    if batch.tags:
        made["tags"] = batch.tags
    if batch.priority:
        made["priority"] = batch.priority
    if not batch.dedupe:
        made["dedupe"] = False
    if batch.allow_mixed_models:
        made["allow_mixed_models"] = True
    if batch.output_order != Batch.OutputOrder.INPUT:
        made["output_order"] = batch.output_order
    if batch.webhook_url:
        made["webhook_url"] = batch.webhook_url
    return made


def _curl(batch: Batch, base: str) -> list[Snippet]:
    key = '-H "Authorization: Bearer $OPENAI_API_KEY"'
    place = f"{base}/batches/{batch.public_id}"
    body = json.dumps(arguments(batch) | extensions(batch), indent=2)
    found = [
        Snippet("How far is it?", f"curl {place} \\\n  {key}"),
        Snippet(
            "Results so far, also while it runs",
            f'curl "{place}/results?after=0&limit=1000" \\\n  {key}',
        ),
    ]
    found += [
        Snippet(title, f"curl {base}/files/{file}/content \\\n  {key} -o {name}")
        for title, file, name in _files(batch)
    ]
    if not batch.is_terminal:
        found.append(Snippet("Cancel it", f"curl -X POST {place}/cancel \\\n  {key}"))
    quoted = body.replace("'", "'\\''")
    found.append(
        Snippet(
            "The same once more",
            f"curl {base}/batches \\\n  {key} \\\n"
            f"  -H \"Content-Type: application/json\" \\\n  -d '{quoted}'",
        )
    )
    return found


def _python(batch: Batch, base: str) -> list[Snippet]:
    head = f"from openai import OpenAI\n\nclient = OpenAI(base_url={base!r})\n"
    found = [
        Snippet(
            "How far is it?",
            f"{head}batch = client.batches.retrieve({batch.public_id!r})\n"
            "print(batch.status, batch.request_counts)",
        ),
        Snippet(
            "Results so far, also while it runs",
            f'{head}page = client.get(\n    "/batches/{batch.public_id}/results?after=0",'
            "\n    cast_to=str,\n)\nprint(page)",
        ),
    ]
    found += [
        Snippet(
            title,
            f"{head}content = client.files.content({file!r})\n"
            f"content.write_to_file({name!r})",
        )
        for title, file, name in _files(batch)
    ]
    if not batch.is_terminal:
        found.append(
            Snippet("Cancel it", f"{head}client.batches.cancel({batch.public_id!r})")
        )
    lines = [f"    {k}={v!r}," for k, v in arguments(batch).items()]
    if extra := extensions(batch):
        lines.append(f"    extra_body={extra!r},")
    again = "\n".join(lines)
    found.append(
        Snippet("The same once more", f"{head}client.batches.create(\n{again}\n)")
    )
    return found


def _node(batch: Batch, base: str) -> list[Snippet]:
    head = f'import OpenAI from "openai";\n\nconst client = new OpenAI({{ baseURL: "{base}" }});\n'
    name = json.dumps(batch.public_id)
    found = [
        Snippet(
            "How far is it?",
            f"{head}const batch = await client.batches.retrieve({name});\n"
            "console.log(batch.status, batch.request_counts);",
        ),
        Snippet(
            "Results so far, also while it runs",
            f'{head}const page = await client.get("/batches/{batch.public_id}/results?after=0");\n'
            "console.log(page);",
        ),
    ]
    found += [
        Snippet(
            title,
            f'import {{ writeFile }} from "node:fs/promises";\n{head}'
            f"const content = await client.files.content({json.dumps(file)});\n"
            f"await writeFile({json.dumps(path)}, await content.text());",
        )
        for title, file, path in _files(batch)
    ]
    if not batch.is_terminal:
        found.append(
            Snippet("Cancel it", f"{head}await client.batches.cancel({name});")
        )
    body = json.dumps(arguments(batch) | extensions(batch), indent=2)
    found.append(
        Snippet("The same once more", f"{head}await client.batches.create({body});")
    )
    return found


def _files(batch: Batch) -> list[tuple[str, str, str]]:
    """Result files that can be downloaded: a title, the id, a name on disk."""
    return [
        (title, file.public_id, name)
        for title, file, name in (
            ("Download the answers", batch.output_file, "answers.jsonl"),
            ("Download the failures", batch.error_file, "failures.jsonl"),
        )
        if file is not None and file.deleted_at is None
    ]
