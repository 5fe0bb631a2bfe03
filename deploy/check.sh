#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `make check`: lint, format, types, templates, deploy checks, missing migrations, and the tree itself.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="${VENV:?run this by make check}/bin:$PATH"

step() { printf '\n== %s\n' "$1"; }

step "ruff"
ruff check .
ruff format --check .

step "mypy"
mypy batchsite jobs curation benchmarks tests examples deploy

step "templates"
mapfile -t templates < <(git ls-files 'templates/*.html')
djade --check "${templates[@]}"

# A production-like site in a folder of its own; the key is made up here and thrown away.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export BATCHSITE_DATA="$scratch"

step "missing migrations"
python manage.py makemigrations --check --dry-run

step "API description"
python manage.py spectacular --validate --fail-on-warn >/dev/null

step "deploy checks"
BATCHSITE_PRODUCTION=1 ALLOWED_HOSTS=batchsite.example.com \
  SECRET_KEY="$(python -c 'import secrets; print(secrets.token_urlsafe(64))')" \
  python manage.py check --deploy --fail-level WARNING

step "the tree"
python deploy/check_tree.py
