"""Arguments and errors of `fhirstore migrate`. tests/contract/test_migrate.py tests the copy on every engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli import PATIENT, exported, fhirstore, package, written


def test_loaded_resources_are_in_the_copy() -> None:
    fhirstore("load", written("a.ndjson", PATIENT))

    done = fhirstore("migrate", "--from", "sqlite:///fhirstore.db", "--to", "sqlite:///copy.db")

    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("1 versions copied, ")
    assert exported("--store", "sqlite:///copy.db") == {"Patient/p1": PATIENT}


def test_a_copy_made_with_a_plugin_needs_no_reindex() -> None:
    fhirstore("load", written("a.ndjson", {**PATIENT, "maritalStatus": {"text": "Rennes"}}))
    folder = package("birthplace")

    done = fhirstore("migrate", "--from", "sqlite:///fhirstore.db", "--to", "sqlite:///copy.db", "--plugin", folder)

    assert done.exit_code == 0, done.output
    assert "reindex" not in done.stdout
    assert "Nothing is pending" in fhirstore("reindex", "--store", "sqlite:///copy.db", "--plugin", folder).stdout


def test_an_empty_store_can_be_copied() -> None:
    fhirstore("load", written("a.ndjson"))

    done = fhirstore("migrate", "--from", "sqlite:///fhirstore.db", "--to", "sqlite:///copy.db")

    assert done.exit_code == 0, done.output
    assert Path("copy.db").exists()


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("sqlite:///none.db", "sqlite:///copy.db", "no store at sqlite:///none.db"),
        ("sqlite:///none/none.db", "sqlite:///copy.db", "no store at"),
        ("sqlite:///notes.txt", "sqlite:///copy.db", "not a fhirstore database"),
        ("postgres://x", "sqlite:///copy.db", "no engine serves"),
        ("sqlite:///fhirstore.db", "postgres://x", "no engine serves"),
        ("sqlite:///fhirstore.db", "sqlite:///notes.txt", "not a fhirstore database"),
        ("sqlite:///fhirstore.db", "sqlite:///none/copy.db", "does not exist"),
        ("sqlite:///fhirstore.db", "sqlite:///fhirstore.db", "contains 1 versions"),
        ("sqlite:///fhirstore.db", "mongodb://u:secret@127.0.0.1:1/x?serverSelectionTimeoutMS=50", "cannot be reached"),
        ("mongodb://u:secret@127.0.0.1:1/x?serverSelectionTimeoutMS=50", "sqlite:///copy.db", "cannot be reached"),
        ("mongodb://u:secret@", "sqlite:///copy.db", "invalid MongoDB URL"),
    ],
)
def test_an_impossible_migration_prints_one_line_and_changes_nothing(source: str, target: str, expected: str) -> None:
    fhirstore("load", written("a.ndjson", PATIENT))
    Path("notes.txt").write_text("no database")
    before = {path: path.read_bytes() for path in Path().iterdir() if path.suffix in (".db", ".txt")}

    done = fhirstore("migrate", "--from", source, "--to", target)

    assert done.exit_code == 2
    assert expected in done.stderr
    assert "secret" not in done.output
    assert len(done.stderr.splitlines()) == 1
    assert {path: path.read_bytes() for path in Path().iterdir() if path.suffix in (".db", ".txt")} == before


def test_both_stores_are_required() -> None:
    assert fhirstore("migrate", "--from", "sqlite:///a.db").exit_code == 2
