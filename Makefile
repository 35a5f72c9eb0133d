# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test fast docs site lint bench clean

.venv/ready: pyproject.toml constraints.txt
	@echo "Installing torch and others into .venv: minutes, in which pip may only warn."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

setup: .venv/ready  ## the environment alone

demo: .venv/ready  ## train on the embedded digits, measure, paint, say where to look
	$(BIN)/simulacra train ebgan_digits --run runs/demo
	$(BIN)/simulacra measure runs/demo --samples 1000
	$(BIN)/simulacra sample runs/demo -n 100 -o runs/demo/digits.png
	@echo
	@echo "Open these: runs/demo/digits.png (100 samples), runs/demo/curves.png (the training),"
	@echo "runs/demo/pictures/ (the same noise at every checkpoint, and reconstructions)."

test: .venv/ready  ## the whole suite
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

fast: .venv/ready  ## the same without the slow tests: minutes, for whoever is changing something
	$(MAKE) test ARGS=--fast

docs: .venv/ready  ## tables of the documents, from the results files beside them
	$(BIN)/python scripts/docs.py write

site: .venv/ready  ## the documents as pages that open from disk: site/index.html
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python -m properdocs build --strict --quiet
	@echo "Open this: site/index.html"

bench: .venv/ready  ## steps/s, images/s, memory, share of the matmul rate
	$(BIN)/python bench/models.py

clean:
	rm -rf .venv
