# SPDX-License-Identifier: Apache-2.0
"""Logging: lines for people in a terminal, JSON everywhere else, ids on both."""

from __future__ import annotations

import logging.config
import sys
from typing import Any

import structlog
from django.http import HttpRequest

from batchsite.accounts.addresses import client_address

SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def configure(_config: dict[str, Any]) -> None:
    """Django's LOGGING_CONFIG hook; reads LOG_LEVEL and LOG_FORMAT (auto, human, json)."""
    from django.conf import settings

    human = settings.LOG_FORMAT == "human" or (
        settings.LOG_FORMAT == "auto" and sys.stderr.isatty()
    )
    renderers: list[Any] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # Not the rich one: it prints local variables, keys among them.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
        if human
        else [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )
    structlog.configure(
        processors=[*SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "site": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": SHARED,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        *renderers,
                    ],
                }
            },
            "handlers": {
                "stderr": {"class": "logging.StreamHandler", "formatter": "site"}
            },
            "root": {"handlers": ["stderr"], "level": settings.LOG_LEVEL},
            "loggers": {
                # One line per request is the web server's business.
                "django_structlog": {"level": "WARNING"},
                "django-q": {"level": "WARNING"},
                # Sign-ins are in the audit log.
                "axes": {"level": "WARNING"},
            },
        }
    )


def bind_address(request: HttpRequest, **_: Any) -> None:
    """Put the client's address on the log lines of its request."""
    structlog.contextvars.bind_contextvars(ip=client_address(request))
