# `make` lists what there is to do. Every target that needs Python makes .venv first.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
# Debian's names. A browser for the tests of the page, the offline copy of Fashion-MNIST, texts, a compiler for torch.compile.
SYSTEM_PACKAGES := chromium chromium-driver dataset-fashion-mnist fortunes g++
# More for pytest: make test PYTEST_ARGS="-k regimes"
PYTEST_ARGS ?=

# Two stamps: where .venv was made (scripts in it hold absolute paths, so a moved or copied one is made anew),
# and from which requirements it was filled. Both up to date: `make venv` has nothing to do.
PLACE := .venv/.place-$(shell printf %s "$(CURDIR)" | cksum | cut -d' ' -f1)
STAMP := .venv/.filled-$(shell cat pyproject.toml constraints.txt src/lrscope/_version.py | cksum | cut -d' ' -f1)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: venv ## Map the learning rates of the demo (demo.toml); results and page in runs/demo
	@$(BIN)/lrscope map demo.toml

.PHONY: test
test: venv ## Run the tests; as root on Debian or Ubuntu install what they need there first
	@if [ "$$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then \
	    $(MAKE) system-deps || echo "make test: going on without them" >&2; \
	fi
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

.PHONY: quick
quick: venv ## Run the tests that are not slow: minutes, for whoever is changing the code
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" $(PYTEST_ARGS)

.PHONY: neutral
neutral: venv ## Compare the numbers of this tree with those of a commit to the byte: make neutral BASE=<commit>
	@$(BIN)/python benchmarks/neutral.py $(or $(BASE),$(error BASE: name the commit to compare with, such as BASE=HEAD~1))

.PHONY: options
options: venv ## Write the keywords and the tables of docs/usage.md from the configs, after an option was added or changed
	@$(BIN)/python -m lrscope.config.generate

.PHONY: check
check: venv ## Check style (ruff) and types (mypy)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy src

.PHONY: format
format: venv ## Put the code into shape, mending what ruff can mend
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

.PHONY: system-deps
system-deps: ## Install Debian's packages that some tests need (chromium, Fashion-MNIST, fortunes, g++)
	@if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then \
	    echo "make system-deps: no apt-get here; install the like of these by hand: $(SYSTEM_PACKAGES)"; exit 0; \
	fi; \
	missing=""; \
	for package in $(SYSTEM_PACKAGES); do \
	    [ "$$(dpkg-query -W -f='$${db:Status-Status}' "$$package" 2>/dev/null)" = installed ] || missing="$$missing $$package"; \
	done; \
	if [ -z "$$missing" ]; then echo "make system-deps: all there ($(SYSTEM_PACKAGES))"; exit 0; fi; \
	if [ "$$(id -u)" -ne 0 ]; then echo "make system-deps: missing$$missing; run: sudo make system-deps" >&2; exit 1; fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get -o DPkg::Lock::Timeout=300 update; \
	apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $$missing

.PHONY: venv
venv: $(STAMP) ## Make .venv with the pinned requirements (once, minutes; then instant)

$(STAMP): | $(PLACE)
	@echo "Installing lrscope and its requirements into .venv (some minutes and gigabytes, once)"
	$(BIN)/python -m pip install --no-input --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@rm -f .venv/.filled-*; touch $@

$(PLACE):
	@for python in python3 python3.13 python3.12 python3.11; do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then break; fi; \
	    python=""; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "make venv: lrscope needs Python 3.11 or newer, and none of python3, python3.13, python3.12, python3.11 is that." >&2; \
	    exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	    echo "make venv: $$python cannot make virtual environments; on Debian and Ubuntu: sudo apt-get install python3-venv" >&2; \
	    exit 1; \
	fi; \
	echo "Making .venv with $$("$$python" -V)"; \
	"$$python" -m venv --clear .venv
	@touch $@

.PHONY: clean
clean: ## Remove .venv, caches and built packages; runs/ stays
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
