# SPDX-License-Identifier: Apache-2.0
"""Items that say nearly the same: found by MinHash, with the `datasketch` library.

Source: Broder, A. Z. (1997). On the resemblance and containment of documents.
Compression and Complexity of Sequences 1997, 21-29.
"""

from __future__ import annotations

import re
from typing import Any

from jobs.row_checks.parameters import bad

PERMUTATIONS = 64
SHINGLE = 3
# Each costs about a kilobyte of memory.
MOST_ITEMS = 200_000
WORD = re.compile(r"\w+")
NO_LIBRARY = (
    "Near duplicates cannot be found here: datasketch, the “curation” extra, is not"
    " installed."
)


class Duplicates:
    """What was seen so far; two texts are alike by the Jaccard index of their shingles.

    Refused where datasketch is not installed.
    """

    def __init__(self, threshold: float) -> None:
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError:
            raise bad("alike", NO_LIBRARY) from None
        self._minhash = MinHash
        self._index: Any = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
        self._threshold = threshold
        self._kept: list[Any] = []

    def is_new(self, text: str) -> bool:
        """Whether nothing like it was seen; it counts as seen from now on if so.

        Refused beyond 200,000 items, which are as many as fit into memory.
        """
        sketch = self._minhash(num_perm=PERMUTATIONS)
        sketch.update_batch([one.encode() for one in shingles(text)])
        for key in self._index.query(sketch):
            # The index gives candidates; the sketches say how like they are.
            if self._kept[key].jaccard(sketch) >= self._threshold:
                return False
        if len(self._kept) >= MOST_ITEMS:
            why = f"near duplicates are looked for among {MOST_ITEMS:,} items at most."
            raise bad("alike", why)
        self._index.insert(len(self._kept), sketch)
        self._kept.append(sketch)
        return True


def shingles(text: str) -> set[str]:
    """Each three words in a row; of a shorter text its words together."""
    words = WORD.findall(text.casefold())
    if len(words) <= SHINGLE:
        return {" ".join(words)}
    return {" ".join(words[n : n + SHINGLE]) for n in range(len(words) - SHINGLE + 1)}
