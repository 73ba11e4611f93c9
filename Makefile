# `make demo` and `make test` set everything up on a fresh machine; nothing needs root but the Debian packages of the tests.
PYTHON ?= python3
UV := .uv/bin/uv
BIN := .venv/bin
OUT ?= demo-out

.PHONY: demo test lint format bench bench-long lock debian clean help

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: .venv/.run  ## synthesise slides, train, calibrate, bundle, run on unseen specimens, open the pages
	$(BIN)/pellucid demo --out $(OUT)

test: .venv/.dev debian  ## every test, the slow ones too
	$(BIN)/pytest

lint: .venv/.dev  ## formatting, ruff, types, floors
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

bench: .venv/.dev  ## the measurements of docs/benchmarks.md, side by side
	$(BIN)/python -m benchmarks.reading
	$(BIN)/python -m benchmarks.posterior
	$(BIN)/python -m benchmarks.certification
	$(BIN)/python -m benchmarks.transport
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.queue

bench-long: .venv/.dev  ## the measurements that take an hour: a slide of real size, 2,000 slides, 100 kills on each database
	$(BIN)/python -m benchmarks.tcga_bags
	$(BIN)/python -m benchmarks.large_slide
	$(BIN)/python -m benchmarks.soak --slides 2000
	$(BIN)/python -m benchmarks.chaos --kills 100 --database sqlite
	$(BIN)/python -m benchmarks.chaos --kills 100 --database postgres

lock: .venv/.dev  ## renew the hashed locks
	.ci/lock $(UV)

debian:
	.ci/debian-packages

$(UV):
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check -r requirements/uv.txt

.venv/.run: requirements/run.txt pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	# the engine's processes start with byte code at hand: importing torch without it takes twice as long
	$(UV) pip install --quiet --compile-bytecode --require-hashes -r requirements/run.txt
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

.venv/.dev: requirements/dev.txt .venv/.run
	$(UV) pip install --quiet --require-hashes -r requirements/dev.txt
	touch $@

clean:
	rm -rf .venv .uv demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
