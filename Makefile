# Everything a developer or CI does, by the same names. `make` alone lists it.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
READY := $(VENV)/.ready
CODE := gateway sinks drivers schemas
WORKERS ?= 2
ARGS ?=

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}'

.PHONY: setup
setup: $(STAMP) ## Create .venv with everything pinned in constraints.txt

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: apt-get install python3 (3.11 or newer), or make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot create a virtual environment: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# --no-deps twice: the lock is complete, so pip only downloads and checks; the project adds nothing to it.
$(STAMP): constraints.txt pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/pip check >/dev/null || { $(BIN)/pip check >&2; exit 1; }
	@touch $@ $(READY)

# What running it takes is a quarter of what developing it takes; where that is installed, it serves, too.
$(READY): deploy/requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing Comporta into $(VENV)"
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r deploy/requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: run
run: $(READY) ## Serve on 127.0.0.1:8080 with the embedded store in ./data
	COMPORTA_LOG_FORMAT=$${COMPORTA_LOG_FORMAT-console} $(BIN)/comporta serve

.PHONY: demo
demo: $(READY) ## See a webhook go through, end to end, in a minute
	$(BIN)/comporta demo

.PHONY: check
check: setup ## Everything that needs no running: format, lint, types, layers, shape, documents
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_architecture.py tests/test_documents.py

.PHONY: fmt
fmt: setup ## Format the code and repair what can be repaired
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: lint
lint: setup ## Lint only
	$(BIN)/ruff check .

.PHONY: type
type: setup ## Type-check only
	$(BIN)/mypy

.PHONY: services
services: ## Install the servers that the tests start (PostgreSQL, RabbitMQ)
	@tests/services/install.sh

# Two workers: each starts the servers it needs for itself, and a test never shares them with another.
.PHONY: test
test: setup services ## Run every test (ARGS='-k order' narrows it down)
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup $(ARGS)

.PHONY: test-fast
test-fast: setup ## Run the tests that need no server
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup --fast $(ARGS)

.PHONY: cover
cover: setup services ## Run every test and show the lines and branches none of them reached
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup --cov --cov-report=term $(ARGS)

.PHONY: fuzz
fuzz: setup ## Send the running program whatever its OpenAPI document allows, for 3 minutes (ARGS=600 for ten)
	$(BIN)/python -m tests.e2e.fuzzing $(ARGS)

.PHONY: faults
faults: setup services ## Kill, starve and freeze the program and its servers (ARGS=--long for a thousand random faults)
	$(BIN)/pytest -n 0 --timeout 7200 tests/faults --full $(ARGS)

.PHONY: bench
bench: setup services ## Measure throughput and latency against ceilings of this machine
	$(BIN)/python -m tests.bench $(ARGS)

.PHONY: bench-quick
bench-quick: setup ## The same in about a minute
	$(BIN)/python -m tests.bench --quick $(ARGS)

.PHONY: bench-compiled
bench-compiled: setup ## The same with the drivers that `make compile` left in build/compiled
	@test -d build/compiled/drivers || { echo "nothing is compiled yet: make compile" >&2; exit 1; }
	cd build/compiled && $(CURDIR)/$(BIN)/python -m tests.bench --quick $(ARGS)

.PHONY: golden
golden: setup ## Rewrite the events expected of every driver's samples; read the diff
	$(BIN)/python -m tests.drivers.golden $(ARGS)

.PHONY: sign
sign: setup ## Sign a new sample as its provider would (ARGS=slug/case)
	$(BIN)/python -m tests.drivers.sign $(ARGS)

.PHONY: schemas
schemas: setup ## Rewrite the JSON Schemas of our events from their types
	$(BIN)/python -m tests.schemas.publish

$(BIN)/uv: | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r constraints.txt

# The lock names versions and hashes, never the place they came from.
.PHONY: lock
lock: | $(BIN)/uv ## Resolve pyproject.toml into constraints.txt again (ARGS=--upgrade for newer versions)
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --quiet --output-file constraints.txt $(ARGS)
	$(BIN)/uv pip compile pyproject.toml --extra build --extra otel --constraint constraints.txt --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file deploy/requirements.txt

# The tests of the drivers then run on what was compiled (their coverage cannot be measured there).
.PHONY: compile
compile: setup ## Build dist/*.whl with the drivers compiled: half their CPU (needs a C compiler; takes five minutes)
	HATCH_BUILD_HOOK_ENABLE_CUSTOM=true $(BIN)/python -m hatchling build --target wheel
	ln -sfn $(CURDIR)/pyproject.toml $(CURDIR)/gateway $(CURDIR)/sinks $(CURDIR)/tests build/compiled/
	cd build/compiled && $(CURDIR)/$(BIN)/python -m pytest -q -n $(WORKERS) tests/drivers tests/schemas --ignore tests/drivers/test_coverage.py

.PHONY: clean
clean: ## Remove what tools left behind (not .venv, not ./data)
	rm -rf build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find $(CODE) tests -name __pycache__ -prune -exec rm -rf {} +
