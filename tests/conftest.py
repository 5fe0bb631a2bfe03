# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

# Fixtures: site, postgres.
pytest_plugins = ["tests.site"]
