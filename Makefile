# The environment is .venv/; what is installed in it is found again by the hash of what it is made of.
PYTHON ?= python3
MODEL  ?= control/reference
HARNESS ?=
TASK   ?= $(if $(HARNESS),,tiers humaneval)
RUN    ?= latest
ARGS   ?=

BIN  := .venv/bin
HASH := $(shell cat setup.cfg pyproject.toml constraints.txt | sha256sum | cut -c1-12)
CORE := .venv/.core-$(HASH)
DEV  := .venv/.dev-$(HASH)
SLOW := .venv/.slow-$(HASH)
EXTRAS := $(patsubst %,.venv/.%-$(HASH),$(filter lm-eval bigcode,$(HARNESS)))
run   = $(BIN)/python -m runners.unified $(addprefix --model ,$(MODEL)) $(addprefix --harness ,$(HARNESS)) \
        $(addprefix --task ,$(TASK)) $(ARGS)

.PHONY: setup bench test test-slow test-languages check docs report lock sandbox bubblewrap
.DEFAULT_GOAL := setup

setup: $(CORE)  ## the environment, with what the program itself needs

bench: $(CORE) $(EXTRAS) sandbox  ## evaluate MODEL= on TASK= of HARNESS=, with further options in ARGS=
	@$(run)

test: $(DEV) sandbox bubblewrap  ## the tests, but for the slow ones
	@$(BIN)/pytest -m "not slow" $(ARGS)

test-slow: $(SLOW) sandbox bubblewrap  ## the slow tests
	@$(BIN)/pytest -m "slow and not languages" $(ARGS)

test-languages: $(DEV) sandbox bubblewrap  ## programs in the languages that the slow tests leave out: images, minutes each
	@$(BIN)/pytest -m languages $(ARGS)

check: $(DEV)  ## lint, types, layers, and the command reference
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cog --check docs/cli.md

docs: $(DEV)  ## write the command reference again
	$(BIN)/cog -r docs/cli.md

report: $(CORE)  ## the report of RUN= (an id, or latest)
	@$(BIN)/python -m runners.report $(RUN) $(ARGS)

sandbox: $(CORE)  ## an engine that answers, and the image
	@$(BIN)/python -m runners.sandbox build

bubblewrap: $(CORE)  ## the sandbox that needs no engine, and its root file system
	@$(BIN)/python -m runners.sandbox build --sandbox bubblewrap

lock: $(DEV)  ## pin the versions anew
	$(BIN)/pip install --quiet uv
	echo 'torch==2.13.0' | $(BIN)/uv pip compile setup.cfg --universal --python-version 3.11 --upgrade --quiet \
	  --constraints - --all-extras --no-header --no-annotate --output-file constraints.txt

$(CORE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo 'Touchstone needs Python 3.11 or newer: apt-get install python3, or name one with PYTHON=' >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 2; }
	@echo 'making the environment .venv' >&2
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@rm -f .venv/.core-* && touch $@

.venv/.lm-eval-$(HASH) .venv/.bigcode-$(HASH): .venv/.%-$(HASH): $(CORE)
	@echo 'installing what the harness $* needs' >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$*]'
	@rm -f .venv/.$*-* && touch $@

$(DEV): $(CORE)
	@echo 'installing the tools for development' >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@rm -f .venv/.dev-* && touch $@

$(SLOW): $(DEV)
	@echo 'installing what the slow tests run, PyTorch among it' >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,slow]'
	@rm -f .venv/.slow-* && touch $@
