"""Cardinality, types, fixed values, patterns, limits and lengths that a profile adds."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from profiling import CORE, URL, P, catalog, checker, element, places, profile

from fhirstore.validation.validator import ProfileValidator

Json = dict[str, Any]


def patient(**parts: Any) -> Json:
    return {"resourceType": "Patient", **parts}


def observation(**parts: Any) -> Json:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **parts}


# --- cardinality --------------------------------------------------------------------------------------


def test_a_minimum_and_a_maximum() -> None:
    check = checker(profile(P, "Patient", element("Patient.name", min=1, max="2"), element("Patient.gender", min=1)))
    name = {"family": "A"}
    assert check(patient(name=[name, name], gender="male")) == []
    assert places(check(patient(name=[name] * 3, gender="male"))) == [("structure", "Patient.name")]
    assert places(check(patient())) == [("required", "Patient.name"), ("required", "Patient.gender")]


def test_the_minimum_of_a_part_counts_only_where_the_whole_is() -> None:
    check = checker(profile(P, "Patient", element("Patient.contact.name", min=1)))
    assert check(patient()) == []
    faults = check(patient(contact=[{"name": {"text": "A"}}, {"gender": "male"}]))
    assert places(faults) == [("required", "Patient.contact[1].name")]


def test_a_maximum_of_none() -> None:
    check = checker(profile(P, "Patient", element("Patient.photo", max="0"), element("Patient.deceased[x]", max="0")))
    assert check(patient()) == []
    assert places(check(patient(photo=[{"url": "http://x"}]))) == [("structure", "Patient.photo")]
    assert places(check(patient(deceasedBoolean=False))) == [("structure", "Patient.deceased")]
    assert places(check(patient(_deceasedBoolean={"id": "a"}))) == [("structure", "Patient.deceased")]


def test_an_extension_in_place_of_a_primitive_value_counts() -> None:
    check = checker(profile(P, "Patient", element("Patient.birthDate", min=1), element("Patient.name.given", min=2)))
    absent = {"extension": [{"url": CORE + "data-absent-reason", "valueCode": "unknown"}]}
    assert check(patient(_birthDate=absent, name=[{"given": ["A", None], "_given": [None, absent]}])) == []
    assert places(check(patient(_birthDate=absent, name=[{"given": ["A"]}]))) == [("required", "Patient.name[0].given")]


def test_extensions_of_a_repeating_primitive_count_without_any_value() -> None:
    check = checker(profile(P, "Patient", element("Patient.name.given", min=2)))
    absent = {"extension": [{"url": CORE + "data-absent-reason", "valueCode": "unknown"}]}
    assert check(patient(name=[{"_given": [absent, absent]}])) == []
    assert places(check(patient(name=[{"_given": [absent]}]))) == [("required", "Patient.name[0].given")]


def test_parts_of_a_primitive_are_its_extensions() -> None:
    made = profile(P, "Patient", element("Patient.birthDate.extension", min=1))
    timed = {"extension": [{"url": CORE + "patient-birthTime", "valueDateTime": "2000-01-01T10:00:00Z"}]}
    assert checker(made)(patient(birthDate="2000-01-01", _birthDate=timed)) == []
    assert places(checker(made)(patient(birthDate="2000-01-01"))) == [("required", "Patient.birthDate.extension")]


# --- types --------------------------------------------------------------------------------------------


def test_a_choice_may_be_narrowed() -> None:
    made = profile(P, "Observation", element("Observation.value[x]", min=1, type=[{"code": "Quantity"}]))
    check = checker(made)
    assert check(observation(valueQuantity={"value": 1})) == []
    assert places(check(observation(valueString="1"))) == [("structure", "Observation.value")]
    assert places(check(observation())) == [("required", "Observation.value")]


def test_an_extension_in_place_of_the_value_of_a_choice_is_not_taken_for_the_value() -> None:
    made = profile(P, "Observation", element("Observation.value[x]", min=1, type=[{"code": "string"}], fixedString="a"))
    assert checker(made)(observation(_valueString={"extension": [{"url": "http://x", "valueCode": "y"}]})) == []


def test_parts_of_a_narrowed_choice() -> None:
    made = profile(
        P,
        "Observation",
        element("Observation.value[x]", type=[{"code": "Quantity"}]),
        element("Observation.value[x].unit", min=1),
    )
    assert places(checker(made)(observation(valueQuantity={"value": 1}))) == [("required", "Observation.value.unit")]


def test_a_data_type_may_have_to_follow_a_profile() -> None:
    name = URL + "name"
    check = checker(
        profile(P, "Patient", element("Patient.name", type=[{"code": "HumanName", "profile": [name]}])),
        profile(name, "HumanName", element("HumanName.family", min=1), kind="complex-type"),
    )
    assert check(patient(name=[{"family": "A"}])) == []
    ((code, place, text),) = check(patient(name=[{"text": "A"}]))
    assert (code, place) == ("required", "Patient.name[0].family")
    assert f"[min of HumanName.family in {name}]" in text


def test_one_of_several_profiles_is_enough() -> None:
    one, two = URL + "one", URL + "two"
    check = checker(
        profile(P, "Patient", element("Patient.name", type=[{"code": "HumanName", "profile": [one, two]}])),
        profile(one, "HumanName", element("HumanName.family", min=1), kind="complex-type"),
        profile(two, "HumanName", element("HumanName.text", min=1), kind="complex-type"),
    )
    assert check(patient(name=[{"family": "A"}, {"text": "A"}])) == []
    assert places(check(patient(name=[{"use": "old"}]))) == [("required", "Patient.name[0].family")]


def test_a_rule_that_two_definitions_state_is_reported_once_by_the_profile_itself() -> None:
    name = URL + "name"
    made = profile(
        P,
        "Patient",
        element("Patient.name", type=[{"code": "HumanName", "profile": [name]}]),
        element("Patient.name.family", min=1),
    )
    check = checker(made, profile(name, "HumanName", element("HumanName.family", min=1), kind="complex-type"))
    ((_, _, text),) = check(patient(name=[{"text": "A"}]))
    assert f"[min of Patient.name.family in {P}]" in text


def test_a_profile_of_a_type_that_is_not_available_gives_a_warning() -> None:
    absent = "http://nowhere.example/name"
    check = checker(profile(P, "Patient", element("Patient.name", type=[{"code": "HumanName", "profile": [absent]}])))
    assert check(patient(name=[{"text": "A"}])) == []
    ((_, place, text),) = check(patient(name=[{"text": "A"}]), severity="warning")
    assert place == "Patient.name[0]"
    assert absent in text


def test_only_certain_resources_may_be_contained() -> None:
    made = profile(P, "Patient", element("Patient.contained", type=[{"code": "Organization"}]))
    inside = {"resourceType": "Device", "id": "d"}
    assert places(checker(made)(patient(contained=[inside]))) == [("structure", "Patient.contained[0]")]
    assert checker(made)(patient(contained=[{"resourceType": "Organization", "id": "o", "name": "O"}])) == []


def test_a_resource_of_another_type_does_not_conform() -> None:
    assert places(checker(profile(P, "Patient"))(observation())) == [("structure", "Observation")]


def test_a_profile_of_any_resource_fits_all_types() -> None:
    check = checker(profile(P, "DomainResource", element("DomainResource.text", min=1)))
    assert places(check(patient())) == [("required", "Patient.text")]


# --- values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("definition", "good", "bad"),
    [
        ({"fixedCode": "male"}, ["male"], ["female", "Male"]),
        ({"patternCode": "male"}, ["male"], ["female"]),
    ],
)
def test_fixed_and_pattern_of_a_primitive(definition: Json, good: list[str], bad: list[str]) -> None:
    check = checker(profile(P, "Patient", element("Patient.gender", **definition)))
    assert [check(patient(gender=g)) for g in good] == [[]] * len(good)
    for value in bad:
        assert places(check(patient(gender=value))) == [("value", "Patient.gender")]


def test_a_fixed_value_is_the_whole_and_true_is_not_1() -> None:
    coding = {"system": "http://s", "code": "c"}
    made = profile(P, "Patient", element("Patient.maritalStatus", fixedCodeableConcept={"coding": [coding]}))
    assert checker(made)(patient(maritalStatus={"coding": [coding]})) == []
    more = {"coding": [coding], "text": "t"}
    assert places(checker(made)(patient(maritalStatus=more))) == [("value", "Patient.maritalStatus")]
    active = checker(profile(P, "Patient", element("Patient.active", fixedBoolean=True)))
    assert active(patient(active=True)) == []
    assert places(active(patient(active=1))) == [("value", "Patient.active")]


def test_a_pattern_is_a_part_and_arrays_are_in_any_order() -> None:
    coding = {"system": "http://s", "code": "c"}
    made = profile(P, "Patient", element("Patient.maritalStatus", patternCodeableConcept={"coding": [coding]}))
    other = {"system": "http://t", "code": "d"}
    good = {"coding": [other, {**coding, "display": "C"}], "text": "t"}
    assert checker(made)(patient(maritalStatus=good)) == []
    for bad in ({"coding": 3}, {"coding": [other]}, {"coding": [{"system": "http://s"}]}, {"text": "c"}):
        assert places(checker(made)(patient(maritalStatus=bad))) == [("value", "Patient.maritalStatus")]


def test_a_decimal_may_be_written_with_more_digits() -> None:
    made = profile(P, "Observation", element("Observation.value[x]", patternQuantity={"value": Decimal("1.5")}))
    assert checker(made)(observation(valueQuantity={"value": Decimal("1.50"), "unit": "kg"})) == []


KG, GRAMS = {"value": Decimal("5.5"), "code": "kg"}, {"value": 1, "code": "g"}
NOON = "2020-06-01T12:00:00+02:00"


@pytest.mark.parametrize(
    ("name", "limit", "good", "bad"),
    [
        ("valueInteger", {"minValueInteger": 2}, [2, 3], [1, -5]),
        ("valueInteger", {"maxValueInteger": 2}, [2, 0], [3]),
        ("valueDateTime", {"minValueDateTime": "2020-06"}, ["2020-06-01", "2020", NOON], ["2020-05-31"]),
        ("valueDateTime", {"maxValueDateTime": "2020-06-01T10:00:00Z"}, [NOON], ["2020-06-01T12:00:01+02:00"]),
        ("valueTime", {"minValueTime": "10:00:00"}, ["10:00:00", "11:30:00"], ["09:59:59"]),
        ("valueQuantity", {"minValueQuantity": {"value": 5, "code": "kg"}}, [KG, GRAMS], [{"value": 4, "code": "kg"}]),
        ("valueString", {"maxLength": 3}, ["abc"], ["abcd"]),
        ("valueString", {"extension": [{"url": CORE + "minLength", "valueInteger": 2}]}, ["ab"], ["a"]),
    ],
)
def test_limits(name: str, limit: Json, good: list[Any], bad: list[Any]) -> None:
    kind = name.removeprefix("value")
    code = kind if kind == "Quantity" else kind[0].lower() + kind[1:]
    check = checker(profile(P, "Observation", element("Observation.value[x]", type=[{"code": code}], **limit)))
    for value in good:
        assert check(observation(**{name: value})) == [], value
    for value in bad:
        ((_, place, _),) = check(observation(**{name: value}))
        assert place == "Observation.value"


def test_quantities_of_different_units_are_reported_and_not_compared() -> None:
    limit = {"minValueQuantity": {"value": 5, "code": "kg"}}
    check = checker(profile(P, "Observation", element("Observation.value[x]", type=[{"code": "Quantity"}], **limit)))
    half = {"value": Decimal("0.5"), "code": "g"}
    ((code, place, text),) = check(observation(valueQuantity=half), severity="warning")
    assert (code, place) == ("not-supported", "Observation.value")
    assert '{"value": 0.5, "code": "g"} cannot be compared with {"value": 5, "code": "kg"}' in text
    assert check(observation(valueQuantity={"code": "g"}), severity="warning") == []


# --- profiles themselves ------------------------------------------------------------------------------


def test_a_profile_that_is_not_available_is_an_error_that_names_it() -> None:
    ((code, place, text),) = checker()(patient(), "http://nowhere.example/p")
    assert (code, place) == ("not-found", "Patient")
    assert "no installed package defines http://nowhere.example/p" in text


def test_the_profiles_of_r4_are_checked() -> None:
    found = checker()(observation(), CORE + "vitalsigns")
    assert {(path, text.partition(" [")[2].partition(" ")[0]) for _, path, text in found} >= {
        ("Observation.category", "min"),
        ("Observation.subject", "min"),
    }


def test_a_structure_of_r4_that_is_no_profile_is_unavailable() -> None:
    ((code, _, text),) = checker()(observation(), CORE + "FiveWs")
    assert code == "not-found"
    assert "part of R4" in text


def test_a_faulty_profile_is_an_error_that_names_its_file() -> None:
    check = checker(profile(P, "Patient", element("Patient.nothing", min=1)))
    ((code, _, text),) = check(patient())
    assert code == "exception"
    assert "test.json" in text
    assert "Patient.nothing" in text


@pytest.mark.parametrize(
    "damage",
    [
        {"differential": []},
        {"differential": {"element": [1]}},
        {"differential": {"element": [{"path": 1}]}},
        {"differential": {"element": [element("Patient.name", max="many")]}},
        {"differential": {"element": [element("Patient.name", type="HumanName")]}},
        {"snapshot": {"element": [element("Patient.name"), element("Slot.x.y")]}},
        {"baseDefinition": 1},
    ],
)
def test_a_profile_that_cannot_be_read_is_an_error_that_names_its_file(damage: Json) -> None:
    ((code, _, text),) = checker({**profile(P, "Patient"), **damage})(patient(name=[{"text": "A"}]))
    assert code == "exception"
    assert "test.json" in text


def test_a_version_of_a_profile_may_be_named() -> None:
    check = checker(
        profile(P, "Patient", element("Patient.name", min=1), version="1"),
        profile(P, "Patient", element("Patient.gender", min=1), version="2"),
    )
    assert places(check(patient(), P + "|1")) == [("required", "Patient.name")]
    assert places(check(patient(), P + "|2")) == [("required", "Patient.gender")]
    assert places(check(patient(), P + "|3")) == [("not-found", "Patient")]


def test_an_r4_type_is_a_profile_that_adds_nothing() -> None:
    assert checker()(patient(), CORE + "Patient") == []
    assert places(checker()(observation(), CORE + "Patient")) == [("structure", "Observation")]


def test_a_profile_over_a_profile_keeps_the_rules_of_both() -> None:
    check = checker(
        profile(URL + "base", "Patient", element("Patient.name", min=1)),
        profile(P, "Patient", element("Patient.gender", min=1), base=URL + "base"),
    )
    assert places(check(patient())) == [("required", "Patient.name"), ("required", "Patient.gender")]


def test_what_is_no_resource_is_refused() -> None:
    for value in (None, 1, "x", []):
        assert places(checker(profile(P, "Patient"))(value)) == [("structure", "Resource")]


def test_absent_elements_that_must_be_supported_are_reported_on_request() -> None:
    made = profile(
        P,
        "Observation",
        element("Observation.value[x]", mustSupport=True),
        element("Observation.issued", mustSupport=True),
        element("Observation.component.code.text", mustSupport=True),
    )
    validator = ProfileValidator(catalog([made]))
    resource = observation(valueString="a", component=[{"code": {"text": "x"}}, {"code": {"coding": []}}])
    issues = validator.must_support(resource, P)
    assert [(i.severity, i.expression[0]) for i in issues] == [
        ("information", "Observation.issued"),
        ("information", "Observation.component[1].code.text"),
    ]
    assert validator.validate(resource, P) == []
    assert validator.must_support(observation(_issued={"id": "a"}, valueInteger=0), P) == []
