# Everything a newcomer needs: make demo, make test. Nothing else is needed first.
SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?= python3
WORKERS ?= 5

.PHONY: setup demo demo-fleet node-red test testAll testFresh lint docs tables picture audit bench bench-fleet clean \
	install uninstall deb image add-on

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

# Two boxes, their clouds and a collector, with an outage in the middle; it ends by itself.
demo-fleet: setup
	$(PY) -m bridge.demo.fleet

# The demo, and a private Node-RED 4 with the flows of node-red-flows/; it prints the address.
node-red: setup
	sh .ci/node-packages --no-browser
	$(PY) -m bridge.demo.node_red

# Most tests wait for real processes, so several files run at a time; what is one of its kind on a machine, such
# as pppd, stays within one file. The files start in the order of their names: by default those with few tests come
# last, and these are the slow ones, at which the other workers would wait.
test: setup
	sh .ci/node-packages
	$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m 'not root and not slow'

# All of it, the soak of a quarter of an hour too (SOAK_SECONDS=60 makes it a minute).
testAll: setup
	sh .ci/node-packages
	sh .ci/home-assistant
	sh .ci/box-packages
	sh .ci/container-packages
	sh .ci/audit
	$(PY) -m pytest

# The test command in a fresh Debian root, which has nothing by chance; needs root and mmdebstrap.
# SUITE=bookworm or trixie, AS=root or pi.
SUITE ?= trixie
AS ?= pi
testFresh:
	.ci/fresh-root $(SUITE) $(AS) 'make test'

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# The pages of docs/ as a site in site/; any warning ends it.
docs: setup
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	$(PY) -m mkdocs build --quiet --strict --config-file .ci/mkdocs.yml

# The tables of the pages that are made from the code, and the picture of the demo.
tables: setup
	$(PY) -m tests.docs.tables

picture: setup
	$(PY) -m tests.docs.picture

# Known weaknesses of what the Debian package carries, where they can be asked for.
audit: setup
	sh .ci/audit

bench: setup
	$(PY) -m tests.bench

# 5,000 boxes, three collectors, a cluster of three JetStream servers, and 20 kills: at most eight minutes.
bench-fleet: setup
	$(PY) -m tests.bench.fleet

# On Debian and Raspberry Pi OS, with root. Again for an upgrade: the configuration and the outbox stay.
install:
	sh config/debian/install

# PURGE=1 takes the configuration and the outbox too.
uninstall:
	sh config/debian/uninstall

# dist/hologram-bridge_VERSION+pyPYTHON_ARCH.deb, its Python dependencies inside; ARCH=amd64, arm64 or armhf,
# PYTHON_VERSION=3.11 or 3.13 (without it: this release's).
deb: setup
	PIP="$(PY) -m pip" sh config/debian/build $(ARCH)

# hologram-bridge:VERSION with Podman or Docker; ARCH=amd64, arm64 or armv7.
image:
	sh config/container/build $(ARCH)

# The repository of Home Assistant's add-on, in dist/add-on.
add-on:
	sh config/home-assistant/add-on/build

clean:
	rm -rf $(VENV) site .demo .node-red .home-assistant .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/output bench.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
