# PYTHON: the interpreter that .venv is made from. ARGS: passed on to what the target runs.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help demo test bench lint format lock image clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile | expand -t 16

demo: ## serve sample studies on loopback and print what to try (ARGS="--port 9000")
	@scripts/venv requirements.lock
	@$(BIN)/gateway demo $(ARGS)

test: ## all tests, against real archives, Redis and a browser (ARGS="-k thumbnail")
	@scripts/venv requirements-dev.lock
	@scripts/system-packages
	@scripts/browser-clients
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

bench: ## all benchmarks against nginx and node, side by side (ARGS="proxy cached", ARGS=--write)
	@scripts/venv requirements-dev.lock
	@$(BIN)/python -m bench $(ARGS)

lint: ## formatting, lint, types, and who may import whom
	@scripts/venv requirements-dev.lock
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: ## put the code into its form
	@scripts/venv requirements-dev.lock
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links $(ARGS) pyproject.toml

lock: ## pin what pyproject.toml asks for (ARGS=--upgrade for the newest)
	@scripts/venv requirements-dev.lock
	$(COMPILE) --output-file requirements.lock
	$(COMPILE) --extra dev --constraint requirements.lock --output-file requirements-dev.lock

image: ## the container image
	docker build --tag dicomweb-gateway .

clean: ## remove what the other targets made
	rm -rf .venv .cache .demo tests/e2e/javascript/node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
