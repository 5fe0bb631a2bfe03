# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from batchsite.accounts.models import ApiKey, Membership
from batchsite.accounts.people import create_api_key, ensure_member
from jobs.engines import install, registry
from jobs.models import Engine, ServedModel
from jobs.processes import child_setup

from .up import bring_database_up_to_date, manage

OWNER = "owner@example.com"
TEAM = "Demo"
ENGINE = "local"
EXAMPLES = settings.BASE_DIR / "examples"


class Command(BaseCommand):
    help = "Show the main job for real: install vLLM, start the site, run a batch through OpenAI's SDK."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=settings.BATCHSITE_PORT)

    def handle(self, *args: Any, **options: Any) -> None:
        begun = time.monotonic()
        self.say("Setting up vLLM and the bundled model (the first time takes minutes)")
        try:
            install.install(lambda text: self.say(f"  {text}"))
        except install.InstallError as error:
            raise CommandError(str(error)) from error
        bring_database_up_to_date()
        login = prepare_login()
        model, _ = registry.add_bundled_model()
        want_model(model)
        port = free_port(options["port"])
        log = settings.DATA_DIR / "logs" / "demo.log"
        self.say(f"Starting the site on port {port} (its log: {log})")
        with running_site(port, log) as site:
            self.wait_until_ready(site, port, log)
            self.say("Sending examples/requests.jsonl with examples/batch.py:\n")
            code = run_example(port, login["api_key"])
        if code:
            raise CommandError(
                f"The example ended with {code}; the site's log is {log}."
            )
        self.say(f"\nDone in {time.monotonic() - begun:.0f} s. Now look for yourself:")
        self.say("  make run                                starts the site again")
        self.say(
            f"  http://127.0.0.1:{settings.BATCHSITE_PORT}/".ljust(42)
            + "shows this batch and its answers"
        )
        self.say(f"  {OWNER}".ljust(42) + f"with the password  {login['password']}")
        self.say(f"  OPENAI_API_KEY={login['api_key']}")

    def say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def wait_until_ready(
        self, site: subprocess.Popen[bytes], port: int, log: Path
    ) -> None:
        """Wait for the web server and the engine, telling what the engine does."""
        told = ""
        deadline = time.monotonic() + settings.BATCHSITE_ENGINE_START_TIMEOUT
        while True:
            if site.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise CommandError(f"The site did not start; the end of {log}:\n{tail}")
            engine = Engine.objects.get(name=ENGINE)
            state = f"  engine: {engine.state}"
            if engine.state in (Engine.State.READY, Engine.State.FAILED):
                state += f": {engine.state_reason}"
            if state != told:
                self.say(state)
                told = state
            if engine.state == Engine.State.READY and web_answers(port):
                return
            time.sleep(0.5)


def prepare_login() -> dict[str, str]:
    """The demo's person, team and key; kept in the data folder, mode 600."""
    path = settings.DATA_DIR / "demo_login.json"
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    membership = ensure_member(team_name=TEAM, email=OWNER)
    user = membership.user
    if not user.check_password(known.get("password", "")):
        known["password"] = secrets.token_urlsafe(12)
        user.set_password(known["password"])
    user.is_staff = user.is_superuser = True
    user.save(update_fields=["password", "is_staff", "is_superuser"])
    if not usable_key(membership, known.get("api_key", "")):
        known["api_key"] = create_api_key(team=membership.team, user=user, name="demo")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        json.dump(known, out)
    return known


def usable_key(membership: Membership, token: str) -> bool:
    """Whether the remembered key still opens the team's door."""
    from knox.crypto import hash_token

    return bool(
        token
        and ApiKey.objects.usable()
        .filter(digest=hash_token(token), team=membership.team)
        .exists()
    )


def want_model(model: ServedModel) -> None:
    """Have the engine load the model as soon as its host starts."""
    Engine.objects.update_or_create(
        name=ENGINE,
        defaults={"wanted_model": model},
        create_defaults={"kind": Engine.Kind.MANAGED, "wanted_model": model},
    )


def free_port(wanted: int) -> int:
    """The wanted port, or any free one when something else has it."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise CommandError("No port of 127.0.0.1 is free.")


@contextlib.contextmanager
def running_site(port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`manage.py up` for the length of a with block."""
    log.parent.mkdir(parents=True, exist_ok=True)
    connections.close_all()
    with log.open("wb") as out:
        site = subprocess.Popen(  # noqa: S603 - our own command
            manage("up", "--port", str(port), "--name", ENGINE),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=child_setup(signal.SIGTERM),
        )
    try:
        yield site
    finally:
        site.terminate()
        site.wait()


def web_answers(port: int) -> bool:
    """Whether the web server serves pages already."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/login/", timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def run_example(port: int, api_key: str) -> int:
    """Run the example program as a user would; its exit code."""
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, EXAMPLES / "batch.py", EXAMPLES / "requests.jsonl"],
        env=os.environ
        | {
            "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
            "OPENAI_API_KEY": api_key,
            "PYTHONUNBUFFERED": "1",
        },
        check=False,
    ).returncode
