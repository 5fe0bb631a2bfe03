# SPDX-License-Identifier: Apache-2.0
"""How `manage.py up` starts gunicorn, as gunicorn understands it."""

from __future__ import annotations

from gunicorn.config import Config

from batchsite.management.commands.up import web_server


def test_no_client_says_where_the_site_is_mounted_or_that_it_uses_https() -> None:
    command = web_server("127.0.0.1", 1).command
    config = Config()
    given = config.parser().parse_args(command[command.index("gunicorn") + 1 :])
    for name in ("forwarder_headers", "forwarded_allow_ips"):
        config.set(name, getattr(given, name))
    # SCRIPT_NAME and PATH_INFO, from 127.0.0.1, unless told otherwise.
    assert config.forwarder_headers == []
    assert config.forwarded_allow_ips == []
