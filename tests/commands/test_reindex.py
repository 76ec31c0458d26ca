from __future__ import annotations

from support.cli import (
    PACKAGE,
    PATIENT,
    fhirstore,
    package,
    written,
)


def test_reindex_has_nothing_to_do_on_a_store_of_the_same_schema() -> None:
    fhirstore("load", written("a.ndjson", PATIENT))
    assert fhirstore("reindex").stdout == "Nothing is pending: every search parameter is indexed.\n"


def test_reindex_indexes_what_a_new_plugin_asks_for() -> None:
    fhirstore("load", written("a.ndjson", {**PATIENT, "maritalStatus": {"text": "Rennes"}}))
    folder = package("birthplace")
    statement = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "date": "2026-01-01",
        "rest": [
            {
                "mode": "server",
                "resource": [
                    {
                        "type": "Patient",
                        "interaction": [{"code": "read"}, {"code": "create"}, {"code": "search-type"}],
                        "searchParam": [
                            {
                                "name": "birth-city",
                                "definition": PACKAGE["SearchParameter-birth-city.json"]["url"],
                                "type": "string",
                            }
                        ],
                    }
                ],
            }
        ],
    }
    options = ("--plugin", folder, "--capability", written("statement.json", statement))
    done = fhirstore("reindex", *options)
    assert done.exit_code == 0, done.output
    assert "Patient.birth-city" in done.stdout
    assert "1 resources indexed" in done.stdout
    assert "Nothing is pending" in fhirstore("reindex", *options).stdout
