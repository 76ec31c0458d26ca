from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fhirstore.errors import FhirError
from fhirstore.model.conditions import Token
from fhirstore.search.results import run


def resource(ref: str, **references: str | list[str]) -> dict[str, Any]:
    """resource("Slot/a", schedule="Schedule/s"): a resource with references in these elements."""
    type, _, id = ref.partition("/")
    shown = {
        name: [{"reference": one} for one in to] if isinstance(to, list) else {"reference": to}
        for name, to in references.items()
    }
    return {"resourceType": type, "id": id, **shown}


@pytest.fixture
def world(server: Any) -> Any:
    server.put(
        resource("Organization/o1"),
        resource("Organization/o2", partOf="Organization/o1"),
        resource("Organization/o3", partOf="Organization/o2"),
        resource("Location/l1", managingOrganization="Organization/o1"),
        resource("Practitioner/p1"),
        resource("PractitionerRole/r1", practitioner="Practitioner/p1", organization="Organization/o1"),
        resource("Schedule/s1", actor=["Practitioner/p1", "PractitionerRole/r1/_history/1", "Location/l1", "#x"]),
        resource("Schedule/s2", actor=["Practitioner/p1", "Practitioner/gone", "http://else.example/Practitioner/9"]),
        resource("Slot/a", schedule="Schedule/s1") | {"status": "free"},
        resource("Slot/b", schedule="Schedule/s1") | {"status": "busy"},
        resource("Slot/c", schedule="Schedule/s2") | {"status": "free"},
        resource("Patient/1", generalPractitioner=["Practitioner/p1"], managingOrganization="Organization/o1"),
        resource("Observation/x", subject="Patient/1", performer=["Practitioner/p1", "Patient/1"]),
    )
    return server


@pytest.mark.parametrize(
    ("type", "query", "refs"),
    [
        ("Slot", "_include=Slot:schedule", ["Schedule/s1", "Schedule/s2"]),
        ("Slot", "_id=a&_include=Slot:schedule", ["Schedule/s1"]),
        (
            "Slot",
            "_include=Slot:schedule&_include:iterate=Schedule:actor",
            ["Location/l1", "Practitioner/p1", "PractitionerRole/r1", "Schedule/s1", "Schedule/s2"],
        ),
        ("Slot", "_include=Slot:schedule&_include=Schedule:actor", ["Schedule/s1", "Schedule/s2"]),
        ("Schedule", "_include=Schedule:actor:Location", ["Location/l1"]),
        (
            "Schedule",
            "_include=Schedule:actor:Location&_include:iterate=Location:organization",
            ["Location/l1", "Organization/o1"],
        ),
        ("Schedule", "_revinclude=Slot:schedule", ["Slot/a", "Slot/b", "Slot/c"]),
        ("Schedule", "_id=s2&_revinclude=Slot:schedule", ["Slot/c"]),
        ("Organization", "_id=o3&_include=Organization:partof", ["Organization/o2"]),
        ("Organization", "_id=o3&_include:iterate=Organization:partof", ["Organization/o1", "Organization/o2"]),
        ("Organization", "_id=o1&_revinclude:iterate=Organization:partof", ["Organization/o2", "Organization/o3"]),
        ("Organization", "_include=Organization:partof", []),  # they are matches already
        ("Patient", "_include=Patient:*", ["Organization/o1", "Practitioner/p1"]),
        ("Patient", "_include=*", ["Organization/o1", "Practitioner/p1"]),
        ("Patient", "_include=Patient:general-practitioner:Organization", []),
        ("Patient", "_revinclude=Observation:*", ["Observation/x"]),
        ("Patient", "_revinclude=*", ["Observation/x"]),
        ("Patient", "_revinclude=Observation:subject:Patient", ["Observation/x"]),
        ("Practitioner", "_revinclude=Observation:performer:Patient", []),
        ("Patient", "_id=none&_revinclude=Observation:subject", []),
    ],
)
def test_includes(world: Any, type: str, query: str, refs: list[str]) -> None:
    assert world.includes(type, query) == refs


def test_a_circle_of_references_ends(world: Any) -> None:
    world.put(resource("Organization/o1", partOf="Organization/o3"))
    assert world.includes("Organization", "_id=o1&_include:iterate=Organization:partof") == [
        "Organization/o2",
        "Organization/o3",
    ]


def test_deleted_resources_are_not_included(world: Any) -> None:
    world.delete("Practitioner", "p1")
    assert world.includes("Patient", "_include=Patient:general-practitioner") == []


def test_includes_are_those_of_the_page(world: Any) -> None:
    found = world.search("Slot", "_sort=-_id&_count=1&_include=Slot:schedule")
    assert [s.ref for s in found.matches + found.includes] == ["Slot/c", "Schedule/s2"]


def test_a_reverse_include_may_be_restricted(world: Any, settings: Any) -> None:
    query = world.query("Schedule", "_revinclude=Slot:schedule")
    free = replace(query, includes=(replace(query.includes[0], where=Token("status", None, "free")),))
    found = run(world.store, world.registry, free, settings, b"")
    assert sorted(s.ref for s in found.includes) == ["Slot/a", "Slot/c"]


@pytest.mark.parametrize(
    ("query", "fits"),
    [("_include=Slot:schedule", 2), ("_include=Slot:schedule&_include:iterate=Schedule:actor", 5)],
)
def test_more_includes_than_allowed_are_refused_with_the_setting(
    world: Any, settings: Any, query: str, fits: int
) -> None:
    assert len(world.search("Slot", query, settings=replace(settings, max_includes=fits)).includes) == fits
    with pytest.raises(FhirError, match="max_includes") as refused:
        world.search("Slot", query, settings=replace(settings, max_includes=fits - 1))
    assert refused.value.status == 422
    assert refused.value.issues[0].code == "too-costly"


def test_more_reverse_includes_than_allowed_are_refused(world: Any, settings: Any) -> None:
    assert (
        len(world.search("Schedule", "_revinclude=Slot:schedule", settings=replace(settings, max_includes=3)).includes)
        == 3
    )
    with pytest.raises(FhirError, match="max_includes"):
        world.search("Schedule", "_revinclude=Slot:schedule", settings=replace(settings, max_includes=2))
