# SPDX-License-Identifier: Apache-2.0
"""Reading answers as the `openai` package's types, without its usual leniency.

The SDK builds its objects from whatever came; validating the raw text instead fails
on a field that is absent, of another type (no conversion), or not in its enum.
"""

from __future__ import annotations

from typing import Any, TypeVar

from httpx2 import Response
from openai.pagination import SyncCursorPage, SyncPage
from openai.types import Batch, FileDeleted, FileObject, Model, Upload
from openai.types.uploads import UploadPart
from pydantic import BaseModel

Answer = TypeVar("Answer", bound=BaseModel)
BatchPage = SyncCursorPage[Batch]
FilePage = SyncCursorPage[FileObject]
ModelPage = SyncPage[Model]

__all__ = [
    "Batch",
    "BatchPage",
    "FileDeleted",
    "FileObject",
    "FilePage",
    "Model",
    "ModelPage",
    "Upload",
    "UploadPart",
    "ok",
    "strict",
]


def strict(model: type[Answer], raw: str | bytes) -> Answer:
    """The answer as that type; pydantic's ValidationError when it is not exactly that."""
    return model.model_validate_json(raw, strict=True)


def ok(model: type[Answer], answer: Response) -> tuple[Answer, dict[str, Any]]:
    """The typed and the plain content of a 200; AssertionError for another status."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return strict(model, answer.content), answer.json()
