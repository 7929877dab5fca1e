# Every check and every main job has one entry here; `make` lists them.
PYTHON := .venv/bin/python
UV := .uv/bin/uv
EXPORT := { echo "\# Exported from uv.lock by 'make requirements'. uv installs it; for pip: python tools/install.py"; \
            $(UV) export --frozen --quiet --no-hashes --no-emit-project --no-dev --no-header; }

.DEFAULT_GOAL := help
.PHONY: help install quickstart smoke test test-all fuzz lint defaults requirements clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install:  ## all set-up: uv into .uv/, packages into .venv/
	@tools/set_up.sh

quickstart: install  ## synthetic data -> trained and evaluated Mask R-CNN -> report (7 minutes on 2 cores)
	$(PYTHON) tools/prepare_data.py data=mini
	$(PYTHON) tools/train_net.py +experiment=quickstart
	$(PYTHON) tools/write_report.py run=outputs/quickstart to=outputs/experiments

smoke: install  ## the same chain, a few steps only
	$(PYTHON) tools/prepare_data.py data=mini data.name=tiny data.synthetic.num_images='{train: 24, validation: 8, test: 4}' max_missing=0.5
	$(PYTHON) tools/train_net.py +experiment=quickstart name=smoke data.name=tiny d2.SOLVER.MAX_ITER=6 d2.SOLVER.WARMUP_ITERS=2
	$(PYTHON) tools/write_report.py run=outputs/smoke to=outputs/experiments

# An idle process takes tests from a busy one. What is compiled is kept, for the processes that tests start.
TESTS := PYTHONDONTWRITEBYTECODE= $(PYTHON) -m pytest -n auto --dist worksteal

test: install  ## the tests, without the slow ones
	$(TESTS)

test-all: install  ## every test
	$(TESTS) -m "slow or not slow"

fuzz: install  ## 10,000 mutated inputs for each reader (15 minutes); by coverage after `.uv/bin/uv sync --group fuzz`
	PYTHONPATH=tests/support OMP_NUM_THREADS=1 $(PYTHON) -m fuzzing

lint: install  ## format, lint, types, the rooms' one-way arrows, requirements.txt current
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	@$(EXPORT) | diff -u requirements.txt - || { echo "requirements.txt is not current: make requirements" >&2; exit 1; }

defaults: install  ## write the installed Detectron2's defaults to configs/detectron2
	$(PYTHON) -c "from pathlib import Path; from oiv5_d2.training.config import write_defaults; print(write_defaults(Path('configs')))"

requirements: install  ## export requirements.txt from uv.lock
	@$(EXPORT) > requirements.txt

clean:  ## remove what was set up here, but neither data nor outputs
	rm -rf .uv .venv
