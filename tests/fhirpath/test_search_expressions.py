from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fhirstore.definitions.core import load
from fhirstore.fhirpath.search_expressions import SearchExpression, compile_search_expression

URL = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Slot.serviceType"
SLOT = {
    "resourceType": "Slot",
    "start": "2024-06-12T16:20:00.000+02:00",
    "schedule": {"reference": "Schedule/1"},
    "serviceType": [
        {
            "coding": [{"code": "604"}],
            "extension": [{"url": "x"}, {"url": URL, "valueReference": {"reference": "H/1"}}],
        },
        {"text": "y", "extension": [{"url": URL, "valueString": "by name"}, {"url": "z", "valueString": "no"}]},
    ],
}
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p1",
    "meta": {"tag": [{"code": "t"}]},
    "active": True,
    "name": [{"family": "A", "given": ["x", None, "y"]}, {"family": "B"}],
    "telecom": [{"system": "email", "use": "home", "value": "a@b"}, {"system": "phone", "value": "1"}, {"value": "2"}],
    "birthDate": "1970-01-01",
    "deceasedBoolean": False,
    "contact": [{"name": {"family": "C"}}],
    "generalPractitioner": [
        {"reference": "Practitioner/1"},
        {"reference": "#o"},
        {"type": "PractitionerRole", "identifier": {"value": "9"}},
        {"display": "nobody knows"},
    ],
    "contained": [{"resourceType": "Organization", "id": "o", "name": "N"}],
}


def compiled(base: str, expression: str) -> SearchExpression:
    return compile_search_expression(load(), base, expression)


def extract(base: str, expression: str, resource: dict[str, Any]) -> list[tuple[str, Any]]:
    made = compiled(base, expression)
    assert made.native
    return made.extract(resource)


def patient(expression: str, **change: Any) -> list[tuple[str, Any]]:
    return extract("Patient", expression, PATIENT | change)


def values(found: list[tuple[str, Any]]) -> list[Any]:
    return [value for _, value in found]


# --- paths


def test_a_path_yields_values_with_their_types() -> None:
    assert extract("Slot", "Slot.start", SLOT) == [("instant", "2024-06-12T16:20:00.000+02:00")]
    assert extract("Slot", "Slot.schedule", SLOT) == [("Reference", {"reference": "Schedule/1"})]
    assert extract("Slot", "Slot.status", SLOT) == []


def test_a_repeating_element_yields_each_item_and_no_nulls() -> None:
    assert patient("Patient.name.given") == [("string", "x"), ("string", "y")]


def test_a_type_name_in_front_may_be_left_out_or_be_an_ancestor() -> None:
    assert patient("birthDate") == patient("Patient.birthDate") == [("date", "1970-01-01")]
    assert patient("Resource.id") == [("id", "p1")]
    assert patient("Resource.meta.tag") == [("Coding", {"code": "t"})]
    assert values(patient("DomainResource.contained")) == PATIENT["contained"]


def test_only_the_branches_for_the_type_are_taken() -> None:
    union = "Practitioner.name | Patient.name.family | RelatedPerson.birthDate"
    assert patient(union) == [("string", "A"), ("string", "B")]
    assert compiled("Patient", union).types == {"string"}


def test_a_backbone_has_its_path_as_type() -> None:
    assert patient("Patient.contact") == [("Patient.contact", {"name": {"family": "C"}})]


def test_a_content_reference_has_the_type_of_the_node_it_names() -> None:
    bundle = {"resourceType": "Bundle", "entry": [{"link": [{"relation": "self"}]}]}
    assert extract("Bundle", "Bundle.entry.link", bundle) == [("Bundle.link", {"relation": "self"})]


