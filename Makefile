# Everything runs in .venv, made once from pyproject.toml and constraints.txt; see .ci/venv.py.
PYTHON ?= python3
ARGS ?=
PYTEST_ARGS ?=

BIN := .venv/bin
PROTO_PYTHON := .venv-proto/bin/python
PEERS_PYTHON := .venv-peers/bin/python
BENCH_PYTHON := .venv-bench/bin/python

# Another project's paths would be imported before ours.
unexport PYTHONPATH
unexport PYTHONHOME
# The tests start many processes; each would compile what it imports anew.
unexport PYTHONDONTWRITEBYTECODE
# The test of the generated code generates it again with this Python.
export BACKSWEEP_PROTO_PYTHON := $(CURDIR)/$(PROTO_PYTHON)

.DEFAULT_GOAL := help
.PHONY: help install demo demo-fault test test-all fault-report peers bench bench-smoke lint proto clean venv venv-proto venv-peers venv-bench python

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

install: venv ## backsweep with everything it can use, into .venv

demo: venv ## a real model through a real server: make demo ARGS="--executor local"
	@$(BIN)/backsweep demo $(ARGS)

demo-fault: venv ## a worker of the demo killed in front of you, and what becomes of the answer
	@$(BIN)/backsweep demo --fault

test: lint venv-proto ## lint and every test that is not slow, four minutes on two cores
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" $(PYTEST_ARGS)

test-all: lint venv-proto ## lint and every test
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

fault-report: venv ## what is done to a running job and what becomes of it, six minutes: make fault-report ARGS="node GCS"
	@cd tests && ../$(BIN)/python -m fault $(ARGS)

peers: venv-peers ## ops and zoo against JAX, the check beside JAX's, PyTorch's, SciPy's, 15 minutes each: make peers ARGS="erf", ARGS=checkers
	@cd tests && ../$(PEERS_PYTHON) -m peers $(ARGS)

bench: venv-bench ## CPU time beside JAX, PyTorch, autograd, CasADi, some minutes: make bench ARGS="rosenbrock --tools backsweep,jax --rounds 9"
	@cd tests && ../$(BENCH_PYTHON) -m bench $(ARGS)

bench-smoke: venv ## every workload of the benchmark at a tiny size, for its answers, not its times
	@$(BIN)/python -m pytest -q tests/bench $(PYTEST_ARGS)

lint: venv ## ruff, mypy, the import contracts, buf
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@out=$$($(BIN)/lint-imports 2>&1) || { echo "$$out"; exit 1; }
	@cd proto && ../$(BIN)/buf lint

proto: venv-proto ## generate client/backsweep/v1 from proto/
	@$(PROTO_PYTHON) -m grpc_tools.protoc -I proto --python_out=client --pyi_out=client --grpc_python_out=client proto/backsweep/v1/*.proto

clean: ## remove the environments and everything built
	@rm -rf .venv .venv-proto .venv-peers .venv-bench .venv.lock .venv-proto.lock .venv-peers.lock .venv-bench.lock dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	@find engine client server tests -name __pycache__ -type d -prune -exec rm -rf {} +

venv: python
	@$(PYTHON) .ci/venv.py .venv backsweep -c constraints.txt -e ".[server,ray,native,dev]"

# protoc 1.76 writes code for protobuf 6.31 to 7, but itself wants protobuf < 7: hence an environment of its own.
venv-proto: python
	@$(PYTHON) .ci/venv.py .venv-proto protoc grpcio-tools==1.76.0 "setuptools<81"

# JAX is large and no part of backsweep: whoever does not ask for this judge does not install it. PyTorch's sympy wants mpmath < 1.4, the tests want 1.4.
venv-peers: python
	@mkdir -p build && grep -v '^mpmath==' constraints.txt >build/constraints-bench.txt
	@$(PYTHON) .ci/venv.py .venv-peers "backsweep and its peers" -c build/constraints-bench.txt -e ".[peers]"

# Peers are installed one by one: what the registry refuses is absent from the table. Of mpmath as above.
venv-bench: python
	@mkdir -p build && grep -v '^mpmath==' constraints.txt >build/constraints-bench.txt
	@$(PYTHON) .ci/venv.py .venv-bench "backsweep and its peers" -c build/constraints-bench.txt -e ".[native]" --each bench

python:
	@command -v $(PYTHON) >/dev/null || { echo "backsweep: no $(PYTHON) here; install Python 3.11 or newer, or: make PYTHON=/path/to/python ..." >&2; exit 1; }
