# SPDX-License-Identifier: Apache-2.0
"""Adds models and external engines; the commands and the admin call these."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import transaction

from jobs.models import Engine, EngineModel, ServedModel

from . import install, probe, vllm
from .adapters import CONFIG, BadAdapter, rank_of
from .client import EngineClient, EngineUnreachable, root_url

DEFAULT_WINDOW = 64
# What to do in place of an argument that is refused.
HINTS = {
    "--revision": " Use --revision.",
    "--lora-modules": " Add each adapter as a model, with --base.",
}
ENGINE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,49}")
# A week, in seconds.
LONGEST_TRY = 7 * 86_400


class CannotRegister(Exception):
    """What is wrong with the model or engine, and what to do, in words."""


@dataclass(frozen=True, slots=True)
class AddedEngine:
    """What add_engine did: public names to the engine's own names."""

    engine: Engine
    created: bool
    models: dict[str, str]
    removed: list[str] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)


def add_model(
    *,
    name: str,
    source: str,
    revision: str = "",
    engine_args: Sequence[str] = (),
    base: str = "",
    engines: Sequence[str] | None = None,
    request_timeout: int | None = None,
) -> tuple[ServedModel, bool]:
    """Register a model that managed engines load, or change it; True when it is new.

    A path is made absolute and must hold a config.json, that of a LoRA adapter of `base`
    an adapter_config.json. `engines` pins the model to these alone; none: to no engine,
    None: as it was. `request_timeout` are the seconds for one try; 0: the site's, None:
    as it was. A failed model is enabled again. Raises CannotRegister.
    """
    check_name(name, "model")
    if own := vllm.own_argument(engine_args):
        raise CannotRegister(f"{own} is set by Batchsite itself.{HINTS.get(own, '')}")
    values: dict[str, object] = {
        "source": checked_source(source, CONFIG if base else "config.json"),
        "revision": revision,
        "engine_args": list(engine_args),
        "base": base_model(base) if base else None,
    }
    if request_timeout is not None:
        values["request_timeout"] = checked_timeout(request_timeout)
    with transaction.atomic():
        model, created = ServedModel.objects.select_for_update().get_or_create(
            name=name, defaults=values
        )
        if not created:
            for column, value in (values | enabled_again(model)).items():
                setattr(model, column, value)
            model.save(
                update_fields=[*values, "state", "state_reason", "load_failures"]
            )
        # Taken back with the transaction when it does not hold.
        check_adapter(model)
        pin(model, engines)
    return model, created


def checked_timeout(seconds: int) -> int | None:
    """What the column holds for so many seconds; CannotRegister for no such limit."""
    if not 0 <= seconds <= LONGEST_TRY:
        raise CannotRegister(
            f"{seconds} s is no limit for a request: 1 to {LONGEST_TRY:,}, or 0 for the"
            " site's."
        )
    return seconds or None


def base_model(name: str) -> ServedModel:
    """The model of that name; CannotRegister when there is none."""
    try:
        return ServedModel.objects.get(name=name)
    except ServedModel.DoesNotExist:
        raise CannotRegister(
            f"There is no model {name!r} to be the base; add it first."
        ) from None


def check_adapter(model: ServedModel) -> None:
    """Refuse an adapter that cannot be one; CannotRegister."""
    try:
        model.clean()
    except ValidationError as error:
        raise CannotRegister(" ".join(error.messages)) from error


def pin(model: ServedModel, names: Sequence[str] | None) -> None:
    """Let these managed engines alone load the model; none: any of them, None: as before.

    Raises CannotRegister for a name that no managed engine has, and for an adapter.
    """
    if model.base is not None:
        if names:
            raise CannotRegister(
                f"An adapter runs where its base runs: pin {model.base} instead."
            )
        names = []
    if names is None:
        return
    managed = Engine.objects.filter(kind=Engine.Kind.MANAGED)
    known = list(managed.values_list("name", flat=True))
    if unknown := sorted(set(names) - set(known)):
        raise CannotRegister(
            f"There is no managed engine {unknown[0]!r}; 'manage.py runengine --name"
            f" {unknown[0]}' makes it. Known: {', '.join(known) or 'none'}."
        )
    model.engines.set(managed.filter(name__in=names))


def add_bundled_model() -> tuple[ServedModel, bool]:
    """Register the model that comes with Batchsite; CannotRegister if not installed."""
    return add_model(name=install.MODEL_NAME, source=str(install.model_folder()))


def enabled_again(model: ServedModel) -> dict[str, object]:
    """The columns that let a failed model be tried anew; {} for any other."""
    if model.state != ServedModel.State.FAILED:
        return {}
    return {
        "state": ServedModel.State.ENABLED,
        "state_reason": "",
        "load_failures": 0,
    }


def check_name(name: str, what: str) -> None:
    """Refuse a name that does not fit its column or a header of HTTP."""
    if not 0 < len(name) <= 200 or not name.isprintable() or name != name.strip():
        raise CannotRegister(
            f"{name!r} is no {what} name: 1 to 200 printable characters."
        )


def check_engine_name(name: str) -> None:
    """Refuse a name that cannot be part of a file's and a queue's name."""
    if not ENGINE_NAME.fullmatch(name):
        raise CannotRegister(
            f"{name!r} is no engine name: 1 to 50 letters, digits, '-', '_' and '.',"
            " beginning with a letter or digit."
        )


