# make demo | test | test-mongodb | test-deep | lint | messages | bench | docs-check | constraints | clean
# Every target creates the virtual environment if needed, and creates it again when the files it depends on change.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= mongo,dev
PORT ?= 8080
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-mongodb test-deep lint messages docs-check bench constraints clean

help:
	@sed -n 1,2p Makefile

$(READY): pyproject.toml setup.py constraints.txt plugins/sas/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]' -e plugins/sas
	@touch $(READY)

# A server with the SAS plugin and demo data on http://127.0.0.1:$(PORT)/fhir
demo: $(READY)
	$(BIN)/fhirstore demo --serve --plugin sas --store sqlite:///./demo.db --host 127.0.0.1 --port $(PORT)

# Tests start many processes, which start faster from compiled modules.
unexport PYTHONDONTWRITEBYTECODE

# Each worker runs consecutive tests, which share servers. A worker that is finished takes tests from the others.
PYTEST = $(BIN)/python -m pytest -n auto --dist worksteal

test: $(READY)
	$(PYTEST)

# Only the MongoDB engine, against MONGODB_URI or else the stand-ins (one of which needs Python 3.13)
test-mongodb: $(READY)
	$(BIN)/python -m pytest tests/contract tests/store tests/server/test_mongo.py tests/search/test_model.py

# Generated tests with all of their cases (see tests/support/sizes.py): 10 000 searches by condition and as many by query
# string, 60 000 damaged writes, 100 000 requests to all routes, 2 000 relayed appointments. `make test` runs a part.
DEEP_TESTS = tests/contract/test_model.py tests/http/test_fuzz.py tests/http/test_any_request.py \
	tests/search/test_model.py tests/server/test_crash.py tests/server/test_malformed_http.py \
	tests/store/test_migrate.py tests/store/mongo/test_plans.py tests/store/sqlite/test_plans.py \
	tests/validation/test_judges.py tests/validation/test_robustness.py plugins/sas/tests/test_relay.py \
	plugins/sas/tests/test_relay_faults.py

test-deep: $(READY)
	TEST_DEEP=1 $(PYTEST) -o timeout=3600 $(DEEP_TESTS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Adds the messages of the code to the catalogues (*.po) and drops those that are no longer used
messages: $(READY)
	$(BIN)/python tools/update_messages.py

docs-check: $(READY)
	$(BIN)/python tools/check_docs.py

bench: $(READY)
	$(BIN)/python benchmarks/run_floor.py

constraints:
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[mongo,dev,judges]' -e plugins/sas
	(sed -n 1p constraints.txt; $(BIN)/python -m pip freeze --exclude-editable) > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf $(VENV) build dist src/*.egg-info plugins/*/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
