.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench clean
PYTHON ?= python3
BIN := .venv/bin
# Tests at a time: one more than two cores, for some wait.
JOBS ?= 3
# Programs that set-up unpacked instead of installing them are found last.
CACHE := $(if $(filter /%,$(XDG_CACHE_HOME)),$(XDG_CACHE_HOME),$(HOME)/.cache)
export PATH := $(PATH):$(CACHE)/lian/parts/docker-registry/bin
# Commands are started by the thousand: what they load is compiled once, whatever is set for other projects.
unexport PYTHONDONTWRITEBYTECODE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what the other targets need (each of them does so by itself)
	@$(PYTHON) .ci/setup all

demo: ## a desired repo converges a registry, step by step
	@$(PYTHON) .ci/setup demo
	@$(BIN)/python examples/demo.py

test: ## all checks and all tests, against the real parts
	@$(PYTHON) .ci/setup --tolerate test
	@$(MAKE) --no-print-directory run-checks
	@$(BIN)/pytest -n $(JOBS) --dist worksteal

check: ## lint, format, types, import rules, hard constraints
	@$(PYTHON) .ci/setup check
	@$(MAKE) --no-print-directory run-checks

bench: ## measure against doing the same by hand
	@$(PYTHON) .ci/setup test
	@$(BIN)/python -m benchmarks

clean: ## remove what was made in this folder (the parts cache stays)
	rm -rf .venv .lian dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache benchmarks/results
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

.PHONY: run-checks
run-checks:
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -q -p no:cacheprovider tests/schemas/test_constraints.py
