# SPDX-License-Identifier: Apache-2.0
"""`python -m batchsite.cli`, where the script `batchsite` is not installed."""

from __future__ import annotations

from .main import main

if __name__ == "__main__":
    main()
