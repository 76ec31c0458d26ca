"""Where a statement is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhirstore.capability.build import read_statement
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load
from fhirstore.errors import StartupError

Make = Callable[..., Any]


def test_a_statement_is_read_from_a_file(tmp_path: Path, statement: Make) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(statement({"type": "Slot"})))
    assert read_statement(str(file), Catalog(load())) == (statement({"type": "Slot"}), str(file))


def test_a_statement_that_comes_with_fhirstore_is_found_by_name() -> None:
    found, where = read_statement("sas-editor", Catalog(load()))
    assert (found["id"], where) == ("sas-editor", "capability/sas-editor.json")


@pytest.mark.parametrize("source", ["http://s/1", "http://s/1|2.0", "mine", "Mine"])
def test_a_statement_of_a_package_is_found_by_url_id_and_name(statement: Make, package: Make, source: str) -> None:
    made = statement({"type": "Slot"}) | {"url": "http://s/1", "version": "2.0", "id": "mine", "name": "Mine"}
    found, where = read_statement(source, Catalog(load(), [package(made)]))
    assert found == made
    assert where.endswith("0.json")


def test_an_unknown_statement_lists_the_known_ones(statement: Make, package: Make) -> None:
    catalog = Catalog(load(), [package(statement() | {"url": "http://s/1"})])
    with pytest.raises(StartupError, match=r"nope: .*known: r4-full, sas-editor, sas-platform, http://s/1.*--plugin"):
        read_statement("nope", catalog)


def test_a_file_that_is_missing_or_not_json_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"resourceType": ')
    with pytest.raises(StartupError, match=r"broken\.json: the file is not JSON: .*line 1 column"):
        read_statement(str(broken), Catalog(load()))
    with pytest.raises(StartupError, match=r"none\.json: the file cannot be read: No such file"):
        read_statement(str(tmp_path / "none.json"), Catalog(load()))
    broken.write_text("[]")
    with pytest.raises(StartupError, match=r"a JSON object is required, found list"):
        read_statement(str(broken), Catalog(load()))
