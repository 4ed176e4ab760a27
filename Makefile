# make demo       the whole pipeline, with the sizes of conf/experiment/EXPERIMENT.yaml, in RUN or
#                 the folder of the experiment: runs/demo, runs/smoke, runs/long
# make test       the test suite, without what is slow: about seven minutes on two cores
# make test-slow  the slow rest: whole demos, kills and restarts, several processes, a browser
# make new-user   README and tutorials in an empty folder, with screenshots: over ten minutes
# make check      ruff, format, pyright, import-linter
# make docs       the documentation as a site in site/
# make gpu-check  correctness and speed on a GPU, in eight minutes: runs/gpu_check/gpu_check.md
# make install    the virtual environment; the others do it when it is missing or out of date
PYTHON ?= python3
RUN ?=
EXPERIMENT ?= default
OVERRIDES ?=
PYTEST ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow new-user check docs gpu-check

help:
	@sed -n 's/^# //p' Makefile

install: $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/genie-robo demo $(if $(RUN),run=$(RUN)) experiment=$(EXPERIMENT) $(OVERRIDES)

# Two workers with one thread each: more of either is slower on two cores. The tests start many
# processes, which compile every module anew without its .pyc.
test test-slow new-user: export OMP_NUM_THREADS = 1
test test-slow new-user: export PYTHONDONTWRITEBYTECODE =
test: $(INSTALLED)
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow" $(PYTEST)

test-slow: $(INSTALLED)
	$(BIN)/pytest -n 2 --dist loadfile -m slow $(PYTEST)

new-user: $(INSTALLED)
	$(BIN)/pytest -rs tests/test_new_user.py $(PYTEST)

check: $(INSTALLED)
	$(BIN)/ruff check --no-cache
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

docs: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

gpu-check: $(INSTALLED)
	PYTHONPATH=. $(BIN)/python tests/benchmarks/gpu_check.py --out runs/gpu_check

# The stamp is written last, so that an interrupted installation starts again.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "genie_robo needs Python 3.11, 3.12 or 3.13, but $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>&1 || echo missing). Name another: make PYTHON=python3.12" >&2; \
	  exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "$(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv" >&2; \
	  exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
