"""https://hl7.org/fhir/R4/codesystem.html#properties: what concepts say with properties, and what is declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fhirstore.errors import Issue

Json = dict[str, Any]
Validate = Callable[[Any], list[Issue]]
STANDARD = "http://hl7.org/fhir/concept-properties#"


def declared(code: str, type: str, uri: str | None = None) -> Json:
    return {"code": code, "type": type} | ({"uri": uri} if uri else {})


def code_system(*properties: Json, concept: Json | None = None, **more: Any) -> Json:
    """A code system with the concepts a and b, and one with properties below a."""
    concepts: list[Json] = [{"code": "a"}, {"code": "b"}]
    if concept is not None:
        concepts[0]["concept"] = [{"code": "c", "property": [concept]}]
    out: Json = {"resourceType": "CodeSystem", "status": "active", "content": "complete", "concept": concepts, **more}
    return out | ({"property": list(properties)} if properties else {})


def found(issues: list[Issue]) -> list[tuple[str, str, str]]:
    assert all(i.rule == "concept-property" for i in issues)
    return [(i.severity, i.code, i.expression[0]) for i in issues]


@pytest.mark.parametrize(
    ("type", "value"),
    [
        ("code", {"valueCode": "b"}),
        ("Coding", {"valueCoding": {"code": "x"}}),
        ("string", {"valueString": "x"}),
        ("integer", {"valueInteger": 1}),
        ("boolean", {"valueBoolean": True}),
        ("dateTime", {"valueDateTime": "2030"}),
        ("decimal", {"valueDecimal": 1.5}),
    ],
)
def test_a_declared_property_has_a_value_of_its_type(type: str, value: Json, validate: Validate) -> None:
    assert validate(code_system(declared("p", type), concept={"code": "p", **value})) == []

    other = {"valueString": "x"} if type != "string" else {"valueCode": "b"}
    assert found(validate(code_system(declared("p", type), concept={"code": "p", **other}))) == [
        ("error", "value", "CodeSystem.concept[0].concept[0].property[0]")
    ]


def test_a_property_that_is_not_declared_gives_a_warning(validate: Validate) -> None:
    for properties in ((), (declared("p", "string"),)):
        assert found(validate(code_system(*properties, concept={"code": "q", "valueString": "x"}))) == [
            ("warning", "not-found", "CodeSystem.concept[0].concept[0].property[0]")
        ]


@pytest.mark.parametrize(
    "concept", [{"code": "notSelectable", "valueBoolean": True}, {"code": "parent", "valueCode": "a"}]
)
def test_properties_of_r4_need_no_declaration(concept: Json, validate: Validate) -> None:
    assert validate(code_system(concept=concept)) == []


def test_a_code_is_one_of_the_code_system(validate: Validate) -> None:
    concept = {"code": "p", "valueCode": "z"}

    assert found(validate(code_system(declared("p", "code"), concept=concept))) == [
        ("warning", "code-invalid", "CodeSystem.concept[0].concept[0].property[0]")
    ]
    assert validate(code_system(declared("p", "code"), concept=concept, content="fragment")) == []


def test_a_property_is_declared_once(validate: Validate) -> None:
    uri = "http://example.org/p"
    issues = validate(code_system(declared("p", "string", uri), declared("p", "code"), declared("q", "string", uri)))

    assert found(issues) == [
        ("error", "duplicate", "CodeSystem.property[1]"),
        ("error", "duplicate", "CodeSystem.property[2]"),
    ]


def test_a_property_with_an_uri_of_r4_has_its_type(validate: Validate) -> None:
    assert validate(code_system(declared("abstract", "boolean", f"{STANDARD}notSelectable"))) == []
    assert found(validate(code_system(declared("abstract", "dateTime", f"{STANDARD}notSelectable")))) == [
        ("error", "value", "CodeSystem.property[0]")
    ]
    assert validate(code_system(declared("x", "string", f"{STANDARD}unheard"))) == []


def test_the_report_of_a_large_code_system_ends(validate: Validate) -> None:
    concepts = [{"code": str(n), "property": [{"code": "q", "valueString": "x"}]} for n in range(1000)]

    assert len(validate(code_system() | {"concept": concepts})) == 101
