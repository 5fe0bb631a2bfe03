# SPDX-License-Identifier: Apache-2.0
"""vLLM's command line, environment, log lines and metrics; pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# What Batchsite itself sets for every engine.
OWN_ARGUMENTS = frozenset(
    {
        *("--api-key", "--grpc", "--headless", "--host", "--model", "--port"),
        *("--revision", "--served-model-name", "--ssl-certfile", "--uds"),
    }
)
# Compilation takes minutes on a CPU and gains nothing; see cpu_dtype for the rest.
CPU_DEFAULTS = ("--enforce-eager",)
# vLLM's own defaults, by which a feeder sizes its window.
DEFAULT_MAX_NUM_SEQS = {"cpu": 128, "gpu": 256}
SECRETS = re.compile(
    r"^(SECRET_KEY|DATABASE_URL|EMAIL_URL|SENTRY_DSN|PGPASSWORD|BATCHSITE_.*KEY"
    r"|BATCHSITE_.*SECRET.*|BATCHSITE_.*PASSWORD)(_FILE|_FALLBACKS)?$"
)
LOG_PREFIX = re.compile(
    r"^(\(\w+[^)]*\)\s*)?((DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d"
    r" (\[[^\]]*\] ?)+)?"
)
# Colours, and control characters, which PostgreSQL's text does not take.
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b\x0c\x0e-\x1f]")
METRIC = re.compile(r"^vllm:(\w+)(?:\{[^}]*\})? ([-+0-9.eE]+|NaN)$", re.MULTILINE)
CAUSE = re.compile(
    r"^[\w.]*(Error|Exception)\b.*: .+|.*\bKilled\b|.*out of memory.*", re.I
)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What of a ServedModel an engine start needs."""

    name: str
    source: str
    revision: str = ""
    engine_args: Sequence[str] = ()


def is_local(source: str) -> bool:
    """Whether a model's source is a path rather than a Hugging Face id."""
    return source.startswith(("/", "./", "../", "~"))


def command_line(
    *,
    python: Path,
    module: str,
    model: ModelSpec,
    socket_path: str,
    gpu: bool,
    cpu_flags: str = "",
) -> list[str]:
    """The whole command that serves `model` on a Unix socket.

    A model's own arguments come after the defaults, so that they win; what Batchsite
    relies on comes last. `cpu_flags` are those of /proc/cpuinfo.
    """
    defaults = [] if gpu else [*CPU_DEFAULTS, "--dtype", cpu_dtype(cpu_flags)]
    revision = ["--revision", model.revision] if model.revision else []
    return [
        str(python),
        "-m",
        module,
        "--disable-uvicorn-access-log",
        *defaults,
        *model.engine_args,
        *(
            "--model",
            str(Path(model.source).expanduser())
            if is_local(model.source)
            else model.source,
        ),
        *revision,
        *("--served-model-name", model.name),
        *("--uds", socket_path),
    ]


def cpu_dtype(cpu_flags: str) -> str:
    """bfloat16 where the CPU multiplies it, else float32.

    Without such units bfloat16 is emulated: 16 tokens/s against 100.
    """
    flags = set(cpu_flags.split())
    return "bfloat16" if flags & {"amx_bf16", "avx512_bf16", "bf16"} else "float32"


def environment(
    inherited: Mapping[str, str],
    *,
    python: Path,
    source: str,
    gpu: bool,
    gpu_ids: str = "",
    own_python: bool = False,
    secrets: Sequence[str] = (),
) -> dict[str, str]:
    """The engine's environment: ours without the site's secrets, and vLLM's settings.

    `own_python` says that the engine runs on the site's interpreter, whose search path
    it then keeps. `secrets` are names of further variables to leave out. A variable of
    vLLM that is set already is kept.
    """
    dropped = {"VIRTUAL_ENV", "DJANGO_SETTINGS_MODULE", *secrets}
    if not own_python:
        dropped |= {"PYTHONPATH", "PYTHONHOME"}
    result = {
        name: value
        for name, value in inherited.items()
        if name not in dropped and not SECRETS.match(name)
    }
    result |= {
        "PYTHONUNBUFFERED": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        # Engines are started by processes with threads, which fork does not survive.
        "VLLM_WORKER_MULTIPROCESSING_METHOD": "spawn",
    }
    if is_local(source):
        result["HF_HUB_OFFLINE"] = "1"
    if gpu_ids:
        result["CUDA_VISIBLE_DEVICES"] = gpu_ids
    if not gpu:
        result.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
        openmp = python.parent.parent / "lib" / "libiomp5.so"
        if openmp.exists():
            preload = [str(openmp), result.get("LD_PRELOAD", "")]
            result["LD_PRELOAD"] = ":".join(filter(None, preload))
    return result


def max_num_seqs(engine_args: Sequence[str], *, gpu: bool) -> int:
    """How many requests such an engine runs at once: its argument or vLLM's default."""
    given = 0
    for position, argument in enumerate(engine_args):
        name, _, value = argument.partition("=")
        if name != "--max-num-seqs":
            continue
        value = value or " ".join(engine_args[position + 1 : position + 2])
        given = int(value) if value.isdecimal() else given
    return given or DEFAULT_MAX_NUM_SEQS["gpu" if gpu else "cpu"]


def own_argument(engine_args: Sequence[str]) -> str:
    """The first argument that only Batchsite may set; "" when there is none."""
    names = (argument.partition("=")[0] for argument in engine_args)
    return next((name for name in names if name in OWN_ARGUMENTS), "")


def gauges(metrics: str) -> dict[str, float | None]:
    """running, waiting, kv_cache and prefix_hits (0 to 1) from /metrics' text.

    Values of several engine cores (data parallel) are added, fractions averaged.
    """
    found: dict[str, list[float]] = {}
    for name, value in METRIC.findall(metrics):
        found.setdefault(name, []).append(float(value))
    queries = sum(found.get("prefix_cache_queries_total", []))
    hits = sum(found.get("prefix_cache_hits_total", []))
    cache = found.get("kv_cache_usage_perc", [])
    return {
        "running": sum(found.get("num_requests_running", [])),
        "waiting": sum(found.get("num_requests_waiting", [])),
        "kv_cache": sum(cache) / len(cache) if cache else None,
        "prefix_hits": hits / queries if queries else None,
    }


def log_lines(text: str) -> list[str]:
    """A log's lines for people: no colours, process names, times, progress leftovers."""
    lines = (
        LOG_PREFIX.sub("", ANSI.sub("", line)).strip()
        for line in text.replace("\r", "\n").split("\n")
    )
    return [line for line in lines if line]


def why_it_ended(text: str, *, lines_shown: int = 12, limit: int = 2000) -> str:
    """The cause in the log of an engine that ended: its error first, then its tail."""
    lines = log_lines(text)
    causes = [
        line
        for line in lines
        if CAUSE.match(line) and "See root cause above" not in line
    ]
    tail = "\n".join(lines[-lines_shown:])
    if not causes:
        return tail[-limit:]
    cause = causes[-1][:500]
    return cause if tail.strip() == cause else f"{cause}\n…\n{tail[-limit:]}"


def cpu_flags(path: Path = Path("/proc/cpuinfo")) -> str:
    """The feature flags of this host's CPU."""
    try:
        found = re.search(r"^(?:flags|Features)\s*: (.*)$", path.read_text(), re.M)
    except OSError:
        return ""
    return found[1] if found else ""
