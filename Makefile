# Everything a developer runs. `make demo` and `make test` set up what they need.
#
#   PYTHON  interpreter for the virtual environment, 3.11 or newer
#   TORCH   what pip installs as PyTorch where the environment has none; on a machine with a
#           GPU, or to choose a build, for example:
#               make demo TORCH="torch==2.13.0 --index-url <PyTorch's index of that build>"
#   JOBS    processes that `make test` shares the test files among

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3))
TORCH ?= torch==2.13.0
JOBS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores < 4 ? cores : 4)))

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test test-slow lint format types bench proto dashboards check clean

help: ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make the virtual environment and install the hub into it

# What the installation is made from: the package's description, and its compiled kernels.
INSTALLED := pyproject.toml $(wildcard hub/engine/native/*.c hub/engine/native/*.h)

# Redone when the content of these changes, not when a checkout merely touches them.
$(READY): $(INSTALLED)
	@if cat $(INSTALLED) | cmp -s - $@; then touch $@; exit 0; fi; \
	if ! [ -x $(BIN)/python ]; then \
	  "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo "error: '$(PYTHON)' is not Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }; \
	  echo "making $(VENV) with $(PYTHON)"; \
	  "$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; \
	fi; \
	if ! $(BIN)/python -c 'import torch' 2>/dev/null; then \
	  echo "installing $(TORCH)"; \
	  $(BIN)/python -m pip install $(TORCH); \
	fi; \
	echo "installing the hub and its dependencies (a few minutes the first time)"; \
	$(BIN)/python -m pip install -e '.[dev]'; \
	cat $(INSTALLED) > $@

demo: $(READY) ## Train, publish, serve, translate and measure, with the embedded defaults
	$(BIN)/hub demo

test: $(READY) ## Run the tests
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

test-slow: $(READY) ## Run the tests that take longer
	$(BIN)/python -m pytest -m slow || [ $$? -eq 5 ]  # 5: there is none

lint: $(READY) ## Check style, format and the walls between the packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

format: $(READY) ## Rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY) ## Check types
	$(BIN)/mypy

bench: $(READY) ## Run the benchmarks
	$(BIN)/python -m pytest tests/bench -o python_files='bench_*.py' -m '' -s

proto: $(READY) ## Regenerate hub/pb from protos/
	$(BIN)/python protos/generate.py

dashboards: $(READY) ## Write deploy/grafana/dashboards from the code beside it
	$(BIN)/python deploy/grafana/build.py

check: lint types test ## Lint, types and tests

clean: ## Remove the environment and every cache, but no run and no registry
	rm -rf $(VENV) build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache \
	  .import_linter_cache
	find hub training server tests protos -name __pycache__ -type d -prune -exec rm -rf {} +
