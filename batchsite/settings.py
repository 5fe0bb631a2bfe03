# SPDX-License-Identifier: Apache-2.0
"""The one settings module. Every knob is read from the environment; docs/settings.md lists them all."""

from __future__ import annotations

import os
import secrets
from datetime import timedelta
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"

# FileAwareEnv also reads NAME_FILE, so that secrets can come from mounted files.
env = environ.FileAwareEnv()


def data_folder() -> Path:
    """The folder that holds everything Batchsite writes; made on first use, mode 700."""
    folder = Path(env.str("BATCHSITE_DATA", default=str(BASE_DIR / "var"))).resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def generated_secret_key(folder: Path) -> str:
    """The key kept in the data folder: made once, readable by its owner only."""
    path = folder / "secret_key"
    draft = folder / f"secret_key.{os.getpid()}"
    if not path.exists():
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(secrets.token_urlsafe(64))
        try:
            # link() refuses to replace: of two first starts one key wins.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


# --- where and how it runs
PRODUCTION: bool = env.bool("BATCHSITE_PRODUCTION", default=False)
DEBUG: bool = env.bool("DEBUG", default=False)
DATA_DIR = data_folder()
SPOOL_DIR = DATA_DIR / "spool"
RUN_DIR = DATA_DIR / "run"
# A mounted secret file often ends with a newline, which is not part of the key.
SECRET_KEY: str = env.str("SECRET_KEY", default="").strip()
if not SECRET_KEY:
    if PRODUCTION:
        raise ImproperlyConfigured(
            "SECRET_KEY (or SECRET_KEY_FILE) must be set when BATCHSITE_PRODUCTION is on."
        )
    SECRET_KEY = generated_secret_key(DATA_DIR)
ALLOWED_HOSTS: list[str] = env.list(
    "ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"]
)
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# --- the product's own knobs
BATCHSITE_PORT: int = env.int("BATCHSITE_PORT", default=8000)
BATCHSITE_WEB_PROCESSES: int = env.int("BATCHSITE_WEB_PROCESSES", default=2)
BATCHSITE_WEB_THREADS: int = env.int("BATCHSITE_WEB_THREADS", default=8)
BATCHSITE_MAX_FILE_BYTES: int = env.int("BATCHSITE_MAX_FILE_BYTES", default=200_000_000)
# As OpenAI's 2.5 TB of a project. 0: no limit.
BATCHSITE_MAX_STORED_BYTES: int = env.int(
    "BATCHSITE_MAX_STORED_BYTES", default=2_500_000_000_000
)
BATCHSITE_MAX_LINE_BYTES: int = env.int("BATCHSITE_MAX_LINE_BYTES", default=16_000_000)
BATCHSITE_MAX_REQUESTS: int = env.int("BATCHSITE_MAX_REQUESTS", default=50_000)
# What may wait, and how fast it may come; teams can have their own. 0: no limit.
BATCHSITE_MAX_QUEUED_REQUESTS: int = env.int(
    "BATCHSITE_MAX_QUEUED_REQUESTS", default=5_000_000
)
BATCHSITE_MAX_QUEUED_REQUESTS_TOTAL: int = env.int(
    "BATCHSITE_MAX_QUEUED_REQUESTS_TOTAL", default=20_000_000
)
BATCHSITE_MAX_QUEUED_TOKENS: int = env.int(
    "BATCHSITE_MAX_QUEUED_TOKENS", default=5_000_000_000
)
BATCHSITE_MAX_QUEUED_TOKENS_TOTAL: int = env.int(
    "BATCHSITE_MAX_QUEUED_TOKENS_TOTAL", default=20_000_000_000
)
BATCHSITE_BATCHES_PER_HOUR: int = env.int("BATCHSITE_BATCHES_PER_HOUR", default=2000)
BATCHSITE_REQUESTS_PER_MINUTE: int = env.int(
    "BATCHSITE_REQUESTS_PER_MINUTE", default=6000
)
BATCHSITE_FAILED_KEYS_PER_MINUTE: int = env.int(
    "BATCHSITE_FAILED_KEYS_PER_MINUTE", default=300
)
BATCHSITE_REQUEST_TIMEOUT: int = env.int("BATCHSITE_REQUEST_TIMEOUT", default=600)
BATCHSITE_ENGINE_START_TIMEOUT: int = env.int(
    "BATCHSITE_ENGINE_START_TIMEOUT", default=1800
)
BATCHSITE_MODEL_WAIT: int = env.int("BATCHSITE_MODEL_WAIT", default=300)
# Requests that run without a token for so long: the core hangs; 0 never says so.
BATCHSITE_ENGINE_HANG_SECONDS: int = env.int(
    "BATCHSITE_ENGINE_HANG_SECONDS", default=300
)
BATCHSITE_MODEL_STAY: int = env.int("BATCHSITE_MODEL_STAY", default=20)
BATCHSITE_DRAIN_SECONDS: int = env.int("BATCHSITE_DRAIN_SECONDS", default=30)
# How long deleted batches can be restored.
BATCHSITE_DELETED_DAYS: int = env.int("BATCHSITE_DELETED_DAYS", default=30)
# Readings that pause claims. 0 (and off) leaves one out.
BATCHSITE_MIN_FREE_BYTES: int = env.int(
    "BATCHSITE_MIN_FREE_BYTES", default=1_000_000_000
)
# Below 0: at the temperature at which the GPU slows itself down.
BATCHSITE_GATE_CELSIUS: int = env.int("BATCHSITE_GATE_CELSIUS", default=-1)
BATCHSITE_GATE_OTHERS_PERCENT: int = env.int(
    "BATCHSITE_GATE_OTHERS_PERCENT", default=20
)
BATCHSITE_GATE_ECC_ERRORS: int = env.int("BATCHSITE_GATE_ECC_ERRORS", default=1)
BATCHSITE_GATE_LOST_GPU: bool = env.bool("BATCHSITE_GATE_LOST_GPU", default=True)
BATCHSITE_GATE_SECONDS: int = env.int("BATCHSITE_GATE_SECONDS", default=30)
BATCHSITE_CONTROL_WORKERS: int = env.int("BATCHSITE_CONTROL_WORKERS", default=2)
BATCHSITE_CACHE: str = env.str(
    "BATCHSITE_CACHE",
    default=str(
        Path(env.str("XDG_CACHE_HOME", default=str(Path.home() / ".cache")))
        / "batchsite"
    ),
)
BATCHSITE_ENGINE_PYTHON: str = env.str("BATCHSITE_ENGINE_PYTHON", default="")
BATCHSITE_ENGINE_MODULE: str = env.str(
    "BATCHSITE_ENGINE_MODULE", default="vllm.entrypoints.openai.api_server"
)
BATCHSITE_TORCH_INDEX: str = env.str("BATCHSITE_TORCH_INDEX", default="")
# Host names and networks that webhooks may be sent to although they are not public.
BATCHSITE_WEBHOOK_ALLOWED: list[str] = env.list("BATCHSITE_WEBHOOK_ALLOWED", default=[])

