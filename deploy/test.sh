#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `make test` and `make test-slow`. REQUIRE_ALL=1 makes a skipped test a failure;
# COVERAGE=1 measures branches and fails below the limit in pyproject.toml.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="${VENV:?run this by make test}/bin:$PATH"
BATCHSITE_DATA=$(mktemp -d)
export BATCHSITE_DATA
# What runs beside another part ends with it.
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$BATCHSITE_DATA"' EXIT
# Compiled code outside the checkout: hundreds of processes are started.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX="${BATCHSITE_CACHE:?run this by make test}/bytecode"

part() {
  local name=$1 begin=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  "$@"
  printf '== %s took %d s\n' "$name" $((SECONDS - begin))
}

# Start what runs beside the parts that follow; its name is also its log's.
declare -A beside
start() {
  local name=$1
  shift
  "$@" >"$BATCHSITE_DATA/$name.log" 2>&1 &
  beside[$name]=$!
}

# Wait for it, show what it printed, and fail as it did.
finish() {
  local ended=0
  wait "${beside[$1]}" || ended=$?
  printf '\n== %s (beside the parts before)\n' "$1"
  cat "$BATCHSITE_DATA/$1.log"
  return $ended
}

has_postgres() {
  python -c "import sys; from tests.postgres import binaries; sys.exit(binaries() is None)"
}

arguments=()
[ -z "${REQUIRE_ALL:-}" ] || arguments+=(--require-all)
coverage=()
[ -z "${COVERAGE:-}" ] || coverage+=(--cov --cov-append --cov-report= --cov-fail-under=0)

# More at a time than cores: many tests wait for processes more than they compute.
parallel=(-n "${TEST_PROCESSES:-3}")
fast=("${parallel[@]}" --dist loadfile)
# Each process would import what only the slow tests need.
fast+=(-p no:schemathesis -p no:playwright --ignore=tests/browser --ignore=tests/fuzz)
# The tables as the models have them, without the way there: `make check` proves that
# both are the same, and every site that a test starts goes that way.
fast+=(--nomigrations)

case "${1:-fast}" in
  fast)
    part "fast tests on SQLite" pytest "${fast[@]}" "${arguments[@]}" "${coverage[@]}"
    if has_postgres; then
      part "fast tests on PostgreSQL" python -m tests.postgres pytest "${fast[@]}" "${arguments[@]}" --only-database --pages out
    elif [ -n "${REQUIRE_ALL:-}" ]; then
      echo "PostgreSQL's server binaries are missing (Debian package: postgresql)" >&2
      exit 1
    else
      echo "PostgreSQL's server binaries were not found: its tests did not run"
    fi
    ;;
  slow)
    # Pages differ least between databases: the newcomer's `make test` does without.
    if has_postgres; then
      part "pages on PostgreSQL" python -m tests.postgres pytest "${fast[@]}" "${arguments[@]}" --only-database --pages alone
    fi
    # The last part needs vLLM, whose first installation takes minutes.
    start "installation of vLLM" python manage.py installengine
    part "faults" pytest "${parallel[@]}" "${arguments[@]}" -m "slow and not vllm and not browser and not sweep"
    part "fault sweep" pytest -n 2 --dist loadfile -rP "${arguments[@]}" -m sweep
    # This and the three after it have one process at work at a time.
    start "browser" env BATCHSITE_DATA="$BATCHSITE_DATA/browser" pytest -n 2 "${arguments[@]}" -m browser
    part "conformance" pytest "${arguments[@]}" -m conformance
    part "fuzzing" pytest "${arguments[@]}" -m fuzzing
    if command -v node >/dev/null && command -v npm >/dev/null; then
      part "Node SDK" pytest "${arguments[@]}" -m node
    elif [ -n "${REQUIRE_ALL:-}" ]; then
      echo "Node.js or npm is missing (Debian packages: nodejs npm)" >&2
      exit 1
    else
      echo "Node.js and npm were not found: the tests of OpenAI's Node client did not run"
    fi
    finish "browser"
    finish "installation of vLLM"
    part "real vLLM" pytest "${arguments[@]}" -m vllm
    ;;
  *)
    echo "usage: deploy/test.sh fast|slow" >&2
    exit 2
    ;;
esac
