# Needs Python 3.11 or newer, make, and the package index the first time. `make` says what there is.

PYTHON ?= python3
VENV := .venv
BENCH := .venv-bench
PEERS := .venv-peers
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
INSTALLED_BROWSER := $(VENV)/.installed-browser
MERMAID := 11.17.2
pip = $(1)/bin/python -m pip install --quiet --disable-pip-version-check
PIP := $(call pip,$(VENV))
# What the lock pins, and the project itself. setuptools warns that folders named like a package shadow it: here they are the package.
install = $(call pip,$(1)) --require-hashes -r requirements.lock && PYTHONWARNINGS=ignore $(call pip,$(1)) --no-deps --no-build-isolation -e .

# What is measured runs on the fastest Python on the PATH, or on the one named here; chosen once, until `make clean`.
BENCH_PYTHON ?=

# Arguments for a target: `make demo ARGS="--orders 100"`, `make test ARGS="-k story -x"`.
ARGS ?=
SEEDS ?= 1000
SEED ?= 1
KILLS ?= 200
COMPILE := $(BIN)/python -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml
FAULTS := $(foreach name,chaos takeover shorter_log database_faults,tests/e2e/test_$(name).py)

.DEFAULT_GOAL := help
.PHONY: help demo test browser faults sim sweep random mutants races scaling producers chaos conformance up down rebuild check coverage format diagrams pages alerts guide bench bench-peers lock clean
.DELETE_ON_ERROR:

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## Run 20 orders through four services over Iggy topics, and prove that nothing is lost
	@$(BIN)/python -m services.demo $(ARGS)

test: $(INSTALLED) ## Run the tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile --ignore=tests/browser $(foreach test,$(FAULTS),--ignore=$(test)) $(ARGS)

browser: $(INSTALLED_BROWSER) ## Render drawings and pages in Chromium; pictures of them are in .browser/screenshots
	@$(BIN)/python -m pytest tests/browser $(ARGS)

faults: $(INSTALLED) ## Run the tests that freeze, cut off and starve real processes: they take their time
	@$(BIN)/python -m pytest $(FAULTS) $(ARGS)

sim: $(INSTALLED) ## Simulate worlds in which everything fails: SEEDS=1000 of them, from SEED on
	@$(BIN)/python -m sagas.testing.simulation --saga services.simulated:shop --seeds $(SEEDS) --first $(SEED) $(ARGS)

sweep: $(INSTALLED) ## Crash at every port call of every story
	@$(BIN)/python -m sagas.testing.simulation --saga services.simulated:shop --saga tests.simulation.trips:TRIPS --sweep $(ARGS)

random: $(INSTALLED) ## Draw SEEDS=1000 sagas by chance, from SEED on, and try every part of the engine on each
	@$(BIN)/python -m tests.random_sagas --seeds $(SEEDS) --first $(SEED) $(ARGS)

races: $(INSTALLED) ## Say for each known race which test holds it, and its result
	@$(BIN)/python -m tests.races.table $(ARGS)

scaling: $(INSTALLED) ## Scale a group of workers 1, 3, 4, 2, say who owns what, and prove that nothing is lost
	@$(BIN)/python -m services.scaling $(ARGS)

producers: $(INSTALLED) ## Have an old and a new release place orders at once, and compare each total
	@$(BIN)/python -m services.producers $(ARGS)

chaos: $(INSTALLED) ## Kill and freeze real processes under load, KILLS=200 times, and prove that nothing is lost
	@$(BIN)/python -m services.chaos --kills $(KILLS) $(ARGS)

mutants: $(INSTALLED) ## Plant every bug that an engine like this can have, and see that each is found
	@status=0; $(BIN)/python -m tests.mutants.checked || status=1; $(BIN)/python -m tests.mutants $(ARGS) || status=1; exit $$status

conformance: $(INSTALLED) ## Attack the four services as a bad network would
	@$(BIN)/sagas conformance $(foreach name,orders inventory payments shipping,services.$(name).conformance) $(ARGS)

up: $(INSTALLED) ## Keep broker, orchestrator, services, projector and storefront running in the background
	@$(BIN)/python -m services.up

down: $(INSTALLED) ## Stop what `make up` started
	@$(BIN)/python -m services.down

rebuild: $(INSTALLED) ## Build the read model anew from the topics, compare it with the one in use, and swap it in
	@$(BIN)/sagas replay $(ARGS)

