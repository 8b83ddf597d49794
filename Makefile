# `make` lists the targets. Each that needs the environment in .venv makes it, and makes it
# again after pyproject.toml or constraints.txt changed.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RECIPE ?= quadrant
OUT ?= runs/$(RECIPE)
MINUTES ?= 60
WORKERS ?= 2

.PHONY: help setup demo test test-slow test-newest test-oldest check-beside lint docs bench soak train clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: $(STAMP) ## make the environment in .venv (the other targets do this by themselves)

demo: setup ## scan a simulated sample, classify live, store, query, draw demo.png
	@$(BIN)/speckle demo

test: setup ## run the tests and measure their coverage, in WORKERS=2 processes
	@.ci/install-debian
	@$(BIN)/python -m pytest -m "not slow and not documentation" -n $(WORKERS) --dist loadfile --cov --cov-report=term:skip-covered

test-slow: setup ## run all tests, those that take minutes as well
	@.ci/install-debian
	@$(BIN)/python -m pytest

test-newest: setup ## run a part of the tests with the newest versions that pip finds, in .venv-newest
	@PYTHON="$(BIN)/python" .ci/test-versions newest

test-oldest: setup ## run the same with the lower bounds of pyproject.toml (warnings do not count)
	@PYTHON="$(BIN)/python" .ci/test-versions oldest

check-beside: setup ## see that ophyd-async, apstools, bluesky-adaptive and blop install beside it
	@.ci/check-beside "$(BIN)/python"

lint: setup ## check style, types and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: setup ## run the code of the documentation, build the site into docs/_build/html; warnings are errors
	@$(BIN)/python -m pytest -q -m documentation tests/docs
	@rm -rf docs/reference/generated  # a page of a module that has moved would be an error
	@$(BIN)/python -m sphinx -W --keep-going -q -d docs/_build/doctrees docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: setup ## measure speeds, half an hour on two cores; live ones go into benchmarks/latest.json
	@for name in live engines simulator training_speed; do echo "== $$name"; $(BIN)/python benchmarks/$$name.py; done
	@for row in no_noise photons_1e5; do \
	  echo "== structure, $$row"; \
	  $(BIN)/python benchmarks/structure.py --row $$row --per-number 1 --families poly constant_radius --out "$$(mktemp -d)"; \
	done

soak: setup ## scans of every kind for an hour (MINUTES=60), with a report in runs/soak
	@$(BIN)/python benchmarks/soak.py --minutes $(MINUTES)

train: setup ## train RECIPE=quadrant into OUT=runs/quadrant; resumes where it stopped
	@$(BIN)/speckle train "$(RECIPE)" --out "$(OUT)"

clean: ## remove caches and build folders; keeps .venv, runs and data
	@rm -rf build dist *.egg-info docs/_build docs/reference/generated .venv-newest .venv-oldest .lower-bounds .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	@find speckle_plugin simulated_devices training tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# PYTHON=... chooses the interpreter; otherwise the first that is new enough.
$(STAMP): pyproject.toml constraints.txt
	@new_enough='import sys; sys.exit(sys.version_info < (3, 11))'; \
	python=""; \
	for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if "$$candidate" -c "$$new_enough" 2>/dev/null; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Python 3.11 or newer is needed; python3 is $$(python3 --version 2>&1 || true)." >&2; \
	  echo "Install it, or say where it is: make PYTHON=/path/to/python3.11 setup" >&2; exit 1; \
	fi; \
	if ! $(BIN)/python -c "$$new_enough" 2>/dev/null; then \
	  echo "Making $(VENV) with $$("$$python" --version)"; \
	  "$$python" -m venv --clear $(VENV) || { \
	    echo "Could not make $(VENV): on Debian and Ubuntu install the package python3-venv" >&2; exit 1; }; \
	fi; \
	if nvidia-smi >/dev/null 2>&1; then kind=train-gpu; else kind=train; fi; \
	echo "Installing into $(VENV) (all extras, $$kind; some minutes the first time)"; \
	$(BIN)/python -m pip install -qq --disable-pip-version-check \
	  -c constraints.txt -e ".[databroker,dev,docs,ioc,ipython,jax,monitor,notebook,onnx,ophyd-async,pvaccess,sim,worker,$$kind]"; \
	touch $@; \
	echo "Ready: $(BIN)/speckle --help"
