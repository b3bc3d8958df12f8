SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup servers browser demo test test-all capabilities lint format dashboards docs pages bench bench-full scene test-machine test-machine-smoke clean

help: ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.ready ## make the virtual environment in .venv with everything in it

.venv/.ready: pyproject.toml
	@./tests/kit/install python
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable . --group test --group lint
	@touch $@

servers:
	@./tests/kit/install servers

browser:
	@./tests/kit/install browser

demo: setup servers ## build a small appliance on loopback and watch it
	$(BIN)/certvigil demo

test: setup servers $(if $(SLOW),browser) ## run the tests, in parallel; SLOW=SEED adds a tenth of the slow ones
	$(BIN)/pytest $(if $(SLOW),--slow-tenth '$(SLOW)')

test-all: setup servers browser ## run every test, the slow ones too
	$(BIN)/pytest --all

capabilities: setup servers ## run the tests of each capability on an appliance, and print the table
	$(BIN)/python -m tests.kit.capabilities

lint: setup ## ruff, mypy (strict), import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## let ruff format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

dashboards: setup ## write the dashboards' JSON from their source
	$(BIN)/python -m grafana.source

docs: pages .venv/.docs ## build the documentation into build/docs; a warning is an error
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --fresh-env -b html docs build/docs
	@echo build/docs/index.html

.venv/.docs: .venv/.ready pyproject.toml
	$(BIN)/pip install --quiet --group docs
	@touch $@

pages: setup ## write the generated pages of the documentation
	$(BIN)/python -m docs.generate

bench: setup servers ## measure; one JSON line for each number
	$(BIN)/python -m tests.bench

bench-full: setup servers ## soak for 15 minutes; play rounds of kills, foreign writers, recoveries; ROUNDS=70 fewer; judge 5,000 chains
	$(BIN)/python -m tests.bench.soak
	$(BIN)/python -m tests.bench.unsafe $(if $(ROUNDS),--rounds $(ROUNDS))
	$(BIN)/python -m tests.bench.verdicts

scene: setup servers ## live for ten minutes on a host of many services, and print what was said when (root)
	@./tests/kit/install scene
	$(BIN)/python -m tests.scene

test-machine: setup ## play scenarios on a Debian machine in QEMU (root); it goes on where it was; ARGS="boot discover"
	@./tests/kit/install machine
	$(BIN)/python -m tests.machine $(ARGS) || [ $$? -eq 3 ]

test-machine-smoke: setup ## boot that machine, replace a certificate on it and cut its power once (root)
	@./tests/kit/install machine
	$(BIN)/python -m tests.machine --smoke || [ $$? -eq 3 ]

clean: ## remove everything that is made
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
