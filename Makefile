# make demo | test | test-mongodb | test-deep | lint | messages | bench | docs-check | constraints | clean
# All of them make the virtual environment on demand (once; again when the files it depends on change).

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

test: $(READY)
	$(BIN)/python -m pytest -n auto

# The MongoDB engine alone, against MONGODB_URI or else the stand-ins (one of which needs Python 3.13)
test-mongodb: $(READY)
	$(BIN)/python -m pytest tests/contract tests/store/mongo tests/server/test_mongo.py tests/search/test_model.py

# The generated tests in full: 10 000 searches on SQLite (conditions, and as many query strings) and 1 000 on MongoDB,
# 60 000 requests that are wrong somewhere; about a quarter of an hour. `make test` runs a part of them.
test-deep: $(READY)
	STORE_CASES=10000 SEARCH_CASES=10000 FUZZ_CASES=60000 $(BIN)/python -m pytest -o timeout=3600 \
		tests/contract/test_model.py tests/search/test_model.py tests/http/test_fuzz.py
	RELAY_APPOINTMENTS=1000 $(BIN)/python -m pytest plugins/sas/tests/test_relay_faults.py

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
