# Each target does all its own set-up, in .venv; it needs Python 3.11 or newer and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := $(BIN)/uv
WHEELHOUSE := $(VENV)/wheelhouse
LOWEST := $(VENV)/lowest
EXPORT := $(VENV)/export
NODE := $(VENV)/node
PRESIDIO := $(VENV)/presidio
MATRIX := $(VENV)/matrix
NEWEST_PYTHON ?= python3.13
ADAPTER_TESTS := tests/contract tests/langchain tests/test_django.py tests/test_flask.py tests/load

unexport PYTHONDONTWRITEBYTECODE # the tests start hundreds of processes, and each would compile its modules anew

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-lowest test-matrix test-export test-presidio test-cuda check bench train lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## route six real calls in three API formats
	$(BIN)/python examples/demo/demo.py

serve: $(READY) ## serve the demo's configuration on http://127.0.0.1:12000
	$(BIN)/plano-asgi serve --config examples/demo/plano.yaml

test: check $(WHEELHOUSE)/.filled $(NODE)/.ready $(VENV)/.system ## all checks and all tests
	$(BIN)/pytest -n 2 --dist worksteal

test-lowest: $(LOWEST)/.ready $(NODE)/.ready $(VENV)/.system ## the tests against the oldest dependencies that pyproject.toml allows
	$(LOWEST)/bin/pytest -n 2 --dist worksteal --ignore tests/test_packaging.py

test-matrix: $(MATRIX)-oldest/.ready $(MATRIX)-newest/.ready ## the adapters with the oldest and the newest Django, Flask and LangChain; NEWEST_PYTHON is 3.12 or newer
	$(MATRIX)-oldest/bin/pytest -n 2 $(ADAPTER_TESTS)
	$(MATRIX)-newest/bin/pytest -n 2 $(ADAPTER_TESTS)

test-export: $(EXPORT)/.ready ## the tests with PyTorch and a real model of 135M parameters: of training, plano-asgi export, examples/local_llm, and LangChain's own
	$(EXPORT)/bin/pytest tests/export tests/train tests/langchain/local

test-presidio: $(PRESIDIO)/.ready ## the guardrail presidio with Presidio itself and a small model of spaCy
	$(PRESIDIO)/bin/pytest --confcutdir tests/presidio tests/presidio

test-cuda: ## the tests that need a GPU, with the Python that has onnxruntime-gpu: make test-cuda PYTHON=python3
	$(PYTHON) -m pytest tests/cuda

check: $(READY) ## format, lint, types, the ladder of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/interrogate tests

bench: $(READY) ## the exam of the router, speed and memory
	$(BIN)/python -m benchmarks.routing_quality
	$(BIN)/python benchmarks/latency.py
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.gateway
	$(BIN)/python -m benchmarks.decision --random arch_router --precision int8

train: $(EXPORT)/.ready ## train the embedded router: make train DATASETS=folder ENCODER=folder
	$(EXPORT)/bin/python -m plano_asgi.lab.train --datasets $(DATASETS) --encoder $(ENCODER)

lock: $(READY) ## resolve the locked requirements anew
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --extra cpu --extra compression pyproject.toml -o requirements/runtime.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --extra cpu --extra compression --group dev pyproject.toml -c requirements/runtime.txt -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --extra cpu --extra compression --extra django --extra flask --extra langchain pyproject.toml -c requirements/dev.txt -o requirements/adapters.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --extra cpu --extra compression --group hosts --resolution lowest-direct pyproject.toml -o requirements/lowest.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --extra cpu --extra export --group export-tests pyproject.toml --override requirements/no-cuda.txt -c requirements/torch.txt --no-emit-package torch -o requirements/export.txt
	$(BIN)/npm update --prefix requirements/node --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund --no-update-notifier --loglevel error >/dev/null
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --extra presidio --group presidio-tests pyproject.toml -o requirements/presidio.txt

clean: ## remove everything that the other targets made
	rm -rf $(VENV) dist build .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(READY): pyproject.toml requirements/dev.txt
	@echo "setting up $(VENV), once"
	$(PYTHON) -m venv $(VENV)
	sed -n '/^uv==/,/[^\\]$$/p' requirements/dev.txt >$(VENV)/uv.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	$(UV) pip install --quiet --python $(VENV) --require-hashes -r requirements/dev.txt
	$(UV) pip install --quiet --python $(VENV) --no-deps --no-build-isolation --editable .
	touch $@

$(LOWEST)/.ready: $(READY) requirements/lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/lowest.txt
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(MATRIX)-oldest/.ready: requirements/dev.txt requirements/frameworks-oldest.txt
	$(PYTHON) -m venv $(MATRIX)-oldest
	$(MATRIX)-oldest/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(MATRIX)-oldest/bin/pip install --quiet --disable-pip-version-check -r requirements/frameworks-oldest.txt
	$(MATRIX)-oldest/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(MATRIX)-newest/.ready: requirements/dev.txt
	$(NEWEST_PYTHON) -m venv $(MATRIX)-newest
	$(MATRIX)-newest/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(MATRIX)-newest/bin/pip install --quiet --disable-pip-version-check --upgrade django flask djangorestframework django-ninja a2wsgi
	$(MATRIX)-newest/bin/pip install --quiet --disable-pip-version-check --upgrade --no-deps langchain langchain-core
	$(MATRIX)-newest/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(EXPORT)/.ready: $(READY) requirements/export.txt requirements/torch.txt requirements/test-model.txt
	@echo "setting up $(EXPORT), once"
	$(PYTHON) -m venv $(EXPORT)
	$(UV) pip install --quiet --python $(EXPORT) --require-hashes --no-deps -r requirements/export.txt
	$(EXPORT)/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-compile -r requirements/torch.txt -r requirements/test-model.txt
	$(UV) pip install --quiet --python $(EXPORT) --no-deps --no-build-isolation --editable .
	touch $@

$(NODE)/.ready: $(READY) requirements/node/package.json requirements/node/package-lock.json
	mkdir -p $(NODE)
	cp requirements/node/package.json requirements/node/package-lock.json $(NODE)
	$(BIN)/npm ci --prefix $(NODE) --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel error >/dev/null
	touch $@

$(PRESIDIO)/.ready: requirements/presidio.txt
	@echo "setting up $(PRESIDIO), once"
	$(PYTHON) -m venv $(PRESIDIO)
	$(PRESIDIO)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/presidio.txt
	$(PRESIDIO)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.system: $(READY)
	@test -n "$$(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null || command -v initdb)" || ./.ci/system-packages postgresql
	@for tool in redis-server chromium curl; do command -v $$tool >/dev/null || ./.ci/system-packages $$tool || exit 1; done
	touch $@

$(WHEELHOUSE)/.filled: $(READY) requirements/adapters.txt
	$(BIN)/pip download --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/adapters.txt -d $(WHEELHOUSE)
	touch $@
