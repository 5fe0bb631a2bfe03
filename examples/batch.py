# SPDX-License-Identifier: Apache-2.0
"""Send a JSONL file as a batch, watch it, and read the answers, with OpenAI's own SDK.

    export OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=sk-bs-…
    python batch.py requests.jsonl

Nothing in here knows Batchsite: point the two variables elsewhere and it runs there.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from openai import OpenAI

FINAL = {"completed", "failed", "expired", "cancelled"}


def show_progress(batch: Any, seconds: float) -> None:
    """One line that is drawn over itself in a terminal."""
    counts = batch.request_counts
    done, total = counts.completed + counts.failed, counts.total or 1
    bar = "█" * (30 * done // total) + "░" * (30 - 30 * done // total)
    text = f"{batch.status:<12} {bar} {done}/{counts.total} ({counts.failed} failed) {seconds:.0f} s"
    print(f"\r{text}", end="" if sys.stdout.isatty() else "\n", flush=True)


def read_lines(client: OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    """The lines of a result file; none when the batch has no such file."""
    if file_id is None:
        return []
    text = client.files.content(file_id).text
    return [json.loads(line) for line in text.splitlines()]


def main(path: str) -> int:
    client = OpenAI()
    with open(path, "rb") as file:  # noqa: PTH123 - as short as examples should be
        upload = client.files.create(file=file, purpose="batch")
    batch = client.batches.create(
        input_file_id=upload.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
    )
    print(f"uploaded {upload.id} ({upload.bytes:,} bytes), created {batch.id}")

    started, shown = time.monotonic(), None
    while batch.status not in FINAL:
        time.sleep(1)
        batch = client.batches.retrieve(batch.id)
        state = (batch.status, batch.request_counts)
        if sys.stdout.isatty() or state != shown:
            show_progress(batch, time.monotonic() - started)
            shown = state
    print()

    for error in (batch.errors and batch.errors.data) or []:
        print(f"line {error.line}: {error.code}: {error.message}")
    answers = read_lines(client, batch.output_file_id)
    for line in answers[:6]:
        message = line["response"]["body"]["choices"][0]["message"]["content"]
        print(f"  {line['custom_id']:<14} {' '.join(message.split())[:100]}")
    for line in read_lines(client, batch.error_file_id):
        if line["error"]:
            print(f"  {line['custom_id']:<14} failed: {line['error']['message']}")
        else:
            body = line["response"]["body"]
            status = line["response"]["status_code"]
            print(
                f"  {line['custom_id']:<14} failed: {status} {body['error']['message'][:100]}"
            )

    if counts := batch.request_counts:
        print(f"{batch.status}: {counts.completed} answered, {counts.failed} failed")
    if batch.usage and batch.in_progress_at and batch.completed_at:
        seconds = max(1, batch.completed_at - batch.in_progress_at)
        tokens = batch.usage.output_tokens
        print(
            f"{tokens:,} output tokens in {seconds} s: {tokens / seconds:.0f} tokens/s"
        )
    return 0 if batch.status == "completed" else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python batch.py REQUESTS.jsonl")
    sys.exit(main(sys.argv[1]))
