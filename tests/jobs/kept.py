# SPDX-License-Identifier: Apache-2.0
"""What a site keeps on its disk."""

from __future__ import annotations

from pathlib import Path


def stored_files(data_folder: Path) -> list[Path]:
    """The files in the storage and in the spool."""
    folders = (data_folder / "files", data_folder / "spool")
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]