# --- applications
INSTALLED_APPS = [
    "batchsite.accounts.apps.AuditedAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "template_partials",
    "rest_framework",
    "drf_spectacular",
    "knox",
    "django_q",
    "django_structlog",
    "csp",
    "axes",
    "batchsite",
    "batchsite.accounts.apps.AccountsConfig",
    "batchsite.web",
    "jobs",
    "curation",
    "benchmarks",
]
MIDDLEWARE = [
    "jobs.api.throttling.RateHeadersMiddleware",
    "jobs.api.errors.OpenAIErrorMiddleware",
    "batchsite.headers.SecurityHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "batchsite.shortcut.ApiShortcut",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "batchsite.web.zones.TimeZoneMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    # As django-axes asks for, none of others is behind it: it replaces the answer of a
    # sign-in.
    "axes.middleware.AxesMiddleware",
    "batchsite.shortcut.ApiShortcutEnd",
]
ROOT_URLCONF = "batchsite.urls"
WSGI_APPLICATION = "batchsite.wsgi.application"
APPEND_SLASH = True
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "batchsite.web.context.site",
            ],
        },
    }
]

# --- database: SQLite in the data folder, or DATABASE_URL
SQLITE_OPTIONS = {
    # IMMEDIATE takes the write lock up front: a read that later writes waits its
    # turn instead of failing with "database is locked".
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000;"
        " PRAGMA cache_size=-20000;"
    ),
}
DATABASES = {
    "default": env.db_url_config(
        env.str("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'db.sqlite3'}").strip()
    )
}
DATABASES["default"] |= {"CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": True}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"].setdefault("OPTIONS", {}).update(SQLITE_OPTIONS)
else:
    # A process that was paused or cut off in the middle of a transaction must not keep
    # its locks longer than a lease lasts; a dead connection must be noticed, by both
    # sides: the server's default keeps its place among max_connections for two hours.
    DATABASES["default"]["OPTIONS"] = {
        "options": (
            "-c idle_in_transaction_session_timeout=10s -c tcp_keepalives_idle=10"
            " -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
            " -c tcp_user_timeout=20s"
        ),
        "connect_timeout": 10,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    } | DATABASES["default"].get("OPTIONS", {})
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Count calls, so all web processes must share them: files serve one host, redis:// or
# dbcache:// serve several.
CACHES = {
    "default": env.cache_url(
        "CACHE_URL", default=f"filecache://{DATA_DIR / 'cache'}?max_entries=2000"
    ),
    # Calls of each key, and those with wrong keys apart: strangers from many addresses
    # fill a folder and push out what else is in it.
    "calls": env.cache_url(
        "CACHE_URL", default=f"filecache://{DATA_DIR / 'calls'}?max_entries=100000"
    ),
    "failures": env.cache_url(
        "CACHE_URL", default=f"filecache://{DATA_DIR / 'failures'}?max_entries=2000"
    ),
    # django-q2 notes each cluster's state here every second, and nobody reads it: a
    # cache that is out of order must not keep batches from being made.
    "queue": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}

