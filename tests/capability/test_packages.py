"""docs/adr/0002: a loaded package adds what it defines to the types that are served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fhirstore.capability.registry import Registry
from fhirstore.errors import StartupError

CORE = "http://hl7.org/fhir/SearchParameter/"
Build = Callable[..., Registry]
Make = Callable[..., Any]
FAMILY = {"name": "family", "definition": f"{CORE}individual-family", "type": "string"}


def test_a_packages_parameter_is_added_to_a_served_type(
    build: Build, statement: Make, package: Make, parameter: Make
) -> None:
    registry = build(statement({"type": "Patient"}), package(parameter("Patient", "c", "string", "Patient.name.text")))
    assert registry.types["Patient"].params["c"].declared
    assert {"name": "c", "definition": "http://p/c", "type": "string"} in (
        registry.statement["rest"][0]["resource"][0]["searchParam"]
    )


def test_a_packages_parameter_adds_no_type(build: Build, statement: Make, package: Make, parameter: Make) -> None:
    registry = build(statement({"type": "Slot"}), package(parameter("Patient", "c", "string", "Patient.name.text")))
    assert set(registry.types) == set(registry.indexed_types) == {"Slot"}


@pytest.mark.parametrize(("base", "types"), [("Resource", {"Slot", "Bundle"}), ("DomainResource", {"Slot"})])
def test_a_parameter_of_an_abstract_base_is_added_to_all_its_types(
    build: Build, statement: Make, package: Make, parameter: Make, base: str, types: set[str]
) -> None:
    found = package(parameter(base, "lang", "token", f"{base}.language"))
    registry = build(statement({"type": "Slot"}, {"type": "Bundle"}), found)
    assert {t for t, served in registry.types.items() if "lang" in served.params} == types


@pytest.mark.parametrize(
    "more", [{"status": "retired"}, {"type": "composite"}, {"type": "special"}, {"expression": ""}]
)
def test_retired_and_impossible_parameters_of_a_package_are_left_out(
    build: Build, statement: Make, package: Make, parameter: Make, more: dict[str, str]
) -> None:
    found = package(parameter("Patient", "c", "string", "Patient.name.text") | more)
    assert build(statement({"type": "Patient"}), found).types["Patient"].params == {}


def test_the_same_meaning_under_two_canonicals_is_one_parameter_and_the_packages_is_named(
    build: Build, statement: Make, package: Make, parameter: Make
) -> None:
    found = package(parameter("Patient", "family", "string", "name.family"))
    registry = build(statement({"type": "Patient", "searchParam": [FAMILY | {"documentation": "by family"}]}), found)
    assert registry.types["Patient"].params["family"].url == "http://p/family"
    assert [p for p in registry.statement["rest"][0]["resource"][0]["searchParam"] if p["name"] == "family"] == [
        {"name": "family", "definition": "http://p/family", "type": "string", "documentation": "by family"}
    ]


def test_another_meaning_of_a_declared_code_stops_the_start(
    build: Build, statement: Make, package: Make, parameter: Make
) -> None:
    found = package(parameter("Patient", "family", "string", "Patient.contact.name.family"))
    with pytest.raises(
        StartupError, match=r"family of Patient has two different definitions: .*individual-family.*http://p/family"
    ):
        build(statement({"type": "Patient", "searchParam": [FAMILY]}), found)


def test_the_same_expression_with_another_type_is_another_meaning(
    build: Build, statement: Make, package: Make, parameter: Make
) -> None:
    found = package(parameter("Patient", "family", "token", "Patient.name.family"))
    with pytest.raises(StartupError, match=r"family of Patient has two different definitions"):
        build(statement({"type": "Patient", "searchParam": [FAMILY]}), found)


def test_another_meaning_is_served_when_the_statement_names_it(
    build: Build, statement: Make, package: Make, parameter: Make
) -> None:
    found = package(parameter("Patient", "family", "string", "Patient.contact.name.family"))
    said = {"name": "family", "definition": "http://p/family", "type": "string"}
    family = build(statement({"type": "Patient", "searchParam": [said]}), found).types["Patient"].params["family"]
    assert family.extract({"resourceType": "Patient", "contact": [{"name": {"family": "Lefèvre"}}]}) == [
        ("string", "Lefèvre")
    ]


def test_a_statement_cannot_name_two_meanings_of_one_code(
    build: Build, statement: Make, package: Make, parameter: Make
) -> None:
    found = package(parameter("Patient", "family", "string", "Patient.contact.name.family"))
    said = {"name": "family", "definition": "http://p/family", "type": "string"}
    with pytest.raises(StartupError, match=r"searchParam\[0\] and x\.json: rest\[0\]\.resource\[0\]\.searchParam\[1\]"):
        build(statement({"type": "Patient", "searchParam": [FAMILY, said]}), found)


def test_two_packages_that_disagree_stop_the_start_unless_the_statement_chooses(
    build: Build, statement: Make, package: Make, parameter: Make
) -> None:
    one = package(parameter("Patient", "c", "string", "Patient.name.text", url="http://p/1"), name="one")
    two = package(parameter("Patient", "c", "string", "Patient.name.given", url="http://p/2"), name="two")
    with pytest.raises(StartupError, match=r"http://p/1 .* and http://p/2"):
        build(statement({"type": "Patient"}), one, two)
    said = {"name": "c", "definition": "http://p/2", "type": "string"}
    chosen = build(statement({"type": "Patient", "searchParam": [said]}), one, two)
    assert chosen.types["Patient"].params["c"].url == "http://p/2"


def test_a_chosen_definition_holds_for_the_chains_that_walk_it(
    build: Build, statement: Make, package: Make, parameter: Make
) -> None:
    one = package(parameter("Patient", "c", "reference", "Patient.managingOrganization", url="http://p/1"), name="one")
    two = package(parameter("Patient", "c", "reference", "Patient.generalPractitioner", url="http://p/2"), name="two")
    patient = {
        "type": "Patient",
        "searchParam": [{"name": "c", "definition": "http://p/2", "type": "reference"}],
        "searchInclude": ["Patient:c"],
    }
    assert build(statement(patient), one, two).indexed_types["Patient"]["c"].url == "http://p/2"


def test_a_defective_expression_stops_the_start_and_names_the_file(
    build: Build, statement: Make, package: Make, parameter: Make
) -> None:
    found = package(parameter("Patient", "c", "string", "Patient.nam.text"))
    with pytest.raises(StartupError, match=r"0\.json: http://p/c: expression 'Patient\.nam\.text' on Patient"):
        build(statement({"type": "Patient"}), found)


def test_a_packages_profiles_are_supported_on_their_served_types(
    build: Build, statement: Make, package: Make, profile: Make
) -> None:
    registry = build(
        statement({"type": "Patient"}, {"type": "Slot"}),
        package(profile("Patient", "http://p/patient"), profile("Schedule", "http://p/schedule")),
    )
    assert registry.types["Patient"].supported_profiles == ("http://p/patient",)
    assert (registry.types["Patient"].profile, registry.types["Slot"].supported_profiles) == (None, ())


@pytest.mark.parametrize("more", [{"derivation": "specialization"}, {"kind": "complex-type"}])
def test_structures_that_are_no_profiles_on_resources_are_not_supported_profiles(
    build: Build, statement: Make, package: Make, profile: Make, more: dict[str, str]
) -> None:
    found = package(profile("Patient", "http://p/patient") | more)
    assert build(statement({"type": "Patient"}), found).types["Patient"].supported_profiles == ()


def test_the_first_profile_is_enforced_and_the_others_are_supported(
    build: Build, statement: Make, package: Make, profile: Make
) -> None:
    found = package(*(profile("Patient", f"http://p/{n}") for n in (1, 2, 3)))
    patients = (
        {"type": "Patient", "supportedProfile": ["http://p/3"]},
        {"type": "Patient", "profile": "http://p/2"},
        {"type": "Patient", "profile": "http://p/1"},
    )
    served = build(statement(*patients), found).types["Patient"]
    assert (served.profile, served.supported_profiles) == ("http://p/2", ("http://p/3", "http://p/1"))


def test_an_unknown_profile_stops_the_start(build: Build, statement: Make) -> None:
    with pytest.raises(StartupError, match=r"supportedProfile\[0\]: .* the profile http://p/none\. .* --plugin"):
        build(statement({"type": "Patient", "supportedProfile": ["http://p/none"]}))


def test_a_profile_of_another_type_stops_the_start(build: Build, statement: Make, package: Make, profile: Make) -> None:
    with pytest.raises(StartupError, match=r"profile: http://p/1 is a profile of Patient, not of Slot"):
        build(statement({"type": "Slot", "profile": "http://p/1"}), package(profile("Patient", "http://p/1")))
