# SPDX-License-Identifier: Apache-2.0
"""What state a model is in, as a chip and in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.models import Engine, EngineModel, ServedModel
from jobs.templatetags.figures import printable

from . import engines

State = ServedModel.State


@dataclass(frozen=True)
class Standing:
    """Icon, colour and word of the chip, and the rest in words.

    `engines` are the names of those that serve it now, or may.
    """

    picture: str
    colour: str
    word: str
    detail: str
    engines: list[str]


class Site:
    """The engines, and which models the external ones serve; two queries."""

    def __init__(self) -> None:
        self.engines = engines.engines()
        self._external: defaultdict[int, list[int]] = defaultdict(list)
        pairs = EngineModel.objects.values_list("served_model", "engine")
        for model, engine in pairs.order_by("engine__name"):
            self._external[model].append(engine)
        self._by_pk = {engine.pk: engine for engine in self.engines}

    @property
    def managed(self) -> list[Engine]:
        """Those with a host of ours."""
        return [e for e in self.engines if e.kind == Engine.Kind.MANAGED]

    def serving(self, model: ServedModel) -> list[Engine]:
        """External engines that list the model."""
        return [self._by_pk[pk] for pk in self._external.get(model.pk, ())]

    def loaded(self, model: ServedModel) -> list[Engine]:
        """Managed engines that have it ready, as their hosts say."""
        return [
            e
            for e in self.managed
            if engines.runs(e)
            and e.state in (Engine.State.READY, Engine.State.DRAINING)
            and model.name in e.served_names()
        ]

    def loading(self, model: ServedModel) -> list[Engine]:
        """Managed engines that are about to have it."""
        wanted = {model.pk, model.base_id} - {None}
        return [
            e
            for e in self.managed
            if engines.runs(e)
            and e.state == Engine.State.LOADING
            and e.wanted_model_id in wanted
        ]

    def may_load(self, model: ServedModel) -> list[Engine]:
        """Managed engines that the pins allow; those of an adapter are its base's."""
        pins = {engine.pk for engine in (model.base or model).engines.all()}
        return [e for e in self.managed if (e.pk in pins if pins else not e.reserved)]


def standing(model: ServedModel, site: Site) -> Standing:
    """The model's state, the strongest fact first."""
    if model.state == State.FAILED:
        why = printable(model.state_reason) or "it did not load three times"
        return Standing("cross", "red", "failed", why, [])
    if model.state == State.DISABLED:
        return Standing("off", "plain", "disabled", "No batch may name it.", [])
    base = model.base
    if base is not None and base.state != State.ENABLED:
        words = f"Its base {printable(base.name)} is {base.state}."
        return Standing("alert", "amber", "waits for its base", words, [])
    return _enabled(model, site)


def _enabled(model: ServedModel, site: Site) -> Standing:
    if loaded := names(site.loaded(model)):
        return Standing("check", "green", "loaded", f"on {_and(loaded)}", loaded)
    if loading := names(site.loading(model)):
        return Standing("load", "amber", "loading", f"on {_and(loading)}", loading)
    serving = site.serving(model)
    if living := names([e for e in serving if engines.runs(e)]):
        return Standing("check", "green", "served", f"by {_and(living)}", living)
    if not model.is_loadable:
        if not serving:
            return Standing(
                "alert", "amber", "nowhere", "No engine serves it any more.", []
            )
        words = f"{_and(names(serving))} has no running worker."
        return Standing("alert", "amber", "not reachable", words, names(serving))
    able = site.may_load(model)
    if living := names([e for e in able if engines.runs(e)]):
        words = f"{_and(living)} can load it when a batch wants it."
        return Standing("clock", "plain", "loadable", words, living)
    if able:
        verb = "is" if len(able) == 1 else "are"
        words = f"{_and(names(able))} could load it and {verb} not running."
    elif site.managed:
        words = "All engines are reserved for other models: pin it to one of them."
    else:
        words = "No engine is known: 'manage.py runengine --name gpu0' starts one."
    return Standing("alert", "amber", "no engine", words, names(able))


def names(found: Sequence[Engine]) -> list[str]:
    """The engines' names."""
    return [engine.name for engine in found]


def _and(words: Sequence[str]) -> str:
    return " and ".join(words)


def standings(models: Sequence[ServedModel], site: Site) -> Mapping[int, Standing]:
    """The standing of each, by primary key."""
    return {model.pk: standing(model, site) for model in models}
