"""Slices: how many, in which order, and what fits none of them."""

from __future__ import annotations

from typing import Any

from profiling import (
    P,
    catalog,
    checker,
    element,
    places,
    profile,
    sliced,
)

from fhirstore.validation.validator import ProfileValidator

Json = dict[str, Any]

SYSTEM_A, SYSTEM_B = "http://a", "http://b"


def patient(**parts: Any) -> Json:
    return {"resourceType": "Patient", **parts}


def identifiers(*systems: str, **more: Any) -> Json:
    return patient(identifier=[{"system": s, "value": str(i), **more} for i, s in enumerate(systems)])


def by_system(*, a: Json | None = None, b: Json | None = None, **slicing: Any) -> Json:
    """A profile of Patient whose identifiers are sliced by system: slices a and b."""
    return profile(
        P,
        "Patient",
        sliced("Patient.identifier", "value system", **slicing),
        element("Patient.identifier:a", **(a or {})),
        element("Patient.identifier:a.system", patternUri=SYSTEM_A),
        element("Patient.identifier:b", **(b or {})),
        element("Patient.identifier:b.system", fixedUri=SYSTEM_B),
    )


def test_slices_have_their_own_minimum_and_maximum() -> None:
    check = checker(by_system(a={"min": 1}, b={"max": "1"}))
    assert check(identifiers(SYSTEM_A, SYSTEM_A, "http://c")) == []
    assert places(check(identifiers(SYSTEM_B))) == [("required", "Patient.identifier")]
    assert places(check(patient())) == [("required", "Patient.identifier")]
    assert places(check(identifiers(SYSTEM_B, SYSTEM_A, SYSTEM_B))) == [("structure", "Patient.identifier[2]")]


def test_a_message_names_slice_rule_and_profile() -> None:
    ((_, _, text),) = checker(by_system(a={"min": 1}))(patient())
    assert "slice a: 0 found; at least 1 required" in text
    assert f"[min of Patient.identifier:a in {P}]" in text


def test_a_closed_slicing_refuses_what_fits_no_slice() -> None:
    check = checker(by_system(rules="closed"))
    assert check(identifiers(SYSTEM_A, SYSTEM_B)) == []
    assert places(check(identifiers(SYSTEM_A, "http://c"))) == [("structure", "Patient.identifier[1]")]


def test_open_at_end_requires_other_values_at_the_end() -> None:
    check = checker(by_system(rules="openAtEnd"))
    assert check(identifiers(SYSTEM_B, SYSTEM_A, "http://c")) == []
    assert places(check(identifiers("http://c", SYSTEM_A))) == [("structure", "Patient.identifier[1]")]


def test_an_ordered_slicing_requires_the_order_of_the_slices() -> None:
    check = checker(by_system(ordered=True))
    assert check(identifiers(SYSTEM_A, "http://c", SYSTEM_A, SYSTEM_B)) == []
    assert places(check(identifiers(SYSTEM_B, SYSTEM_A))) == [("structure", "Patient.identifier[1]")]


def test_the_rules_of_a_slice_bind_only_its_own_values() -> None:
    check = checker(
        profile(
            P,
            "Patient",
            sliced("Patient.identifier", "value system"),
            element("Patient.identifier:a"),
            element("Patient.identifier:a.system", fixedUri=SYSTEM_A),
            element("Patient.identifier:a.use", fixedCode="official"),
        )
    )
    assert (
        check(patient(identifier=[{"system": SYSTEM_A, "use": "official"}, {"system": SYSTEM_B, "use": "old"}])) == []
    )
    faults = check(patient(identifier=[{"system": SYSTEM_B, "use": "old"}, {"system": SYSTEM_A, "use": "old"}]))
    assert places(faults) == [("value", "Patient.identifier[1].use")]


def test_rules_of_what_is_sliced_bind_all_values() -> None:
    made = by_system()
    made["differential"]["element"].insert(1, element("Patient.identifier.value", min=1))
    faults = checker(made)(patient(identifier=[{"system": SYSTEM_A}, {"system": "http://c"}]))
    assert places(faults) == [
        ("required", "Patient.identifier[0].value"),
        ("required", "Patient.identifier[1].value"),
    ]


def test_a_slice_may_be_sliced_again() -> None:
    check = checker(
        profile(
            P,
            "Patient",
            sliced("Patient.identifier", "value system"),
            sliced("Patient.identifier:a", "value use", rules="closed"),
            element("Patient.identifier:a.system", fixedUri=SYSTEM_A),
            element("Patient.identifier:a/old", max="1"),
            element("Patient.identifier:a/old.use", fixedCode="old"),
            element("Patient.identifier:a/official", min=1),
            element("Patient.identifier:a/official.use", fixedCode="official"),
        )
    )
    a = {"system": SYSTEM_A}
    good = [{**a, "use": "old"}, {"system": SYSTEM_B, "use": "temp"}, {**a, "use": "official"}]
    assert check(patient(identifier=good)) == []
    assert places(check(patient(identifier=[*good, {**a, "use": "old"}]))) == [("structure", "Patient.identifier[3]")]
    assert places(check(patient(identifier=[*good, {**a, "use": "temp"}]))) == [("structure", "Patient.identifier[3]")]
    assert places(check(patient(identifier=good[:2]))) == [("required", "Patient.identifier")]


def test_slicing_survives_values_of_the_wrong_kind() -> None:
    validator = ProfileValidator(catalog([by_system(a={"min": 1}, rules="closed")]))
    for wrong in (None, 1, "x", {}, [None], [1, "x"], [[{}]], [{"system": 1}], [{"system": [SYSTEM_A]}]):
        assert any(i.is_error for i in validator.validate(patient(identifier=wrong), P))