check: $(INSTALLED_DEV) ## Check types, style and format
	@$(BIN)/python -m mypy
	@$(BIN)/python -m pyright
	@$(BIN)/python -m tests.typing
	@$(BIN)/python -m ruff check
	@$(BIN)/python -m ruff format --check

coverage: $(INSTALLED_DEV) ## Say which branches of the core and the barrier the tests run
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m coverage run -m pytest -q tests/core tests/runtime tests/services tests/scenarios tests/cli tests/races tests/testing \
		tests/examples tests/simulation/test_trips.py
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report

format: $(INSTALLED_DEV) ## Write the format that `make check` wants
	@$(BIN)/python -m ruff format

guide: $(INSTALLED) ## Write docs/guide.md anew, from its table
	@$(BIN)/python -m tests.guide

diagrams: $(INSTALLED) ## Draw the sagas anew, from their definitions
	@$(BIN)/python -m tests.drawings

pages: $(INSTALLED) ## Write anew the pages that are made from code
	@$(BIN)/python -m sagas.cli.settings_page > docs/settings.md.new && mv docs/settings.md.new docs/settings.md

alerts: ## Have Prometheus check the alert rules and run their tests
	@command -v promtool > /dev/null || { \
		echo "promtool is needed, it comes with Prometheus: apt-get install prometheus, or https://prometheus.io/download" >&2; exit 1; }
	@cd deploy/prometheus && promtool check config --syntax-only prometheus.yaml && promtool check rules alerts.yaml && \
		promtool test rules alerts_test.yaml

bench: $(BENCH)/.installed ## Measure what the README quotes: ARGS=--quick for a look, ARGS="system limits" for some rows
	@$(BENCH)/bin/python -m benchmarks $(ARGS)

bench-peers: $(BENCH)/.installed $(PEERS)/.installed ## Measure other engines beside this one, in turn
	@$(BENCH)/bin/python -m benchmarks.peers --python $(PEERS)/bin/python $(ARGS)

lock: $(INSTALLED) ## Choose and pin the versions of everything anew
	@$(PIP) uv
	@$(COMPILE) --extra testing --extra web --group test --output-file requirements.lock
	@for group in check browser peers; do \
		$(COMPILE) --group $$group --constraints requirements.lock --output-file requirements-$$group.lock || exit 1; \
	done

clean: ## Remove what can be made again; the data of `make up` stays
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m services.down > /dev/null 2>&1 || true; fi
	@rm -rf $(VENV) $(BENCH) $(PEERS) .sagas/demo build dist *.egg-info .browser .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12" >&2; \
		exit 1; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# The stamps carry the time of the last installation, so that a second `make` does nothing.
$(INSTALLED): requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing what requirements.lock pins"
	@$(call install,$(VENV))
	@touch $@

$(BENCH)/bin/python: | $(BIN)/python
	@python="$(BENCH_PYTHON)"; python="$${python:-$$($(BIN)/python -m benchmarks.interpreter)}" && \
		echo "making $(BENCH) of $$python" && "$$python" -m venv $(BENCH)

$(BENCH)/.installed: requirements.lock pyproject.toml | $(BENCH)/bin/python
	@$(call install,$(BENCH))
	@touch $@

# Made of the same Python: engines that are compared run on one.
$(PEERS)/.installed: requirements-peers.lock | $(BENCH)/bin/python
	@$(BENCH)/bin/python -m venv $(PEERS)
	@$(call pip,$(PEERS)) --require-hashes -r requirements-peers.lock
	@touch $@

$(INSTALLED_DEV): requirements-check.lock $(INSTALLED)
	@echo "installing what requirements-check.lock pins"
	@$(PIP) --require-hashes -r requirements-check.lock
	@touch $@

$(INSTALLED_BROWSER): requirements-browser.lock Makefile $(INSTALLED)
	@command -v npm > /dev/null || { echo "npm is needed for Mermaid: install Node.js" >&2; exit 1; }
	@echo "installing what requirements-browser.lock pins, and mermaid $(MERMAID)"
	@$(PIP) --require-hashes -r requirements-browser.lock
	@mkdir -p .browser && cd .browser && npm pack --silent mermaid@$(MERMAID) > /dev/null
	@tar -xzf .browser/mermaid-$(MERMAID).tgz -C .browser package/dist/mermaid.min.js package/LICENSE
	@touch $@
