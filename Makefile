# make run | test | check | bench: each installs what it needs into .venv first.

PYTHON ?= python3
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
NPM    := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/npm
BUILT  := pyproject.toml setup.py constraints.txt $(wildcard clipcore/kernels/*.[ch])

.PHONY: run test check bench format clean

run: .venv/run.stamp
	CLIPCORE_AUTOSTART=$${CLIPCORE_AUTOSTART-charlm} $(BIN)/clipcore serve

test: .venv/dev.stamp .venv/browser.stamp node_modules/.stamp
	$(BIN)/python -m pytest
	$(BIN)/node --test "tests/web/**/*.test.js"

check: .venv/dev.stamp node_modules/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/node node_modules/typescript/bin/tsc --project .
	$(NPM) run --silent plotly -- --log-level=warning --outfile=build/plotly.min.js
	cmp web/vendor/plotly.min.js build/plotly.min.js
	$(BIN)/python -m pytest --quiet tests/test_layers.py

bench: .venv/dev.stamp .venv/browser.stamp
	$(PIP) --editable '.[dev,bench]'
	$(BIN)/python benchmarks/bench_clip.py
	$(BIN)/python benchmarks/bench_stream.py
	$(BIN)/python benchmarks/bench_history.py
	$(BIN)/python benchmarks/bench_web.py

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv node_modules build *.egg-info clipcore/kernels/*.so

.venv/bin/python:
	$(PYTHON) -m venv .venv || { echo "No venv in this Python: on Debian, apt-get install python3-venv" >&2; exit 1; }

.venv/run.stamp: $(BUILT) | .venv/bin/python
	$(PIP) --editable '.[server]'
	@touch $@

.venv/dev.stamp: $(BUILT) | .venv/bin/python
	$(PIP) --editable '.[dev]'
	@touch $@ .venv/run.stamp

.venv/browser.stamp: tests/e2e/browser.py tests/e2e/proxy.py tests/debian.py | .venv/dev.stamp
	$(BIN)/python -m tests.e2e.browser
	$(BIN)/python -m tests.e2e.proxy
	@touch $@

node_modules/.stamp: package.json package-lock.json | .venv/dev.stamp
	$(NPM) ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@
