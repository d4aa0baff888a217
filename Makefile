# Everything a developer or a first-time user starts. `make help` lists it.
# The environment lies in .venv and is made again whenever pyproject.toml or .ci/constraints.txt changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(os.cpu_count() or 1, 7) + 1)")
STAMP := $(VENV)/installed

.DEFAULT_GOAL := help
.PHONY: help install run demo test lint format statements bench crash clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## make or refresh the environment in .venv

$(STAMP): pyproject.toml .ci/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "The gateway needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) 2>/dev/null || \
	  { rm -rf $(VENV) && $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint .ci/constraints.txt --editable . --group dev
	@touch $(STAMP)

run: $(STAMP) ## start the gateway on config.yaml, drop the samples, show what happens until Ctrl-C
	@$(BIN)/gateway demo --config config.yaml --keep

demo: $(STAMP) ## the same, ending by itself; fails when a sample does not get its answer
	@$(BIN)/gateway demo --config config.yaml

test: $(STAMP) ## run all tests, a few processes side by side
	@$(BIN)/python -m compileall -q -x /test_ gateway adapters pipelines schemas tests # once, not in each process
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: $(STAMP) ## check style, types, layers, and that statements are generated anew
	$(BIN)/python -m gateway.db.generate --check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

statements: $(STAMP) ## generate functions and rows anew from the .sql files
	$(BIN)/python -m gateway.db.generate

bench: $(STAMP) ## measure speed, memory and latency
	$(BIN)/python -m tests.bench

crash: $(STAMP) ## the full-size proofs of docs/reliability.md: hours, not minutes
	$(BIN)/python -m tests.crash.campaign --kills 500
	$(BIN)/pytest -m full --timeout 0 --hypothesis-profile explore

clean: ## remove the environment and caches; data/ and demo/ are kept
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
