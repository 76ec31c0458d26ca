from __future__ import annotations

import gzip
import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.cli import (
    PATIENT,
    bundle,
    exported,
    fhirstore,
    refusals,
    written,
)

from fhirstore.commands.load import LoadProgress, LoadReport, load_all
from fhirstore.commands.load_files import LoadItem
from fhirstore.commands.load_targets import LoadResult


def test_loaded_resources_are_exported() -> None:
    observation = {
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "code": {"text": "weight"},
        "valueQuantity": {"value": 70.25, "unit": "kg"},
    }
    done = fhirstore("load", written("a.ndjson", PATIENT, observation))
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("2 resources loaded, ")
    assert exported() == {"Patient/p1": PATIENT, "Observation/o1": observation}


def test_folders_and_gzipped_files_are_loaded() -> None:
    Path("in/deep").mkdir(parents=True)
    written("in/a.json", PATIENT)
    written("in/deep/b.ndjson.gz", {**PATIENT, "id": "p2"}, {**PATIENT, "id": "p3"})
    Path("in/notes.txt").write_text("not to be loaded")
    assert fhirstore("load", "in").exit_code == 0
    assert sorted(exported()) == ["Patient/p1", "Patient/p2", "Patient/p3"]


def test_decimals_keep_their_digits() -> None:
    Path("a.ndjson").write_text(
        '{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.500}}\n'
    )
    assert fhirstore("load", "a.ndjson").exit_code == 0
    assert fhirstore("export", "out").exit_code == 0
    assert '"value":1.500' in Path("out/Observation.ndjson").read_text()


def test_a_resource_without_an_id_gets_one() -> None:
    fhirstore("load", written("a.json", {"resourceType": "Patient", "active": True}))
    (resource,) = exported().values()
    assert resource["id"]


def test_entries_of_a_collection_are_loaded_with_their_references() -> None:
    uuid = "urn:uuid:1c9f9a34-0a51-4d40-8b66-0d0f2b8e6a11"
    encounter = {
        "resourceType": "Encounter",
        "id": "e",
        "status": "planned",
        "class": {"code": "AMB"},
        "subject": {"reference": uuid},
    }
    patient = {"resourceType": "Patient", "active": True}
    done = fhirstore(
        "load", written("a.json", bundle("collection", {"resource": encounter}, {"fullUrl": uuid, "resource": patient}))
    )
    assert done.exit_code == 0, done.output
    found = exported()
    assert found["Encounter/e"]["subject"] == {"reference": "Patient/" + uuid.removeprefix("urn:uuid:")}
    assert f"Patient/{uuid.removeprefix('urn:uuid:')}" in found


def test_a_transaction_is_executed() -> None:
    fhirstore("load", written("p.ndjson", PATIENT))
    uuid = "urn:uuid:1c9f9a34-0a51-4d40-8b66-0d0f2b8e6a11"
    schedule = {"resourceType": "Schedule", "actor": [{"reference": "Patient?family=Durand"}]}
    slot = {
        "resourceType": "Slot",
        "schedule": {"reference": uuid},
        "status": "free",
        "start": "2030-01-01T09:00:00Z",
        "end": "2030-01-01T09:20:00Z",
    }
    both = bundle(
        "transaction",
        {"fullUrl": uuid, "resource": schedule, "request": {"method": "POST", "url": "Schedule"}},
        {"resource": slot, "request": {"method": "POST", "url": "Slot"}},
    )
    done = fhirstore("load", written("t.json", both))
    assert done.stdout.startswith("2 resources loaded"), done.output
    found = {r["resourceType"]: r for r in exported().values()}
    assert found["Schedule"]["actor"] == [{"reference": "Patient/p1"}]
    assert found["Slot"]["schedule"] == {"reference": f"Schedule/{found['Schedule']['id']}"}


def test_a_document_is_stored_whole() -> None:
    document = bundle("document", {"fullUrl": "http://example.org/Patient/p1", "resource": PATIENT})
    fhirstore("load", "--validation", "off", written("d.ndjson", {**document, "id": "d"}))
    assert list(exported()) == ["Bundle/d"]


def test_rejected_resources_are_listed_with_their_place_and_the_others_are_loaded() -> None:
    bad = {"resourceType": "Patient", "id": "bad", "colour": "green"}
    file = written("a.ndjson", PATIENT, bad, {**PATIENT, "id": "p2"})
    with open(file, "a") as more:
        more.write("{not JSON\n")
    done = fhirstore("load", file)
    assert done.exit_code == 1
    assert "2 resources loaded" in done.stdout
    assert "2 rejected, see load-errors.ndjson" in done.stdout
    first, second = refusals()
    assert (first["where"], first["resource"]) == ("a.ndjson:2", "Patient/bad")
    assert "colour" in first["issue"][0]["expression"][0] or "colour" in first["issue"][0]["diagnostics"]
    assert (second["where"], second["resource"]) == ("a.ndjson:4", None)
    assert sorted(exported()) == ["Patient/p1", "Patient/p2"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (bundle("collection", {"fullUrl": "http://example.org/1"}), "Bundle.entry[0] has no resource"),
        (bundle("history", {"resource": PATIENT}), "A history Bundle cannot be loaded"),
        (
            bundle(
                "transaction",
                {"resource": {"resourceType": "Patient", "x": 1}, "request": {"method": "POST", "url": "Patient"}},
            ),
            "x",
        ),
        (bundle("batch", {"request": {"method": "PUT", "url": "Patient/1"}}), "resource"),
    ],
)
def test_bundles_that_cannot_be_loaded_are_rejected(content: dict[str, Any], expected: str) -> None:
    assert fhirstore("load", written("b.json", content)).exit_code == 1
    assert expected in json.dumps(refusals())


