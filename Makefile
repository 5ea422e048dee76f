# From a fresh clone, with Python 3.10 or later, make and a package index:
#
#   make demo     segments an example with words; and a photograph of your own:
#   make demo CONFIG=configs/photos.yaml PICTURE=photo.jpg WORDS="dog, grass, sky"
#   make test     runs the tests; with D2=/path/to/a/detectron2/checkout, on detectron2 itself
#   make lint     checks style and types
#   make fuzz     feeds damaged input to every reader; N=100000 READER=masks SEED=1 for more
#
# Each of them makes .venv first and installs this package there, once. PYTHON=python3.11 chooses the
# Python for that; ARGS="-k vocab" are further arguments of pytest.

PYTHON ?= python3
CONFIG := configs/maskclip_shifted.yaml
PICTURE := datasets/examples/shapes.png
WORDS := orange star, green stripes, gravel, red star, grass, water
OUTPUT := output/demo
ARGS :=
N := 1000
READER :=
SEED := 0
D2 ?=

# Recipes read the variables as "$$NAME" from the environment, and all paths are relative to this
# folder: so both may hold spaces, quotes and commas.
export PYTHON CONFIG PICTURE WORDS OUTPUT D2 N READER SEED

SHELL := /bin/sh
VENV_PYTHON := .venv/bin/python
STAMP := .venv/.ovseg_d2-installed
D2_STAMP := .venv/.ovseg_d2-d2-installed

# The stamp holds the folder it was made in: a clone that was moved is installed again, since an
# editable install points to its folder.
STALE := $(shell [ "$$(cat $(STAMP) 2>/dev/null)" = "$$(pwd -P)" ] || echo stale)

.PHONY: help setup demo test lint fuzz d2-checkout stale

help:
	@sed -n '/^#   make/s/^# *//p' Makefile

setup: $(STAMP)

# An install into a linked .venv would change the environment of the folder that the link leads to,
# whose editable install would then be this folder's package.
# The stamp goes first and comes back last, so that an interrupted install is done again.
$(STAMP): setup.py pyproject.toml tools/check_setup.py $(STALE)
	@[ ! -L .venv ] || { \
	    echo ".venv is a link to $$(readlink .venv), and installing there would point the environment" \
	         "of another folder to this one: remove the link (rm .venv), and make builds one here" >&2; \
	    exit 1; }
	@rm -f $(STAMP) $(D2_STAMP)
	@$(VENV_PYTHON) -m pip --version >/dev/null 2>&1 \
	|| $(VENV_PYTHON) -m ensurepip >/dev/null 2>&1 \
	|| { "$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	     || { FOUND=$$(command -v "$$PYTHON" >/dev/null && "$$PYTHON" --version 2>&1 || echo missing); \
	          echo "Python 3.10 or later is needed, and PYTHON=$$PYTHON is $$FOUND: install one, or" \
	               "name one with make PYTHON=/path/to/python3" >&2; exit 1; }; \
	     echo "Making .venv with $$("$$PYTHON" --version)"; \
	     "$$PYTHON" -m venv --clear .venv; }
	@echo "Installing ovseg_d2 and what it needs into .venv; the first time this takes minutes"
	@$(VENV_PYTHON) -m pip install -qq --no-input --disable-pip-version-check -e ".[dev]"
	@$(VENV_PYTHON) tools/check_setup.py
	@pwd -P > $(STAMP)

$(D2_STAMP): $(STAMP)
	@echo "Installing what detectron2 needs into .venv"
	@$(VENV_PYTHON) -m pip install -qq --no-input --disable-pip-version-check -e ".[dev,d2]"
	@touch $(D2_STAMP)

demo: $(STAMP)
	@$(VENV_PYTHON) tools/demo.py --config-file "$$CONFIG" --input "$$PICTURE" \
	    --classes "$$WORDS" --output "$$OUTPUT"

d2-checkout:
	@[ -f "$$D2/detectron2/__init__.py" ] || { \
	    echo "D2=$$D2 is no checkout of detectron2: it holds no detectron2/__init__.py" >&2; exit 1; }

test: $(if $(strip $(D2)),d2-checkout $(D2_STAMP),$(STAMP))
	@if [ -n "$$D2" ]; then \
	    PYTHONPATH="$$(cd -- "$$D2" && pwd)$${PYTHONPATH:+:$$PYTHONPATH}"; \
	    export PYTHONPATH; \
	fi; \
	$(VENV_PYTHON) -m pytest $(ARGS)

lint: $(STAMP)
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m ruff format --check .
	@$(VENV_PYTHON) -m mypy

fuzz: $(STAMP)
	@$(VENV_PYTHON) tests/fuzz/run.py --cases "$$N" --reader "$$READER" --seed "$$SEED"
