# SPDX-License-Identifier: Apache-2.0
# Everything is set up by the targets themselves: `make demo` and `make test` need only python3.11 and pip.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
export BATCHSITE_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/batchsite
# The environment belongs to its list of packages: another list, another folder.
PACKAGES := $(shell (cat constraints.txt; sed -n '/^dependencies/,/^\[build-system/p' pyproject.toml) | sha256sum | cut -c1-12)
VENV ?= $(BATCHSITE_CACHE)/site-$(PACKAGES)
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(READY):
	@echo "Setting up the site's Python environment in $(VENV) (once)"
	$(PYTHON) -m venv $(VENV)
	$(PYTHON) -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print('\n'.join(p['dependencies'] + p['optional-dependencies']['dev']))" > $(VENV)/wanted.txt
	$(BIN)/pip install --quiet -c constraints.txt -r $(VENV)/wanted.txt 2> >(grep -v "is ignored: it is neither" >&2)
	@# Of whichever checkout it is called in: several share this environment.
	printf '#!/bin/sh\nexec "$$(dirname "$$0")/python" -m batchsite.cli "$$@"\n' > $(BIN)/batchsite
	chmod +x $(BIN)/batchsite
	touch $@

.PHONY: setup
setup: $(READY) ## make the Python environment

.PHONY: where
where: ## print the folder of the Python environment
	@echo $(VENV)

# --- daily
.PHONY: demo run
demo: $(READY) ## the main job for real: vLLM, a batch through OpenAI's client, its answers
	$(BIN)/python manage.py demo
run: $(READY) ## start the whole site in this terminal
	$(BIN)/python manage.py up

.PHONY: test test-slow
test: $(READY) ## the fast tests: SQLite, and PostgreSQL where its binaries are found
	VENV=$(VENV) deploy/test.sh fast
test-slow: $(READY) ## the rest: killed processes, conformance, fuzzing, browser, real vLLM
	VENV=$(VENV) deploy/test.sh slow

# --- the promises of OpenAI's Files and Batch API
.PHONY: conformance conformance-table
conformance: $(READY) ## prove them on any server: URL=http://host/v1 KEY=sk-… [MODEL=name]
	@CONFORMANCE_URL='$(URL)' CONFORMANCE_KEY='$(KEY)' CONFORMANCE_MODEL='$(MODEL)' $(BIN)/pytest -m conformance tests/conformance
conformance-table: $(READY) ## prove them here and write the table in docs/api.md anew
	CONFORMANCE_TABLE=1 $(BIN)/pytest -m conformance tests/conformance

.PHONY: check format
check: $(READY) ## lint, types, templates, deploy checks, missing migrations
	VENV=$(VENV) deploy/check.sh
format: $(READY) ## rewrite the code as `make check` wants it
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .
	$(BIN)/djade $$(git ls-files 'templates/*.html')

.PHONY: fuzz
fuzz: $(READY) ## generated inputs against API and intake: N=100000 draws more, and other ones
	FUZZ_INPUTS=$(N) $(BIN)/pytest -m fuzzing tests/fuzz

.PHONY: faults
faults: $(READY) ## kill at random, fill disks, move clocks, cut hosts off: N=200 draws more kills
	FAULT_KILLS=$(N) $(BIN)/pytest -n 2 -rP -m sweep tests/faults

.PHONY: bench bench-api bench-claims bench-curation bench-gaps bench-pages bench-vllm
bench: $(READY) ## upload, validation and pipeline speed against an instant engine
	$(BIN)/python deploy/bench_pipeline.py
bench-api: $(READY) ## how fast the API answers while a batch runs
	$(BIN)/python deploy/bench_api.py
bench-curation: $(READY) ## a queue of a million items: its pages, judging, datasets (4 GB of disk)
	$(BIN)/python deploy/bench_curation.py $(if $(N),--rows $(N))
bench-gaps: $(READY) ## for how long an engine has nothing to do: between batches, in a swap
	$(BIN)/python deploy/bench_gaps.py
bench-claims: $(READY) ## what claiming costs with 10 million requests in PostgreSQL (7 GB of disk)
	$(BIN)/python deploy/bench_claims.py $(if $(N),--rows $(N))
bench-pages: $(READY) ## how fast pages are with a batch of a million results (3 GB of disk)
	$(BIN)/python deploy/bench_pages.py $(if $(N),--rows $(N))
bench-vllm: $(READY) ## Batchsite against vLLM's own run_batch: BENCH="--part 0.2 uniform" does less
	$(BIN)/python deploy/bench_vllm.py $(BENCH)
.PHONY: measure-loop
measure-loop: $(READY) ## whether examples from reviewed answers help the bundled model
	$(BIN)/python deploy/curation_loop.py
.PHONY: gpu-check
gpu-check: $(READY) ## try a GPU host once and write a report: CHECK="--model PATH --rows 200"
	$(BIN)/python deploy/gpu_check.py $(CHECK)

# --- upkeep
.PHONY: engine lock screenshots
screenshots: $(READY) ## take the pictures of docs/screens anew (Chromium): SHOTS="batches errors" takes some
	$(BIN)/python deploy/screenshots.py $(SHOTS)
engine: $(READY) ## install vLLM and the bundled model (make demo does it too)
	$(BIN)/python manage.py installengine
lock: $(READY) ## write constraints.txt anew from the newest versions that fit
	VENV=$(VENV) deploy/lock.sh
