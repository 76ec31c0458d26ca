from __future__ import annotations

from typing import Any

import pytest

from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load
from fhirstore.definitions.model import Package
from fhirstore.errors import StartupError

CORE = "http://hl7.org/fhir/SearchParameter/"
PARAMETER: dict[str, Any] = {
    "resourceType": "SearchParameter",
    "url": "http://example.org/service",
    "version": "1.0",
    "name": "Service",
    "code": "service",
    "type": "reference",
    "base": ["Slot"],
    "expression": "serviceType.extension.where(url='http://example.org/x').value",
}
PROFILE = {"resourceType": "StructureDefinition", "url": "http://example.org/profile", "version": "2.0"}


def package(name: str, *resources: dict[str, Any]) -> Package:
    where = {(r["resourceType"], r["url"]): f"{name}.tgz: {r['url'].rpartition('/')[2]}.json" for r in resources}
    return Package(name, "1.0.0", {}, resources, where)


def test_search_parameters_of_r4_are_found_with_and_without_version() -> None:
    catalog = Catalog(load())
    found = catalog.search_parameter(CORE + "Slot-start")
    assert found is not None
    assert found.expression == "Slot.start"
    assert catalog.search_parameter(CORE + "Slot-start|4.0.1") is found
    assert catalog.search_parameter(CORE + "Slot-start|5.0.0") is None
    assert catalog.search_parameter(CORE + "no-such") is None


def test_search_parameters_of_a_package_are_read() -> None:
    catalog = Catalog(load(), [package("a", PARAMETER)])
    found = catalog.search_parameter("http://example.org/service|1.0")
    assert found is not None
    assert (found.code, found.type, found.bases, found.targets) == ("service", "reference", ("Slot",), ())
    assert found.expression == PARAMETER["expression"]
    assert catalog.search_parameter("http://example.org/service") is found
    assert catalog.search_parameter("http://example.org/service|2.0") is None


def test_a_package_comes_before_r4_and_before_later_packages() -> None:
    override = PARAMETER | {"url": CORE + "Slot-start", "expression": "Slot.end"}
    later = override | {"expression": "Slot.status", "version": "3.0"}
    catalog = Catalog(load(), [package("a", override), package("b", later)])
    first, exact = (catalog.search_parameter(CORE + "Slot-start" + version) for version in ("", "|3.0"))
    assert first is not None
    assert exact is not None
    assert (first.expression, exact.expression) == ("Slot.end", "Slot.status")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"code": None}, "code: a string is required"),
        ({"base": []}, "base: an array is required"),
        ({"base": "Slot"}, "base: an array is required"),
        ({"target": [1]}, "target: an array is required"),
        ({"component": [{"definition": "x"}]}, r"component\.expression: a string is required"),
    ],
)
def test_a_broken_search_parameter_is_reported_with_its_file(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(StartupError, match=rf"^a\.tgz: service\.json: {expected}"):
        Catalog(load(), [package("a", PARAMETER | change)])


def test_the_parameters_of_a_type_include_those_of_all_resources() -> None:
    found = Catalog(load()).search_parameters_for("Slot")
    assert {"start", "schedule", "status", "_id", "_lastUpdated", "_tag", "_profile"} <= set(found)
    assert all(code == p.code for code, p in found.items())
    assert found["_id"].expression == "Resource.id"
    assert "birthdate" not in found


def test_an_illustration_of_the_specification_does_not_replace_the_real_parameter() -> None:
    found = Catalog(load()).search_parameters_for("Condition")
    assert found["subject"].url == CORE + "Condition-subject"


def test_an_unknown_type_has_no_parameters() -> None:
    assert Catalog(load()).search_parameters_for("Nothing") == {}


def test_conformance_resources_of_packages_are_found_by_type_and_canonical() -> None:
    catalog = Catalog(load(), [package("a", PARAMETER, PROFILE)])
    assert catalog.resource("StructureDefinition", "http://example.org/profile") is PROFILE
    assert catalog.resource("StructureDefinition", "http://example.org/profile|2.0") is PROFILE
    assert catalog.resource("StructureDefinition", "http://example.org/profile|1.0") is None
    assert catalog.resource("ValueSet", "http://example.org/profile") is None


@pytest.mark.parametrize(
    ("canonical", "expected"),
    [
        ("http://hl7.org/fhir/StructureDefinition/Patient", True),
        ("http://hl7.org/fhir/StructureDefinition/Patient|4.0.1", True),
        ("http://hl7.org/fhir/StructureDefinition/Patient|3.0.2", False),
        ("http://hl7.org/fhir/StructureDefinition/vitalsigns", True),
        ("http://hl7.org/fhir/StructureDefinition/patient-birthPlace", True),
        ("http://example.org/profile|2.0", True),
        ("http://example.org/other", False),
    ],
)
def test_structures_of_r4_and_of_packages_are_known(canonical: str, expected: bool) -> None:
    assert Catalog(load(), [package("a", PROFILE)]).has_structure(canonical) is expected


def versions(*of: str, name: str = "x") -> list[Package]:
    """Packages with one profile that has the package's version."""
    return [Package(name, v, {}, (PROFILE | {"version": v},)) for v in of]


def test_without_a_version_the_latest_of_the_installed_ones_is_meant() -> None:
    catalog = Catalog(load(), [], versions("1.10.0", "1.9.0", "1.10.0-rc"))
    for canonical, wanted in (("", "1.10.0"), ("|1.9.0", "1.9.0"), ("|1.10.0-rc", "1.10.0-rc")):
        found = catalog.resource("StructureDefinition", PROFILE["url"] + canonical)
        assert found is not None
        assert found["version"] == wanted
    assert catalog.resource("StructureDefinition", PROFILE["url"] + "|1.8.0") is None


def test_what_a_plugin_brings_comes_before_later_versions_that_are_installed() -> None:
    catalog = Catalog(load(), versions("1.0.0", name="plugin"), versions("2.0.0"))
    found = catalog.resource("StructureDefinition", PROFILE["url"])
    assert found is not None
    assert found["version"] == "1.0.0"


def test_of_an_installed_package_the_latest_version_adds_to_what_is_served() -> None:
    old, new = versions("1.0.0", "1.1.0")
    catalog = Catalog(load(), [], [new, old])
    assert (catalog.packages, catalog.contributing) == ((new, old), (new,))
    assert Catalog(load(), [old], [new, old]).contributing == (old,)
    assert Catalog(load(), [old], [new, old]).packages == (old, new)


def test_the_file_of_a_resource_is_that_of_its_own_package() -> None:
    one, other = dict(PROFILE), PROFILE | {"version": "3.0"}
    catalog = Catalog(load(), [package("a", one)], [package("b", other)])
    assert catalog.file(one) == "a.tgz: profile.json"
    assert catalog.file(other) == "b.tgz: profile.json"
    assert catalog.file(dict(one)) is None


def test_the_latest_version_is_meant_whatever_the_package_is_called() -> None:
    catalog = Catalog(load(), [], [*versions("9.0", "1.0", name="a"), *versions("10.0", name="b")])
    found = catalog.resource("StructureDefinition", PROFILE["url"])
    assert found is not None
    assert found["version"] == "10.0"
