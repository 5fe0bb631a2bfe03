# SPDX-License-Identifier: Apache-2.0
"""How Django writes dates where no template says how: in the admin."""

from __future__ import annotations

DATE_FORMAT = "j M Y"
DATETIME_FORMAT = "j M Y, H:i:s T"