def checked_source(source: str, needed: str) -> str:
    """A Hugging Face id as it is, a path made absolute; CannotRegister if unusable.

    `needed` is the file that a folder must hold.
    """
    path = Path(source).expanduser()
    if not vllm.is_local(source) and not path.is_dir():
        if source.count("/") > 1 or not source.strip("/") or " " in source:
            raise CannotRegister(
                f"{source!r} is neither a folder nor a Hugging Face id (owner/name)."
            )
        return source
    path = path.resolve()
    if not path.is_dir():
        raise CannotRegister(f"There is no folder {path}.")
    if not (path / needed).is_file():
        hint = (
            " It is a LoRA adapter: name its model with --base."
            if (path / CONFIG).is_file()
            else ""
        )
        raise CannotRegister(
            f"{path} is no {'adapter' if needed == CONFIG else 'model'} folder: it has"
            f" no {needed}.{hint}"
        )
    if needed == CONFIG:
        try:
            rank_of(path)
        except BadAdapter as error:
            raise CannotRegister(f"{error}.") from error
    return str(path)


def add_engine(
    *,
    name: str,
    url: str,
    api_key_env: str = "",
    renames: Mapping[str, str] | None = None,
    window: int = DEFAULT_WINDOW,
) -> AddedEngine:
    """Register an external OpenAI-compatible server and the models it lists.

    `renames` gives public names to some of the engine's own; the others keep theirs.
    Models become usable at once. Run again, it brings the engine up to date. Raises
    CannotRegister when the server cannot be used or a name clashes.
    """
    check_engine(name=name, url=url, api_key_env=api_key_env, window=window)
    about = ask(url=url, api_key_env=api_key_env)
    models = public_names(about.models, renames or {})
    for public in models:
        check_name(public, "model")
    with transaction.atomic():
        engine, created = Engine.objects.update_or_create(
            name=name,
            defaults={
                "kind": Engine.Kind.EXTERNAL,
                "base_url": root_url(url),
                "api_key_env": api_key_env,
                "version": about.version,
                "state": Engine.State.READY,
                "state_reason": f"serves at {root_url(url)}",
            },
        )
        return AddedEngine(
            engine,
            created,
            models,
            removed=serve_exactly(engine, models, window),
            disabled=list(
                ServedModel.objects.filter(
                    name__in=models, state=ServedModel.State.DISABLED
                ).values_list("name", flat=True)
            ),
        )


def check_engine(*, name: str, url: str, api_key_env: str, window: int) -> None:
    """CannotRegister for values that cannot be an external engine's."""
    if not (parts := urlsplit(url)).netloc or parts.scheme not in ("http", "https"):
        raise CannotRegister(f"{url!r} is no http or https address.")
    if parts.query or parts.fragment or parts.username:
        raise CannotRegister(
            "The address must be plain (no key, no '?'): the key's place is an"
            " environment variable, named by --api-key-env."
        )
    check_engine_name(name)
    if window < 1:
        raise CannotRegister("--window must be at least 1.")
    if api_key_env and not os.environ.get(api_key_env):
        raise CannotRegister(
            f"The environment variable {api_key_env} is not set here. It must hold the"
            " engine's key, for this command and for the engine's worker."
        )
    if Engine.objects.filter(name=name, kind=Engine.Kind.MANAGED).exists():
        raise CannotRegister(
            f"{name} is the name of a managed engine (runengine); take another one."
        )


def ask(*, url: str, api_key_env: str) -> probe.Identity:
    """What the server says about itself; CannotRegister when it is no use."""
    key = os.environ.get(api_key_env, "") if api_key_env else ""
    try:
        return probe.identity(EngineClient(base_url=url, api_key=key))
    except EngineUnreachable as error:
        raise CannotRegister(f"{root_url(url)} cannot be reached: {error}.") from error
    except probe.BadAnswer as error:
        hint = "" if api_key_env else " Does it need --api-key-env?"
        raise CannotRegister(
            f"{root_url(url)} cannot be used: {error}."
            f"{hint if 'API key' in str(error) else ''}"
        ) from error


def public_names(listed: Sequence[str], renames: Mapping[str, str]) -> dict[str, str]:
    """Public to remote names; CannotRegister for an unlisted or doubled one."""
    for remote in renames.values():
        if remote not in listed:
            raise CannotRegister(
                f"The engine serves no {remote!r}. It serves: {', '.join(listed)}."
            )
    renamed = set(renames.values())
    kept = {remote: remote for remote in listed if remote not in renamed}
    if doubled := sorted(set(renames) & set(kept)):
        raise CannotRegister(
            f"{doubled[0]!r} is the name of another model of this engine already;"
            " take another public name."
        )
    return dict(renames) | kept


def serve_exactly(engine: Engine, models: Mapping[str, str], window: int) -> list[str]:
    """Make the engine's models these; returns the public names it serves no more."""
    for public, remote in models.items():
        model, _ = ServedModel.objects.get_or_create(name=public)
        if changes := enabled_again(model):
            ServedModel.objects.filter(pk=model.pk).update(**changes)
        EngineModel.objects.update_or_create(
            engine=engine,
            served_model=model,
            defaults={"remote_name": remote, "window": window},
        )
    gone = engine.serves.exclude(served_model__name__in=models)
    names = list(gone.values_list("served_model__name", flat=True))
    gone.delete()
    return names