def test_a_resource_has_the_type_it_names() -> None:
    bundle = {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Slot"}}, {"resource": {"id": "?"}}]}
    assert extract("Bundle", "Bundle.entry.resource", bundle) == [("Slot", {"resourceType": "Slot"})]
    assert compiled("Bundle", "Bundle.entry.resource").types == {"Resource"}


def test_an_index_counts_over_the_whole_path() -> None:
    assert values(patient("Patient.name.given[1]")) == ["y"]
    assert values(patient("Patient.name[1].family")) == ["B"]
    assert values(patient("Patient.name.first().family")) == ["A"]
    assert patient("Patient.name[2].family") == []


def test_expressions_may_be_relative_to_a_backbone_or_a_data_type() -> None:
    assert extract("Observation.component", "value.as(Quantity)", {"valueQuantity": {"value": 1}}) == [
        ("Quantity", {"value": 1})
    ]
    assert extract("HumanName", "family", {"family": "A"}) == [("string", "A")]


def test_percent_resource_is_the_resource() -> None:
    assert patient("Patient.name.where(%resource.active = true).family") == [("string", "A"), ("string", "B")]


# --- choices


OBSERVATION = {"resourceType": "Observation", "valueQuantity": {"value": Decimal("1.50")}}


def test_a_choice_yields_the_type_that_is_there() -> None:
    assert extract("Observation", "Observation.value", OBSERVATION) == [("Quantity", {"value": Decimal("1.50")})]
    assert patient("Patient.deceased") == [("boolean", False)]


@pytest.mark.parametrize(
    "text", ["(Observation.value as {})", "Observation.value.as({})", "Observation.value.ofType({})"]
)
def test_as_takes_one_type_of_a_choice(text: str) -> None:
    assert extract("Observation", text.format("Quantity"), OBSERVATION) == [("Quantity", {"value": Decimal("1.50")})]
    assert extract("Observation", text.format("Period"), OBSERVATION) == []
    assert compiled("Observation", text.format("FHIR.Period")).types == {"Period"}


def test_as_takes_specialisations_too() -> None:
    condition = {"resourceType": "Condition", "onsetAge": {"value": 3}}
    assert extract("Condition", "Condition.onset as Quantity", condition) == [("Age", {"value": 3})]


def test_a_type_may_be_spelled_with_a_capital() -> None:
    assert compiled("Observation", "value.as(DateTime) | value.as(Period)").types == {"dateTime", "Period"}


def test_a_path_goes_on_behind_as() -> None:
    concept = {"resourceType": "Observation", "valueCodeableConcept": {"text": "t"}}
    assert extract("Observation", "(Observation.value as CodeableConcept).text", concept) == [("string", "t")]


def test_as_on_a_resource_looks_at_the_resource() -> None:
    assert patient("Patient.contained.ofType(Organization).name") == [("string", "N")]
    assert patient("Patient.contained.ofType(Location).name") == []


# --- where


def test_where_compares_with_a_text() -> None:
    assert values(patient("Patient.telecom.where(system='email').value")) == ["a@b"]


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ("system = 'email' and use = 'home'", ["a@b"]),
        ("system = 'phone' and use = 'home'", []),
        ("system = 'phone' or use = 'home'", ["a@b", "1"]),
        ("system != 'email'", ["1"]),
        ("(system = 'email').not()", ["1"]),
        ("system.exists()", ["a@b", "1"]),
        ("system.empty()", ["2"]),
        ("system.exists().not()", ["2"]),
        ("(system = 'fax' or use = 'work').not()", ["a@b"]),
        ("(system = 'phone' and use = 'home').not()", ["a@b"]),
        ("use", ["a@b"]),
        ("true", ["a@b", "1", "2"]),
        ("false or system = 'phone'", ["1"]),
    ],
)
def test_criteria(criteria: str, expected: list[str]) -> None:
    assert values(patient(f"Patient.telecom.where({criteria}).value")) == expected


def test_where_on_the_resource_itself() -> None:
    assert patient("Patient.where(active = true).birthDate") == [("date", "1970-01-01")]
    assert patient("Patient.where(active).birthDate") == [("date", "1970-01-01")]
    assert patient("Patient.where(active = true).birthDate", active=False) == []
    assert patient("Patient.where(active = true).birthDate", active=1) == []


