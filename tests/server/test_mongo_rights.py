"""A user with the documented rights suffices: the stand-in refuses what the roles of docs/mongodb.md do not grant.

That it wants for each command what MongoDB does is read in MongoDB's manual (support/replica/rights.py), not tried out:
a real server decides that (docs/mongodb.md, "Limits of the tests")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cli import bundle, fhirstore, written
from support.mongo import Replica
from support.rights import granted, user

SITE = "site"
Start = Callable[..., str]


PATIENT = {"resourceType": "Patient", "id": "p", "gender": "male"}
PATIENTS = [PATIENT | {"id": f"p{n}"} for n in range(120)]


def statement(file: str, **served: Any) -> str:
    """A file with a statement that serves Patient."""
    interaction = [{"code": code} for code in ("read", "update", "delete", "search-type")]
    patient = {"type": "Patient", "interaction": interaction, "updateCreate": True, **served}
    rest = {"mode": "server", "resource": [patient], "interaction": [{"code": "transaction"}]}
    head = {"resourceType": "CapabilityStatement", "status": "active", "date": "2026-11-26", "kind": "instance"}
    return written(file, head | {"fhirVersion": "4.0.1", "format": ["json"], "rest": [rest]})


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """start(*options): the URL of the database `site` on a server with these options."""
    monkeypatch.chdir(tmp_path)
    made: list[Replica] = []

    def start(*options: str) -> str:
        made.append(Replica(tmp_path / f"journal{len(made)}", *options))
        return made[-1].named(SITE)

    yield start
    for server in made:
        server.close()


def test_the_role_of_servers_suffices_for_a_site(start: Start) -> None:
    url = start(*user("fhirstoreServer", database=SITE))
    versions = [
        written(f"{gender}.ndjson", *(p | {"gender": gender} for p in PATIENTS)) for gender in ("male", "female")
    ]
    for command in (
        *(("load", "--store", url, file) for file in versions),
        ("reindex", "--store", url),
        ("indexes", "--store", url),
        ("export", "out", "--store", url),
        ("migrate", "--from", url, "--to", "sqlite:///copy.db"),
    ):
        done = fhirstore(*command)
        assert done.exit_code == 0, done.output
    assert len(Path("out/Patient.ndjson").read_text().splitlines()) == 120


def test_a_migration_into_the_database_needs_no_more(start: Start) -> None:
    small = ("--capability", statement("small.json"))
    assert fhirstore("load", "--store", "sqlite:///old.db", *small, written("p.ndjson", *PATIENTS)).exit_code == 0
    url = start(*user("fhirstoreServer", database=SITE))
    done = fhirstore("migrate", "--from", "sqlite:///old.db", "--to", url, *small)
    assert done.exit_code == 0, done.output


def test_what_only_the_other_role_grants_is_refused_by_name(start: Start) -> None:
    url = start(*user("fhirstoreServer", database=SITE))
    search = [
        {"name": "gender", "type": "token", "definition": "http://hl7.org/fhir/SearchParameter/individual-gender"}
    ]
    with_one, without = statement("one.json", searchParam=search), statement("none.json")
    assert fhirstore("load", "--store", url, "--capability", with_one, written("p.json", PATIENT)).exit_code == 0
    done = fhirstore("indexes", "--store", url, "--drop-unused", "--capability", without)
    assert (done.exit_code, "not authorized" in done.output) == (2, True), done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize("right", sorted(granted()["fhirstoreServer"]))
def test_none_of_its_rights_can_be_missing(start: Start, right: str) -> None:
    rights = ",".join(sorted(granted()["fhirstoreServer"] - {right}))
    url, small = start("--grant", f"fhirstore:{SITE}:{rights}"), ("--capability", statement("small.json"))
    gone = bundle("transaction", {"request": {"method": "DELETE", "url": "Patient/p"}})
    files = (written("1.json", PATIENT), written("2.json", PATIENT | {"gender": "female"}), written("3.json", gone))
    commands = [*(("load", "--store", url, *small, file) for file in files)]
    commands.append(("migrate", "--from", url, "--to", "sqlite:///copy.db", *small))
    said = [fhirstore(*command).output for command in commands]
    assert any("not authorized" in one for one in said), said
    assert all("Traceback" not in one for one in said)
