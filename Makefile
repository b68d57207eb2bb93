# `make` alone lists the targets. Everything is installed into $(VENV), nothing outside the checkout
# except Kafka's jars (make kafka, make test-kafka), which are kept in ~/.cache/fewnerd-stream.

VENV ?= .venv
PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST_ARGS ?=
BENCH_ARGS ?=
RUN_ARGS ?=

# The first Python of 3.11 to 3.13 that runs.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)

.DEFAULT_GOAL := help
.PHONY: help setup demo live test test-browser test-deploy test-recipe test-kafka test-client kafka faults faults-short model bench bench-short docs lint format clean
.DELETE_ON_ERROR:

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-12s %s\n", $$1, $$2 }'

demo: $(VENV)/.demo ## documents through a broker and a worker, entities in colour, and what went where
	@$(VENV)/bin/fewnerd-stream $(if $(CONSOLE),live,demo)

live: $(VENV)/.demo ## your feeds on a page: make live FEEDS="https://..." (without FEEDS: news of our own)
	@$(VENV)/bin/fewnerd-stream live $(FEEDS)

setup: $(VENV)/.dev ## a virtual environment for development (without the recipe's torch)

test: $(VENV)/.dev ## the tests that need neither Java nor torch
	$(PY) -m pytest -m 'not kafka and not recipe and not deploy and not browser' $(PYTEST_ARGS)

test-deploy: $(VENV)/.dev ## alarms, dashboard and chart (needs promtool and Prometheus, and Go)
	$(PY) -m pytest -m deploy $(PYTEST_ARGS)

test-recipe: $(VENV)/.recipe ## the model's recipe, with a tiny model (installs torch)
	$(PY) -m pytest -m recipe $(PYTEST_ARGS)

test-browser: $(VENV)/.dev ## the console in a real browser (needs chromium)
	$(PY) -m pytest -m browser $(PYTEST_ARGS)

test-kafka: $(VENV)/.dev ## real workers on Apache Kafka (needs Java 17 and Maven)
	$(PY) -m pytest -m 'kafka and not subscribers' $(PYTEST_ARGS)

test-client: $(VENV)/.dev ## consumers in Java, JavaScript and Go, and a PostgreSQL sink under kills (needs those, and Kafka's needs)
	$(PY) -m pytest -m subscribers $(PYTEST_ARGS)

kafka: $(VENV)/.dev ## Apache Kafka in the foreground, without Docker (needs Java 17 and Maven)
	@$(PY) -m tests.support.kafka

faults: $(VENV)/.dev ## every fault that we know of, on Apache Kafka, and docs/reliability.md (hours; goes on where it stopped)
	$(PY) -m tests.faults run --resume $(RUN_ARGS); status=$$?; $(PY) -m tests.faults report; exit $$status

faults-short: $(VENV)/.dev ## each fault once, on Apache Kafka, its times scaled down (needs Java 17, Maven and Go)
	$(PY) -m tests.faults run --short $(RUN_ARGS)

model: $(VENV)/.recipe ## make the bundled model again: train, export, quantize, evaluate (hours on a CPU)
	$(VENV)/bin/fewnerd-stream model make

bench: $(VENV)/.recipe ## the benchmarks, and docs/performance.md from them (an hour; the machine must be idle)
	$(PY) -W ignore -m benchmarks run $(BENCH_ARGS)

bench-short: $(VENV)/.recipe ## shows that the benchmarks run; measures nothing (installs torch)
	$(PY) -W ignore -m benchmarks run --short --only tagger,experiments,end_to_end,latency,scale --again \
		--results build/bench/performance.json $(BENCH_ARGS)

docs: $(VENV)/.dev ## write what is made: docs/settings.md, docs/contract/, the demonstration, the example and the figures of the model
	$(PY) -m tests.support.pages

lint: $(VENV)/.dev ## ruff and mypy, as CI runs them
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m mypy --python-version 3.10 client/fewnerd_client

format: $(VENV)/.dev ## let ruff write what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean: ## remove the virtual environment and everything built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# One stamp for each set of packages; a later one contains the earlier ones.
$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo 'No Python 3.11, 3.12 or 3.13 found: name one with `make PYTHON=/path/to/python3`.' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo 'This Python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@# Dependency groups need pip 25.1.
	@$(PY) -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml constraints.txt
	@echo 'Setting up $(VENV) ...'
	@$(INSTALL) --editable '.[demo,live]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made client/pyproject.toml pyproject.toml constraints.txt
	@echo 'Setting up $(VENV) for development ...'
	@$(INSTALL) --editable '.[demo,live]' --group bench --group dev --editable ./client
	@touch $@ $(VENV)/.demo

$(VENV)/.recipe: $(VENV)/.made client/pyproject.toml pyproject.toml constraints.txt
	@echo 'Setting up $(VENV) with torch: this takes a while ...'
	@$(INSTALL) --editable '.[demo,live,recipe]' --group bench --group dev --editable ./client
	@touch $@ $(VENV)/.dev $(VENV)/.demo
