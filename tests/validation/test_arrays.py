"""https://hl7.org/fhir/R4/json.html#primitive: null, `_name` siblings and what they must not be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Faults = Callable[[Any], list[tuple[str, str, str]]]

EXTENDED = {"extension": [{"url": "http://example.org/e", "valueCode": "c"}]}
WITH_ID = {"id": "a"}


def patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **more}


def named(**name: Any) -> dict[str, Any]:
    return patient(name=[name])


@pytest.mark.parametrize(
    "resource",
    [
        patient(birthDate="2000", _birthDate=EXTENDED),
        patient(_birthDate=EXTENDED),
        patient(birthDate="2000", _birthDate=WITH_ID),
        patient(_birthDate=EXTENDED | WITH_ID),
        patient(id="1", _id=EXTENDED),
        patient(_deceasedBoolean=EXTENDED),
        patient(deceasedBoolean=False, _deceasedBoolean=EXTENDED),
        named(given=["A", "B"], _given=[None, EXTENDED]),
        named(given=["A", None], _given=[None, EXTENDED]),
        named(given=["A", None], _given=[WITH_ID, EXTENDED]),
        named(given=["A"], _given=[None]),
        named(_given=[EXTENDED]),
        {"resourceType": "Basic", "code": {"coding": [{"_code": EXTENDED}]}},
        {
            "resourceType": "Slot",
            "schedule": {"display": "s"},
            "status": "free",
            "_status": EXTENDED,
            "_start": EXTENDED,
            "_end": EXTENDED,
        },
    ],
)
def test_primitive_with_value_or_extension_is_accepted(resource: Any, faults: Faults) -> None:
    assert faults(resource) == []


@pytest.mark.parametrize(
    ("resource", "code", "expression", "word"),
    [
        (patient(_birthDate=WITH_ID), "structure", "Patient.birthDate", "neither a value nor an extension"),
        (patient(_birthDate={}), "structure", "Patient.birthDate", "object is empty"),
        (patient(_birthDate=None), "structure", "Patient.birthDate", "null"),
        (patient(_birthDate="x"), "structure", "Patient.birthDate", "an object with the id and the extensions"),
        (patient(_birthDate=[EXTENDED]), "structure", "Patient.birthDate", "found an array"),
        (patient(birthDate=None, _birthDate=EXTENDED), "structure", "Patient.birthDate", "null"),
        (patient(birthDate="2000", _birthDate={"value": "2001"}), "structure", "Patient.birthDate.value", "not a prop"),
        (
            patient(birthDate="2000", _birthDate={"fhir_comments": ["a"]}),
            "structure",
            "Patient.birthDate.fhir_comments",
            "",
        ),
        (
            patient(birthDate="2000", _birthDate={"extension": [{"valueCode": "c"}]}),
            "required",
            "Patient.birthDate.extension[0].url",
            "missing",
        ),
        (patient(birthDate="2000", _birthDate={"extension": []}), "structure", "Patient.birthDate.extension", "empty"),
        (patient(_foo=EXTENDED), "structure", "Patient._foo", "not a property"),
        (patient(_name=[EXTENDED]), "structure", "Patient._name", "not primitive"),
        (patient(_contact=[EXTENDED]), "structure", "Patient._contact", "not primitive"),
        (patient(_resourceType=EXTENDED), "structure", "Patient._resourceType", "not a property"),
        (named(family="A", id="a", _id=EXTENDED), "structure", "Patient.name[0]._id", "has no id"),
        (
            patient(extension=[{"url": "http://a", "_url": EXTENDED, "valueCode": "c"}]),
            "structure",
            "Patient.extension[0]._url",
            "has no id",
        ),
        (patient(_deceasedBoolean=WITH_ID), "structure", "Patient.deceased", "neither"),
        (patient(_deceasedCode=EXTENDED), "structure", "Patient._deceasedCode", "deceasedBoolean"),
        (patient(_deceasedBoolean=EXTENDED, deceasedDateTime="2000"), "structure", "Patient.deceased", "only one"),
        (named(given=["A", None]), "structure", "Patient.name[0].given[1]", "null"),
        (named(given=[None], _given=[None]), "structure", "Patient.name[0].given[0]", "null"),
        (named(given=[None, "B"], _given=[WITH_ID, None]), "structure", "Patient.name[0].given[0]", "neither"),
        (named(given=[None, 7], _given=[EXTENDED, None]), "structure", "Patient.name[0].given[1]", "the number 7"),
        (named(given=["A"], _given=[{}]), "structure", "Patient.name[0].given[0]", "object is empty"),
        (named(given=["A"], _given=["x"]), "structure", "Patient.name[0].given[0]", "an object with the id"),
        (named(given=["A"], _given=EXTENDED), "structure", "Patient.name[0].given", "an array"),
        (named(given=["A"], _given=[]), "structure", "Patient.name[0].given", "empty"),
        (named(given=["A", "B"], _given=[EXTENDED]), "structure", "Patient.name[0].given", "2 values, but 1"),
        (named(given=["A"], _given=[EXTENDED, EXTENDED]), "structure", "Patient.name[0].given", "1 values, but 2"),
        (named(_given=[None, EXTENDED]), "structure", "Patient.name[0].given[0]", "null without a value"),
        (named(given=[], _given=[EXTENDED]), "structure", "Patient.name[0].given", "the array is empty"),
        (named(given="A", _given=[EXTENDED]), "structure", "Patient.name[0].given", "an array"),
    ],
)
def test_fault_of_a_primitive_is_found(resource: Any, code: str, expression: str, word: str, faults: Faults) -> None:
    found = faults(resource)

    assert (code, expression) in [(c, e) for c, e, _ in found]
    assert {e for _, e, _ in found} == {expression}
    assert any(word in text for _, _, text in found)


def test_required_primitive_without_value_or_extension_is_missing(faults: Faults) -> None:
    assert ("required", "Patient.link[0].type") in [
        (c, e) for c, e, _ in faults(patient(link=[{"other": {"display": "a"}}]))
    ]
    slot = {"resourceType": "Slot", "schedule": {"display": "a"}, "status": "free"}
    assert faults(slot | {"_start": EXTENDED, "_end": EXTENDED}) == []


def test_nulls_beyond_the_report_do_not_hide_an_error(faults: Faults) -> None:
    count = 300
    given: list[Any] = [None] * count + ["\x00"]

    found = faults(named(given=given, _given=[EXTENDED] * count + [None]))

    assert [e for _, e, _ in found] == [f"Patient.name[0].given[{count}]"]