def test_where_with_a_nested_path_requires_exactly_one_equal_value() -> None:
    expression = "Slot.serviceType.where(coding.code = '604')"
    assert len(extract("Slot", expression, SLOT)) == 1
    twice = {"serviceType": [{"coding": [{"code": "604"}, {"code": "1"}]}]}
    assert extract("Slot", expression, twice) == []


def test_where_with_a_number() -> None:
    multiple = {"resourceType": "Patient", "multipleBirthInteger": 2}
    assert extract("Patient", "Patient.where(multipleBirth = 2)", multiple) == [("Patient", multiple)]
    assert extract("Patient", "Patient.where(multipleBirth = 3)", multiple) == []
    place = {"resourceType": "Location", "position": {"latitude": Decimal("2.0"), "longitude": 0}}
    assert len(extract("Location", "Location.position.where(latitude = 2)", place)) == 1
    assert len(extract("Location", "Location.position.where(longitude = 0.0 and longitude)", place)) == 1


def test_resolve_is_looks_at_the_type_of_the_target() -> None:
    where = "Patient.generalPractitioner.where(resolve() is {})"
    first, second, third, _ = PATIENT["generalPractitioner"]
    assert values(patient(where.format("Practitioner"))) == [first]
    assert values(patient(where.format("Organization"))) == [second]
    assert values(patient(where.format("PractitionerRole"))) == [third]
    assert values(patient(where.format("DomainResource"))) == [first, second, third]
    managed = "Patient.where(managingOrganization.resolve() is Organization).id"
    assert patient(managed) == []
    assert patient(managed, managingOrganization={"reference": "Organization/1"}) == [("id", "p1")]


# --- extensions


def test_the_value_of_an_extension_has_the_type_it_was_given() -> None:
    assert extract("Slot", f"serviceType.extension.where(url='{URL}').value", SLOT) == [
        ("Reference", {"reference": "H/1"}),
        ("string", "by name"),
    ]
    assert extract("Slot", f"Slot.serviceType.extension('{URL}').value.ofType(Reference)", SLOT) == [
        ("Reference", {"reference": "H/1"})
    ]


def test_has_extension_filters() -> None:
    assert len(extract("Slot", "Slot.serviceType.where(hasExtension('z'))", SLOT)) == 1


# --- answers


def test_a_boolean_expression_yields_its_answer() -> None:
    deceased = "Patient.deceased.exists() and Patient.deceased != false"
    assert patient(deceased) == [("boolean", False)]
    assert patient(deceased, deceasedBoolean=True) == [("boolean", True)]
    dated = {"resourceType": "Patient", "deceasedDateTime": "2020"}
    assert extract("Patient", deceased, dated) == [("boolean", True)]
    assert extract("Patient", deceased, {"resourceType": "Patient"}) == [("boolean", False)]


def test_an_empty_answer_yields_nothing() -> None:
    assert extract("Patient", "Patient.active = true", {"resourceType": "Patient"}) == []


# --- malformed resources


@pytest.mark.parametrize(
    ("expression", "change"),
    [
        ("Patient.birthDate", {"birthDate": 1970}),
        ("Patient.birthDate", {"birthDate": ["1970-01-01"]}),
        ("Patient.birthDate", {"birthDate": None}),
        ("Patient.active", {"active": "true"}),
        ("Patient.name", {"name": {"family": "A"}}),
        ("Patient.name", {"name": ["A", 1, None, [{}]]}),
        ("Patient.name.family", {"name": ["A"]}),
        ("Patient.name.given", {"name": [{"given": "x"}]}),
        ("Patient.managingOrganization.identifier.value", {"managingOrganization": "Organization/1"}),
        ("Patient.telecom.where(system='email').value", {"telecom": ["email", {"system": ["email"]}]}),
        (
            "Patient.generalPractitioner.where(resolve() is Practitioner)",
            {"generalPractitioner": [{"reference": 1}, 1]},
        ),
        ("Patient.extension('u').value", {"extension": ["u", {"url": "u", "valueInteger": "1"}]}),
        ("Patient.multipleBirth", {"multipleBirthInteger": True}),
        ("Patient.contained.ofType(Organization).name", {"contained": [{"resourceType": 1}, "x"]}),
        ("Patient.contained", {"contained": [{"resourceType": 1}, "x"]}),
    ],
)
def test_values_that_contradict_their_type_are_left_out(expression: str, change: dict[str, Any]) -> None:
    assert patient(expression, **change) == []


