# SPDX-License-Identifier: Apache-2.0
"""How models load: failures in a row are counted on the model, by whichever host."""

from __future__ import annotations

from django.db.models import F

from jobs.models import ServedModel

# After so many failed loads in a row a model is given up, so that others run.
ATTEMPTS = 3


class Loads:
    """The loads of one host that the database does not know of yet."""

    def __init__(self) -> None:
        self._failed: tuple[int, str] | None = None
        self._loaded: int | None = None

    def failed(self, model: ServedModel, why: str) -> None:
        """A load failed."""
        self._failed = (model.pk, why)

    def succeeded(self, model: ServedModel) -> None:
        """The model was loaded: earlier failures do not count any more."""
        self._loaded = model.pk

    def save(self) -> None:
        """Count them; at the third failure in a row the model is failed."""
        if self._failed is not None:
            count_failure(*self._failed)
            self._failed = None
        if self._loaded is not None:
            clear_failures(self._loaded)
            self._loaded = None


def count_failure(model_id: int, why: str, *, times: int = 1) -> None:
    """One more failed load, or `times`; at the third in a row the model is failed."""
    row = ServedModel.objects.filter(pk=model_id)
    row.update(load_failures=F("load_failures") + times, state_reason=why)
    row.filter(load_failures__gte=ATTEMPTS, state=ServedModel.State.ENABLED).update(
        state=ServedModel.State.FAILED
    )


def clear_failures(model_id: int) -> None:
    """The model was loaded: earlier failures do not count any more."""
    ServedModel.objects.filter(pk=model_id, load_failures__gt=0).update(
        load_failures=0, state_reason=""
    )
