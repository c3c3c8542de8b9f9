# Every target prepares its own environment, once: .venv, made anew when it was left half made.
PYTHON ?= python3
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip install --constraint constraints.txt
OUT    ?= out
# With pip's options where they are needed: make TORCH="torch --index-url URL" test
TORCH  ?= torch

.PHONY: demo test check format bench demo-model tutorials docs see reproduce
.DELETE_ON_ERROR:

demo: .venv/.ready          ## the bundled model on bundled pictures: an HTML report
	$(BIN)/python -m vlm_lens demo --out $(OUT)

test: .venv/.ready          ## the whole test suite
	$(BIN)/python -m pytest --numprocesses 2

check: .venv/.ready         ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.ready        ## rewrite the sources in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.bench         ## speed and memory next to the other tools on the CPU, and the page of the figures
	$(BIN)/python benchmarks/cpu.py
	$(BIN)/python -m docs.make_performance

demo-model: .venv/.ready    ## train the bundled model again, from nothing
	$(BIN)/python -m vlm_lens.demo.train --out $(OUT)/demo-model

tutorials: .venv/.ready     ## run the tutorials again and keep their outputs
	$(BIN)/python -m tutorials.execute

docs: .venv/.ready          ## write the generated pages again
	$(BIN)/python -m docs.make_hooks
	$(BIN)/python -m docs.make_sweeps
	$(BIN)/python -m docs.make_judges

see: .venv/.ready           ## measure the bundled model's insides and write docs/what_you_can_see.md
	$(BIN)/python -m docs.make_what_you_can_see

reproduce: .venv/.ready     ## the papers' tables and figures on the bundled model, into docs/experiments.md
	$(BIN)/python -m docs.make_experiments --kept $(OUT)/reproduce

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit("vlm_lens needs Python 3.11 or newer, and $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.12" % v[:2] if v < (3, 11) else 0)'
	@test -e $@ || $(PYTHON) -m venv --clear .venv
	$(PIP) $(TORCH)
	$(PIP) --editable '.[dev,tutorials,docs]'
	@touch $@

.venv/.bench: .venv/.ready  # the tools that only the benchmarks need; without them the tables say so
	$(PIP) --editable '.[bench]' || echo 'some tools could not be installed; the tables leave them out'
	@touch $@
