# Everything a user or developer does, in one place. `make` alone lists it.
#
# torch: on Linux the package index's own torch 2.13.0 is a CUDA build of several GB. `make setup`
# therefore takes the CPU build from PyTorch's index if that answers, and whatever pip finds
# otherwise. For a GPU, name the index of a CUDA build of torch 2.13.0 (see pytorch.org), e.g.
#     make setup TORCH_INDEX=https://download.pytorch.org/whl/cu130

PYTHON      ?= python3
TORCH_INDEX ?=
CLIENTS     ?= 5
# Of `make table`: which tables and seeds; all of them take hours.
CELLS       ?=
SEEDS       ?= 0,1,2

VENV      := .venv
BIN       := $(VENV)/bin
READY     := $(VENV)/.ready
RUNS      := runs/mini
METHODS   := zero-shot blind finetune disco
CPU_INDEX := https://download.pytorch.org/whl/cpu
PIP       := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
# A line every eight seconds while a recipe works: nobody should wonder whether it hangs.
TICK      := ( while sleep 8 >/dev/null; do echo "  … still installing"; done ) & tick=$$!; trap 'kill $$tick' EXIT;

.DEFAULT_GOAL := help
.PHONY: help setup run smoke table test lint format containers pretrain clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## install everything into .venv (does nothing if that is up to date)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + ". Name another: make setup PYTHON=python3.12")'
	@echo "setting up $(VENV) (a few minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(TICK) index="$(TORCH_INDEX)"; \
	if [ -z "$$index" ] && $(PYTHON) -c 'import urllib.request as u; u.urlopen("$(CPU_INDEX)/torch/", timeout=5)' 2>/dev/null; \
	then index="$(CPU_INDEX)"; fi; \
	echo "  torch ($${index:-from the package index})"; \
	$(PIP) $${index:+--extra-index-url "$$index"} torch
	@echo "  everything else"
	@$(TICK) $(PIP) hatchling editables && $(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@
	@echo "ready"

run: $(READY) ## DISCO against fine-tuning on the mini benchmark, with a table at the end
	@set -e; for method in $(METHODS); do \
		$(BIN)/fcit run --preset mini --method $$method --clients $(CLIENTS) --out $(RUNS)/$$method --force; \
	done
	@$(BIN)/fcit report $(RUNS)

smoke: $(READY) ## the whole path at its smallest: two stages, a few steps
	@$(BIN)/fcit run --preset mini-smoke --method disco --out runs/mini-smoke/disco --force

table: $(READY) ## every method and ablation into docs/results.md (resumable; CELLS=hom-task,beta SEEDS=0 for a part)
	@$(BIN)/python benchmarks/table.py $(if $(CELLS),--cells $(CELLS)) --seeds $(SEEDS) --out docs/results.md

test: $(READY) ## run the whole test suite, on two cores
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(READY) ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY) ## put the code into the agreed format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

containers: ## try docker/: a run through a federation in containers, against a simulation (COMPOSE="podman compose" to choose)
	@TORCH_INDEX="$(or $(TORCH_INDEX),$(CPU_INDEX))" docker/try.sh

pretrain: $(READY) ## train the mini base model again (long; the weights are shipped)
	@set -e; for seed in 0 1 2; do \
		$(BIN)/python -m fcit_app.pretrain --seed $$seed --out runs/pretrain/$$seed; \
	done

clean: ## remove caches; runs and .venv stay
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	@find client_app fcit_app server_app strategies tests -name __pycache__ -type d -prune -exec rm -rf {} +
