# Targets explain themselves: `make help`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BROKER := $(BIN)/python deploy/kafka-local/broker.py
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install demo test check prove broker clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo "'make prove' wants ASMG_RECORDINGS (folder of the real recordings) and ASMG_REFERENCE (file of the plain autograd baseline)."

install: $(STAMP) ## Make the environment (.venv) and fetch what the local broker needs
	@$(BROKER) --fetch || { [ $$? -eq 5 ] && echo "Going on without a local broker: 'make demo' will replay, 'make test' needs one."; }

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make install PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: install ## The whole chain on a generated stream, in about two minutes
	$(BIN)/python -m deploy.demo

test: install ## All tests, with a real broker (under 10 minutes on 2 cores)
	$(BIN)/pytest -n 3 --dist loadfile  # one more than cores: a third of the time tests wait for brokers and processes

check: $(STAMP) ## Style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

prove: install ## Rerun every number of every "It must show"; writes benchmarks/results/*.json (slow)
	$(BIN)/python -m benchmarks.prove

broker: install ## Run a local Kafka broker in the foreground; Ctrl-C ends it
	$(BROKER) --port 9092

clean: ## Remove the environment and what the demo left
	rm -rf $(VENV) demo-out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
