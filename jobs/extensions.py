# SPDX-License-Identifier: Apache-2.0
"""What other apps add to the batch service, named in their AppConfig.ready.

Names and not objects: who needs none of it imports none of it.
"""

from __future__ import annotations

# Modules with a tuple CHORES of jobs.chores.Chore.
chore_modules: list[str] = []