def test_a_single_expression_yields_one_value_of_a_choice_that_is_filled_twice() -> None:
    made = compiled("Observation", "Observation.value")
    assert made.single
    assert len(made.extract(OBSERVATION | {"valueString": "x"})) == 1


# --- what is known beforehand


@pytest.mark.parametrize(
    ("base", "expression", "single"),
    [
        ("Slot", "Slot.start", True),
        ("Slot", "Slot.schedule.where(resolve() is Schedule)", True),
        ("Slot", "Slot.specialty", False),
        ("Patient", "Patient.name[0].family", True),
        ("Patient", "Patient.name[0].given", False),
        ("Patient", "Patient.birthDate | Person.birthDate", True),
        ("Patient", "Patient.birthDate | Patient.deceased.as(dateTime)", False),
        ("Patient", "Patient.contact.name.family", False),
        ("Observation", "(Observation.value as Quantity) | (Observation.value as SampledData)", True),
        ("Observation", "Observation.value.as(string) | Observation.value.as(CodeableConcept).text", False),
        ("Patient", "Patient.deceased.exists()", True),
        ("Patient", "Patient.deceased.exists() | Patient.active.exists()", False),
    ],
)
def test_single_says_whether_a_resource_can_give_several_values(base: str, expression: str, single: bool) -> None:
    assert compiled(base, expression).single is single


def test_types_are_those_that_can_come_up() -> None:
    assert compiled("Slot", "Slot.start").types == {"instant"}
    assert compiled("Patient", "Patient.deceased").types == {"boolean", "dateTime"}
    assert len(compiled("Slot", f"serviceType.extension.where(url='{URL}').value").types) == 50


@pytest.mark.parametrize(
    ("base", "expression", "expected"),
    [
        ("Slot", "Slot.strat", "Slot has no element 'strat'"),
        ("Slot", "Slott.start", "Slot has no element 'Slott'"),
        ("Slot", "Slot.schedule.where(refrence = 'x')", "Reference has no element 'refrence'"),
        ("Slot", "Slot.start | Slot.ent", "Slot has no element 'ent'"),
        ("Slot", "Slot.start as Quantity", "it can never yield a value"),
        ("Slot", "Slot.start as Quantty", "'Quantty' is not a FHIR type"),
        ("Slot", "Patient.name | Person.name", "no part of it applies to Slot"),
        ("Bundle", "DomainResource.text", "no part of it applies to Bundle"),
        ("Slot", "Slot.start)", "should end here"),
        ("Slott", "start", "'Slott' is not a FHIR type"),
    ],
)
def test_an_expression_that_cannot_work_is_refused(base: str, expression: str, expected: str) -> None:
    with pytest.raises(ValueError) as e:  # noqa: PT011 - the text is compared below
        compiled(base, expression)
    assert expected in str(e.value)


def test_an_element_that_some_types_of_a_choice_lack_is_no_mistake() -> None:
    assert compiled("Observation", "Observation.value.text").types == {"string"}


@pytest.mark.parametrize(
    ("expression", "properties"),
    [
        ("Patient.birthDate", {"birthDate", "_birthDate"}),
        ("Patient.name.where(use = 'official').family | Patient.gender", {"name", "_name", "gender", "_gender"}),
        (
            "(Patient.deceased as boolean)",
            {"deceasedBoolean", "_deceasedBoolean", "deceasedDateTime", "_deceasedDateTime"},
        ),
        ("Patient.name[0].given.first()", {"name", "_name"}),
        ("Patient.deceased.exists() and Patient.deceased != false", None),  # false without the element
        ("Patient.name.exists()", None),
        ("name.count()", None),
    ],
)
def test_properties_are_those_that_a_value_needs(expression: str, properties: set[str] | None) -> None:
    assert compiled("Patient", expression).properties == properties