def test_a_broken_gzip_file_is_rejected() -> None:
    Path("a.ndjson.gz").write_bytes(gzip.compress(json.dumps(PATIENT).encode() * 1000)[:60])
    assert fhirstore("load", "a.ndjson.gz").exit_code == 1
    assert "Cannot read the file" in refusals()[0]["issue"][0]["diagnostics"]


def test_a_load_with_a_state_file_resumes() -> None:
    file = written("a.ndjson", PATIENT, {**PATIENT, "id": "p2"})
    assert fhirstore("load", "--state", "s.json", file).stdout.startswith("2 resources loaded")
    with open(file, "a") as more:
        more.write(json.dumps({**PATIENT, "id": "p3"}) + "\n")
    assert fhirstore("load", "--state", "s.json", file).stdout.startswith("1 resources loaded")
    assert len(exported()) == 3


class Interrupted:
    """A target that is interrupted after a number of items."""

    def __init__(self, after: int):
        self.after = after

    def put(self, items: Iterable[LoadItem]) -> Iterator[LoadResult]:
        for item in itertools.islice(items, self.after):
            yield LoadResult(item, 1)
        raise KeyboardInterrupt

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("after", "done"), [(2, {}), (3, {"a.ndjson": 1}), (4, {"a.ndjson": 2})])
def test_an_interrupted_load_records_the_lines_that_are_completely_loaded(after: int, done: dict[str, int]) -> None:
    many = bundle("collection", *({"resource": {**PATIENT, "id": f"p{n}"}} for n in range(3)))
    file = Path(written("a.ndjson", many, PATIENT))
    report = LoadReport("errors.ndjson", file.stat().st_size, Console())
    with pytest.raises(KeyboardInterrupt):
        load_all(Interrupted(after), [file], LoadProgress("s.json", "here"), report, 100)
    assert LoadProgress("s.json", "here").done == done


def test_a_state_file_of_another_target_is_rejected() -> None:
    file = written("a.ndjson", PATIENT)
    fhirstore("load", "--state", "s.json", file)
    done = fhirstore("load", "--state", "s.json", "--store", "sqlite:///other.db", file)
    assert done.exit_code == 2
    assert "sqlite:///./fhirstore.db" in done.stderr


def test_a_file_that_is_not_a_state_file_is_rejected() -> None:
    Path("s.json").write_text("[]")
    assert "not a state file of a load" in fhirstore("load", "--state", "s.json", written("a.ndjson")).stderr


def test_a_store_that_cannot_be_written_ends_the_command_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fhirstore("load", written("a.ndjson", PATIENT))
    monkeypatch.setenv("FHIRSTORE_WRITE_TIMEOUT_S", "0.1")
    with closing(sqlite3.connect("fhirstore.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        done = fhirstore("load", written("b.ndjson", PATIENT | {"id": "p2"}))
    assert (done.exit_code, done.output.count("\n")) == (2, 1), done.output
    assert done.output.startswith("Error: store: ")
    assert "Patient/p2" not in exported()


def test_export_writes_only_the_requested_types() -> None:
    fhirstore("load", written("a.ndjson", PATIENT, {"resourceType": "Practitioner", "id": "x"}))
    assert list(exported("--type", "Practitioner")) == ["Practitioner/x"]
    assert fhirstore("export", "out", "--type", "Practicioner").exit_code == 2


def test_export_leaves_no_unfinished_file() -> None:
    fhirstore("load", written("a.ndjson", PATIENT))
    fhirstore("export", "out")
    assert [p.name for p in Path("out").iterdir()] == ["Patient.ndjson"]


def test_resources_with_broken_references_are_loaded_and_listed() -> None:
    observation = {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}}
    observation["subject"] = {"reference": "Patient/p9"}
    Path("o.ndjson").write_text(json.dumps(observation) + "\n" + json.dumps(PATIENT) + "\n")
    Path("settings.json").write_text(json.dumps({"referential_integrity": "warn"}))
    done = fhirstore("load", "--store", "sqlite:///t.db", "--config", "settings.json", "o.ndjson")
    assert done.exit_code == 0, done.output
    assert "2 resources loaded" in done.stdout
    assert "0 rejected, 1 with warnings, see load-errors.ndjson" in done.stdout
    [line] = Path("load-errors.ndjson").read_text().splitlines()
    found = json.loads(line)
    assert (found["resource"], found["issue"][0]["severity"]) == ("Observation/o", "warning")
    assert "Patient/p9" in found["issue"][0]["diagnostics"]
    Path("settings.json").write_text(json.dumps({"referential_integrity": "enforce"}))
    done = fhirstore("load", "--store", "sqlite:///u.db", "--config", "settings.json", "o.ndjson")
    assert (done.exit_code, "1 rejected" in done.stdout) == (1, True)
