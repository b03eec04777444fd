# `make serve` and `make test` do all their set-up themselves; `make help` lists the rest.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Processes that share the tests, each file of tests whole: many of them wait more than they work.
JOBS ?= 3
PYTEST = $(BIN)/pytest --numprocesses $(JOBS) --dist loadfile
COVERED := --cov --cov-report=term

.PHONY: help serve test test-slow crash soak check format lint types imports unit conformance bench bench-quick docs image binary lock clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'cargohold needs Python 3.11 or later'; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo 'venv is missing: on Debian, "apt install python3-venv"'; exit 1; }

# The stamps hold what was installed, so that a changed lock is installed again and nothing else is.
$(VENV)/runtime.stamp: $(BIN)/python requirements/runtime.txt requirements/build.txt pyproject.toml
	@$(PIP) install --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/runtime.stamp requirements/dev.txt
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

serve: $(VENV)/runtime.stamp ## set up and serve on 127.0.0.1:5000, data in ./data
	@exec $(BIN)/cargohold serve

test: $(VENV)/dev.stamp ## set up and run the tests, those with real clients too where they are installed (COVERAGE=1: of branches)
	@$(PYTEST) -m 'not slow and not soak' $(if $(COVERAGE),$(COVERED))

test-slow: $(VENV)/dev.stamp ## the tests that write gigabytes or take minutes
	@$(PYTEST) -m 'slow and not soak'

crash: $(VENV)/dev.stamp ## thousands of kills, of calls that fail, and of power cuts; some twenty minutes
	@$(BIN)/pytest tests/crash

soak: $(VENV)/dev.stamp ## pushes, pulls, deletions, collections and kills at once for SECONDS (an hour)
	@$(BIN)/python -m tests.soak $(or $(SECONDS),3600)

check: lint types imports unit ## what must be green before a commit

format: $(VENV)/dev.stamp ## lay out the code
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

lint: $(VENV)/dev.stamp
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check

types: $(VENV)/dev.stamp
	@$(BIN)/mypy

imports: $(VENV)/dev.stamp
	@$(BIN)/lint-imports

unit: $(VENV)/dev.stamp ## the tests that start no servers, with branch coverage
	@$(PYTEST) -m 'not slow and not soak' --ignore tests/e2e --ignore tests/interop --ignore tests/crash --ignore tests/docs $(COVERED)

conformance: $(VENV)/runtime.stamp ## the official OCI suite, without a login and with it (Go 1.24 or later)
	@$(BIN)/python ci/conformance

$(VENV)/bench.stamp: $(VENV)/dev.stamp requirements/bench.txt
	@$(PIP) install --require-hashes -r requirements/bench.txt
	@touch $@

bench: $(VENV)/bench.stamp ## measure beside other registries, which it builds; half an hour; see benchmarks/README.md
	@$(BIN)/python -m benchmarks.install
	@$(BIN)/python -m benchmarks

bench-quick: $(VENV)/bench.stamp ## the same in a minute: the most telling workloads, in one short round
	@$(BIN)/python -m benchmarks.install
	@$(BIN)/python -m benchmarks --quick

build/docs/stamp: requirements/docs.txt
	@$(PYTHON) -m venv build/docs
	@build/docs/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/docs.txt
	@touch $@

docs: build/docs/stamp ## build the documentation into build/site; a link that leads nowhere fails it
	@NO_MKDOCS_2_WARNING=1 build/docs/bin/mkdocs build --quiet --strict

image: ## a container image, named by IMAGE, on the Debian 13 that BASE names
	@ci/image $(or $(IMAGE),cargohold)

binary: ## the program as one file, dist/cargohold
	@PYTHON=$(PYTHON) ci/binary

lock: ## pin the dependencies anew (needs uv)
	@uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml -o requirements/runtime.txt
	@uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -c requirements/runtime.txt requirements/build.in -o requirements/build.txt
	@uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -c requirements/runtime.txt -c requirements/build.txt --group dev pyproject.toml -o requirements/dev.txt
	@uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -c requirements/runtime.txt --extra tracing pyproject.toml -o requirements/tracing.txt
	@uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -c requirements/dev.txt --group bench -o requirements/bench.txt
	@uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --group docs -o requirements/docs.txt
	@uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -c requirements/runtime.txt --group package -o requirements/package.txt

clean: ## remove what was made, the data apart
	@rm -rf $(VENV) build dist .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
