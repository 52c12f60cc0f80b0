# One vocabulary for laptop and CI. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

# The lock decides which packages there are; compiled once, everything starts twice as fast.
export UV_PYTHON_DOWNLOADS := never
export UV_COMPILE_BYTECODE := 1

.PHONY: help setup data demo test lint bench bench-evaluation bench-release bench-serving bench-validation up down

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Install everything from uv.lock into .venv (and uv itself, if missing)

$(INSTALLED): uv.lock pyproject.toml
	@uv=$$($(PYTHON) infra/uv.py); "$$uv" sync --locked
	@touch $@

data: setup ## Make the example data sets, if they are not there
	@$(BIN)/python models/make_data.py

demo: data ## Take a model from data to live traffic, let it drift, and see it retrained
	@$(BIN)/andon demo

test: data ## Run the whole test suite
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: setup ## Check style, types and the one-way imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup ## Measure: how often the line's checks are right
	@$(BIN)/python benchmarks/monitoring/simulate.py

bench-monitoring: setup ## Measure monitoring beside its peers: alarms, speed, memory (an hour)
	@$(BIN)/python benchmarks/monitoring/run.py --write

bench-evaluation: setup ## Measure: how often a challenger is judged right (5 minutes)
	@$(BIN)/python benchmarks/evaluation/simulate.py

bench-release: setup ## Measure: how often a release's gates are right (5 minutes)
	@$(BIN)/python benchmarks/release/simulate.py --write

bench-serving: setup ## Measure the prediction server beside its peers (needs wrk; 20 minutes)
	@$(BIN)/python benchmarks/serving/run.py

bench-validation: setup ## Measure validation beside its peers, on 1 million rows (3 minutes)
	@$(BIN)/python benchmarks/validation/run.py --write

up: setup ## Start the local platform
	@$(BIN)/andon up

down: ## Stop everything that runs here
	@if [ -x $(BIN)/andon ]; then $(BIN)/andon down; fi
