"""The 24 classic faults, one table: each is caught, at its exact place and nowhere else, by the rules and by HTTP.

What the base specification forbids, and what only the profile of `test_profile_faults` does.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from profiling import P, catalog
from support.api import Api, Template
from test_profile_faults import DEFINITIONS, FAULTS, GOOD, put

from fhirstore.model.profiles import ProfileRequirement
from fhirstore.validation.validator import ResourceValidator

Json = dict[str, Any]
Change = Callable[[Json], Any]

UNKNOWN = "http://example.org/StructureDefinition/unheard-of"
UUID = "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"


def of_profile(name: str) -> tuple[Change, str, str]:
    return FAULTS[name]


def both_values(resource: Json) -> None:
    resource |= {"deceasedBoolean": False, "deceasedDateTime": "2026-01-01"}


def in_circle(resource: Json) -> None:
    """Two contained resources refer to each other, and nothing else to them."""
    resource["contained"] += [
        {"resourceType": "Organization", "id": "a", "name": "A", "partOf": {"reference": "#b"}},
        {"resourceType": "Organization", "id": "b", "name": "B", "partOf": {"reference": "#a"}},
    ]


def bundled(*faults: Change, **urls: str) -> Change:
    """A Bundle of two sound patients, the second of which is changed; urls: fullUrl of both."""

    def change(resource: Json) -> Json:
        second = copy.deepcopy(resource)
        for fault in faults:
            fault(second)
        entries: list[Json] = [{"resource": resource}, {"resource": second}]
        for entry in entries:
            entry |= urls
        return {"resourceType": "Bundle", "type": "collection", "entry": entries}

    return change


# The valid resource of the profile's own tests, with what R4 requires in addition.
SOUND = copy.deepcopy(GOOD)
SOUND["contact"][0]["telecom"][0]["system"] = "phone"
SCRIPT = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><script>x()</script>a</div>'}

# name: (change, code, expression of each error)
CLASSIC: dict[str, tuple[Change, str, tuple[str, ...]]] = {
    "unknown nested element": (put("contact", 0, "names", value=[]), "structure", ("Patient.contact[0].names",)),
    "missing required": (*of_profile("missing required")[:2], ("Patient.birthDate",)),
    "wrong cardinality": (*of_profile("wrong cardinality")[:2], ("Patient.name",)),
    "bad required code": (put("gender", value="man"), "code-invalid", ("Patient.gender",)),
    "bad required code, deeper": (
        put("contact", 0, "telecom", 0, "system", value="telephone"),
        "code-invalid",
        ("Patient.contact[0].telecom[0].system",),
    ),
    "bad required code, inside Bundle.entry": (
        bundled(put("gender", value="man")),
        "code-invalid",
        ("Bundle.entry[1].resource.gender",),
    ),
    "impossible date": (put("birthDate", value="2023-02-29"), "value", ("Patient.birthDate",)),
    "instant without zone": (
        put("meta", value={"lastUpdated": "2026-01-01T00:00:00"}),
        "value",
        ("Patient.meta.lastUpdated",),
    ),
    "string for boolean": (put("active", value="true"), "structure", ("Patient.active",)),
    "two value[x]": (both_values, "structure", ("Patient.deceased",)),
    "wrong reference target": (*of_profile("wrong reference target")[:2], ("Patient.generalPractitioner[0]",)),
    "wrong reference target of R4": (
        put("link", value=[{"other": {"reference": "Slot/1"}, "type": "seealso"}]),
        "value",
        ("Patient.link[0].other.reference",),
    ),
    "empty array": (put("address", value=[]), "structure", ("Patient.address",)),
    "bad id": (put("id", value="a_b"), "value", ("Patient.id",)),
    "failing invariant": (*of_profile("failing invariant")[:2], ("Patient.identifier[1].value",)),
    "failing invariant of R4": (
        put("contact", value=[{"gender": "male"}]),
        "invariant",
        ("Patient.contact[0]",),
    ),
    "script in narrative": (put("text", value=SCRIPT), "invariant", ("Patient.text.div",)),
    "unknown extension in a closed slicing": (
        *of_profile("unknown extension in a closed slicing")[:2],
        ("Patient.extension[1]",),
    ),
    "wrong slice order": (*of_profile("wrong slice order")[:2], ("Patient.identifier[1]",)),
    "dangling contained reference": (
        put("managingOrganization", "reference", value="#gone"),
        "not-found",
        ("Patient.managingOrganization.reference",),
    ),
    "duplicate fullUrl": (bundled(fullUrl=UUID), "invariant", ("Bundle.entry[1].fullUrl",)),
    "code outside an expanded hierarchy": (
        *of_profile("code outside an expanded hierarchy")[:2],
        ("Patient.maritalStatus",),
    ),
    "wrong extension context": (*of_profile("wrong extension context")[:2], ("Patient.contact[0].extension[0]",)),
    "fixed value in the wrong slice": (
        *of_profile("fixed value in the wrong slice")[:2],
        ("Patient.identifier[1].use",),
    ),
    "min slice missing": (*of_profile("minimum slice missing")[:2], ("Patient.identifier",)),
    "max slice exceeded": (*of_profile("maximum slice exceeded")[:2], ("Patient.identifier[3]",)),
    "profile not found": (lambda resource: None, "not-found", ("Patient",)),
    "circular contained": (in_circle, "invariant", ("Patient.contained[1]", "Patient.contained[2]")),
}


def faulty(name: str) -> tuple[Json, str]:
    """The resource with the fault, and the profile that it is checked against."""
    resource = copy.deepcopy(SOUND)
    changed = CLASSIC[name][0](resource)
    if changed is not None and changed.get("resourceType") == "Bundle":
        return changed, "http://hl7.org/fhir/StructureDefinition/Bundle"
    return resource, UNKNOWN if name == "profile not found" else P


def test_the_table_has_all_24_and_some_of_them_twice() -> None:
    assert len(CLASSIC) == 24 + 4


@pytest.fixture(scope="module")
def validator() -> ResourceValidator:
    return ResourceValidator(catalog(DEFINITIONS))


@pytest.mark.parametrize("name", CLASSIC)
def test_a_fault_is_caught_at_its_place(name: str, validator: ResourceValidator) -> None:
    resource, profile = faulty(name)
    issues = [i for i in validator.validate(resource, [ProfileRequirement(profile, "asked")]) if i.is_error]
    _, code, places = CLASSIC[name]
    assert [(i.code, i.expression) for i in issues] == [(code, (place,)) for place in places]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "package.json").write_text(json.dumps({"name": "faults", "version": "1.0.0"}))
    for number, definition in enumerate(DEFINITIONS):
        (folder / f"{number}.json").write_text(json.dumps(definition))
    api = Template.make(plugins=(str(folder),)).fresh(folder / "faults.db")
    yield api
    api.ctx.store.close()


@pytest.mark.parametrize("name", CLASSIC)
def test_a_fault_is_caught_over_http(name: str, server: Api) -> None:
    resource, profile = faulty(name)
    answer = server.post(f"{resource['resourceType']}/$validate?profile={profile}", resource)
    assert answer.status_code == 200, answer.text
    errors = [i for i in answer.get_json()["issue"] if i["severity"] == "error"]
    _, code, places = CLASSIC[name]
    assert [(i["code"], i["expression"]) for i in errors] == [(code, [place]) for place in places]
    assert all(len(i["diagnostics"]) > 20 for i in errors)


def test_the_resource_without_a_fault_is_sound(server: Api) -> None:
    answer = server.post(f"Patient/$validate?profile={P}", SOUND).get_json()
    assert [i for i in answer["issue"] if i["severity"] == "error"] == []
