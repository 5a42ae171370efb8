# Each target sets up what it needs in .venv and is quick when that is there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart gate test slow lint types docs all clean

quickstart: $(VENV)/.ready-run
	$(BIN)/python -m bench run suites/quickstart.yaml --workers 2

# The quickstart against its committed numbers. On another processor two seeds may not tell: 3 passes.
gate: $(VENV)/.ready-run
	$(BIN)/python -m bench run suites/quickstart.yaml --workers 2 --out runs/gate --quiet
	$(BIN)/python -m bench check runs/gate --baseline leaderboard/baselines/quickstart.json \
	  --junit runs/gate/gate.xml || [ $$? = 3 ]

test: $(VENV)/.ready-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

# What a change seldom breaks and a night finds: each for seconds to minutes.
slow: $(VENV)/.ready-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m 'slow and not gpu and not benchmark'

lint: $(VENV)/.ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready-test
	$(BIN)/mypy

# Into site/; nothing of it asks other servers.
docs: $(VENV)/.ready-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

all: lint types docs test

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "topdown-bench needs Python 3.11 or newer; $(PYTHON) is older (make PYTHON=python3.12 ...)"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "$(PYTHON) cannot make virtual environments; install its venv package (Debian: python3-venv)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.ready-run: pyproject.toml $(VENV)/.made
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.ready-test: pyproject.toml $(VENV)/.made
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.ready-run

clean:
	rm -rf $(VENV) build dist site runs/quickstart runs/gate
