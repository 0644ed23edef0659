# Everything here runs in .venv, made from the versions that constraints.txt names. `make demo` is the place to begin.
.PHONY: help install demo test test-slow check bench bench-install clean

VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(shell for p in python3.11 python3 python3.12 python3.13; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
STAMP := $(VENV)/.installed
BENCH_VENV := .venv-bench
BENCH_BIN := $(BENCH_VENV)/bin
BENCH_STAMP := $(BENCH_VENV)/.installed
PURELIB := import sysconfig; print(sysconfig.get_path("purelib"))

help:  ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/:/' | column -t -s:

install: $(STAMP)  ## make .venv and install the package with its tools into it

$(STAMP): pyproject.toml constraints.txt
ifeq ($(PYTHON),)
	@echo "error: no Python 3.11 or newer was found: install one and see that python3 is it" >&2; exit 1
endif
	@echo "== making $(VENV) with $$($(PYTHON) --version) and installing (some minutes, several GB)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[test,dev]"
	@touch $@
	@echo "== installed; the command is $(BIN)/rlq"

demo: install  ## the main job on rendered people, end to end
	$(BIN)/rlq demo

test: install  ## all tests but the slow ones
	$(BIN)/python -m pytest -m "not slow and not gpu and not remote"

test-slow: install  ## the slow tests
	$(BIN)/python -m pytest -m "slow and not gpu and not remote"

check: install  ## lint, format, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

bench: bench-install  ## measurements, into bench-results/; no part of the tests, because times are noise on shared machines
	@mkdir -p bench-results
	@for bench in tests/benchmarks/bench_*.py; do \
		name=bench-results/$$(basename $$bench .py); json=; \
		if grep -q -e '"--json"' $$bench; then json="--json $$name.json"; fi; \
		echo "== $$bench"; $(BIN)/python $$bench $$json > $$name.md || exit 1; cat $$name.md; \
	done

bench-install: $(BENCH_STAMP)  ## install what the loaders are compared with, into .venv-bench

# .venv-bench sees .venv's packages behind its own: it holds only what .venv lacks or must not have.
$(BENCH_STAMP): tests/benchmarks/peers.txt $(STAMP)
	test -x $(BENCH_BIN)/python || $(BIN)/python -m venv --without-pip $(BENCH_VENV)
	echo "import site; site.addsitedir('$$($(BIN)/python -c '$(PURELIB)')')" > "$$($(BENCH_BIN)/python -c '$(PURELIB)')/product.pth"
	$(BENCH_BIN)/python -m pip install --disable-pip-version-check --quiet -r tests/benchmarks/peers.txt
	@touch $@

clean:  ## delete what was built, but neither data nor .venv
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