# --- people and keys
AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "batch-list"
LOGOUT_REDIRECT_URL = "login"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
# Ten wrong passwords for an account from one address, then a quarter of an hour's wait.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_USERNAME_FORM_FIELD = "username"
# It keeps the fields of a refused form, those of the password's change too.
AXES_SENSITIVE_PARAMETERS = [
    "username",
    "ip_address",
    "old_password",
    "new_password1",
    "new_password2",
]
AXES_USERNAME_CALLABLE = "batchsite.accounts.sign_ins.tried_name"
AXES_CLIENT_IP_CALLABLE = "batchsite.accounts.addresses.client_address"
AXES_LOCKOUT_CALLABLE = "batchsite.web.lockout.locked_out"
# Sign-ins are in the audit log.
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False
# A link with which a new person sets a password, in seconds.
PASSWORD_RESET_TIMEOUT = 3 * 24 * 3600
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
KNOX_TOKEN_MODEL = "accounts.ApiKey"  # noqa: S105 - a model's name, not a secret
# ApiKey stands in for knox's own token table. Its migrations would make that table all
# the same, and PostgreSQL cannot flush around a table that Django does not know.
MIGRATION_MODULES = {"knox": None}
REST_KNOX = {
    "AUTH_HEADER_PREFIX": "Bearer",
    "TOKEN_PREFIX": "sk-bs-",
    "TOKEN_TTL": None,
    "TOKEN_MODEL": KNOX_TOKEN_MODEL,
}

# --- API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["jobs.api.auth.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["jobs.api.auth.ScopeMissing"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["jobs.api.parsers.JSONBody"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "jobs.api.parsers.AnyAccept",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "jobs.api.errors.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "jobs.api.schema.document.DescribedSchema",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Batchsite",
    "DESCRIPTION": "OpenAI's Files, Uploads, Batch and Models API on your own engines.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/v1",
    "POSTPROCESSING_HOOKS": ["jobs.api.schema.document.add_components"],
}
# OpenAIErrorMiddleware makes the id, so that log lines and answers have the same.
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True
# It believes headers that anybody can send; batchsite.logs binds the address.
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False
# Parsing a form takes up to 75 times its size, before anybody asks who sent it. Above
# jobs.api.parsers.BODY_BYTES, so that the API itself says that a body is too large.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_100_000

# --- background work: django-q2 wakes processes; the work itself is in our tables
Q_CLUSTER = {
    "name": "batchsite",
    "orm": "default",
    "broker_class": "jobs.broker.Broker",
    "cache": "queue",
    "workers": BATCHSITE_CONTROL_WORKERS,
    "queue_limit": 1,
    "bulk": 1,
    "poll": 0.1,
    "recycle": 0,
    "guard_cycle": 1,
    "timeout": 900,
    "retry": 1200,
    "ack_failures": True,
    "max_attempts": 1,
    "save_limit": 200,
    "save_limit_per": "func",
    "catch_up": False,
    "log_level": "WARNING",
}

# --- files
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {
            "location": str(DATA_DIR / "files"),
            "file_permissions_mode": 0o600,
            "directory_permissions_mode": 0o700,
        },
    },
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
FILE_UPLOAD_HANDLERS = ["jobs.uploads.SpoolUploadHandler"]
STATIC_URL = "static/"
# Outside production the finders serve, and nothing was collected.
STATIC_ROOT = DATA_DIR / "static" if PRODUCTION else None
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = not PRODUCTION

# --- security
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "object-src": ["'none'"],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=PRODUCTION)
SECURE_HSTS_SECONDS = env.int(
    "SECURE_HSTS_SECONDS", default=31_536_000 if PRODUCTION else 0
)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = PRODUCTION
BATCHSITE_BEHIND_PROXY: bool = env.bool("BATCHSITE_BEHIND_PROXY", default=False)
if BATCHSITE_BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# --- e-mail: off unless a server is named
EMAIL_URL: str = env.str("EMAIL_URL", default="").strip()
BATCHSITE_MAILS = bool(EMAIL_URL)
vars().update(env.email_url_config(EMAIL_URL or "dummymail://"))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL: str = env.str("DEFAULT_FROM_EMAIL", default="batchsite@localhost")

# --- language, time, logs
LANGUAGE_CODE = "en"
# The admin's dates have a time zone.
FORMAT_MODULE_PATH = "batchsite.formats"
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
USE_TZ = True
LOG_LEVEL: str = env.str("LOG_LEVEL", default="INFO")
LOG_FORMAT: str = env.str("LOG_FORMAT", default="auto")
LOGGING_CONFIG = "batchsite.logs.configure"
# Django calls LOGGING_CONFIG only when there is something here.
LOGGING: dict[str, object] = {"version": 1}
