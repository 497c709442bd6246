# Everything a newcomer needs: make demo, make test. Nothing else is needed first.
SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?= python3

.PHONY: setup demo test testAll lint bench clean

setup: $(VENV)/.ready

# Debian packages first (only the missing ones, so it is quick when there is nothing to do), then the
# virtual environment, made anew when pyproject.toml changes.
$(VENV)/.ready: pyproject.toml .ci/packages
	sh .ci/packages
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[demo,dev]'
	touch $@

demo: setup
	$(PY) -m bridge.demo

test: setup
	$(PY) -m pytest -m 'not root'

testAll: setup
	$(PY) -m pytest

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: setup
	$(PY) -m tests.bench

clean:
	rm -rf $(VENV) .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/output bench.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
