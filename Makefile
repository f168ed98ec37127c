# Two commands for a newcomer, each complete in itself:
#   make demo    sets everything up and runs the main job on images that it draws
#   make test    sets everything up and passes the tests
# and two that bring other programs to compare with:
#   make peers   the networks beside independent ones, with the same parameters (tests/peers)
#   make bench   speed beside other programs (benchmarks/speed.py); takes long
PYTHON ?= python3
BIN := .venv/bin
DEMO := demo
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check peers bench clean

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Overtile needs Python 3.11 or later: make PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing Overtile and what it needs into .venv (a minute or two) ..."
	$(BIN)/python $(PIP_INSTALL) --editable .
	touch $@

.venv/ready-dev: .venv/ready
	$(BIN)/python $(PIP_INSTALL) --editable '.[dev,zarr,onnx,openvino,distributed,encoders,geo,medical,itk,hdf5,tune,track]'
	touch $@

demo: .venv/ready
	rm -rf $(DEMO)
	$(BIN)/overtile sample  $(DEMO)/data --count 12
	$(BIN)/overtile check   $(DEMO)/data/images $(DEMO)/data/labels
	$(BIN)/overtile train   $(DEMO)/data/images $(DEMO)/data/labels --holdout 6:12 --minutes 1.5 -o $(DEMO)/cells.model
	$(BIN)/overtile predict $(DEMO)/cells.model $(DEMO)/data/images -o $(DEMO)/classes
	$(BIN)/overtile predict $(DEMO)/cells.model $(DEMO)/data/images -o $(DEMO)/objects --objects --overlay $(DEMO)/overlays
	$(BIN)/overtile evaluate $(DEMO)/cells.model $(DEMO)/data/images $(DEMO)/data/labels --only 6:12 --report $(DEMO)/report.html

test: .venv/ready-dev
	$(BIN)/python -m pytest -n 2 --cov --cov-report= -m "not slow" --ignore=tests/after --ignore=tests/peers
	$(BIN)/python -m pytest -q tests/after

check: .venv/ready-dev
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy

# The peers have an environment of their own, for they bring a hundred packages.
.venv-bench/ready: pyproject.toml constraints.txt
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python $(PIP_INSTALL) --editable '.[bench,encoders,openvino]'
	touch $@

peers: .venv-bench/ready
	.venv-bench/bin/python -m pytest -q tests/peers

bench: .venv-bench/ready
	.venv-bench/bin/python benchmarks/speed.py

clean:
	rm -rf .venv .venv-bench $(DEMO) build dist .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
