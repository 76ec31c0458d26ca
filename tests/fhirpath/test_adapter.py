"""Expressions beyond the fast search paths: compiled in general, or evaluated by the adapter of fhirpathpy."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest

from fhirstore.definitions.core import load
from fhirstore.fhirpath.search_expressions import compile_search_expression

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p1",
    "birthDate": "1970-01-01",
    "_birthDate": {"extension": [{"url": "t", "valueDateTime": "1970-01-01T10:00:00Z"}]},
    "name": [{"family": "A", "given": ["x", None], "_given": [None, {"extension": [{"url": "n"}]}]}],
    "contact": [{"name": {"family": "C"}}],
    "extension": [{"url": "d", "valueDecimal": Decimal("1.50")}],
    "managingOrganization": {"reference": "#o"},
    "generalPractitioner": [{"reference": "Practitioner/1"}],
    "contained": [{"resourceType": "Organization", "id": "o", "name": "N"}],
}


@pytest.mark.parametrize(
    ("expression", "expected", "type"),
    [
        ("Patient.name.select(family)", [("string", "A")], "string"),
        ("Patient.name.where(family.startsWith('A')).given", [("string", "x")], "string"),
        ("Patient.contact.skip(0)", [("Patient.contact", {"name": {"family": "C"}})], "Patient.contact"),
        (
            "Patient.generalPractitioner.where(resolve().exists())",
            [("Reference", {"reference": "Practitioner/1"})],
            "Reference",
        ),
        ("Patient.name.count()", [("integer", 1)], "integer"),
        ("Patient.birthDate < @1980-01-01", [("boolean", True)], "boolean"),
        ("Resource.id.substring(0, 1)", [("string", "p")], "string"),
        ("Patient.name.trace('Resource.id').family", [("string", "A")], "string"),
        ("Patient.name.where(%resource.id.startsWith('p')).family", [("string", "A")], "string"),
        ("Patient.contained.where(name.startsWith('N')).id", [("id", "o")], "id"),
    ],
)
def test_other_expressions_are_compiled_if_their_values_have_one_type(
    expression: str, expected: list[tuple[str, Any]], type: str
) -> None:
    made = compile_search_expression(load(), "Patient", expression)
    assert made.extract(PATIENT) == expected
    assert (made.native, made.types) == (True, frozenset({type}))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("Patient.birthDate.extension.where(url = 't').value", [("dateTime", "1970-01-01T10:00:00Z")]),
        ("Patient.descendants().where($this is HumanName).family", [("string", "A"), ("string", "C")]),
        ("Patient.contained.name", [("string", "N")]),
        ("Patient.managingOrganization.resolve().name", [("string", "N")]),
        ("Patient.extension.value + 1", [("decimal", Decimal("2.50"))]),
        ("Patient.link.other.resolve()", []),
    ],
)
def test_expressions_whose_values_have_no_type_are_evaluated_by_fhirpathpy(
    expression: str, expected: list[tuple[str, Any]]
) -> None:
    made = compile_search_expression(load(), "Patient", expression)
    assert made.extract(PATIENT) == expected
    assert (made.native, made.single, made.types) == (False, False, frozenset())


@pytest.mark.parametrize("function", ["matches('(a+)+b')", "replaceMatches('(a+)+b', 'c')"])
@pytest.mark.parametrize("path", ["Patient.name.family", "Patient.descendants().where($this is HumanName).family"])
def test_patterns_take_linear_time(path: str, function: str) -> None:
    """With `re`, this pattern does not end on this name. The second path is evaluated by fhirpathpy."""
    patient = {"resourceType": "Patient", "name": [{"family": "a" * 2_000}]}
    made = compile_search_expression(load(), "Patient", f"{path}.{function}")
    assert made.native is (path == "Patient.name.family")
    assert [value for _, value in made.extract(patient)] == ["a" * 2_000 if "replace" in function else False]


def test_a_pattern_that_needs_backtracking_is_refused() -> None:
    with pytest.raises(ValueError, match="Use the syntax of RE2"):
        compile_search_expression(load(), "Patient", r"Patient.name.family.matches('(.)\\1')")


def test_the_branches_of_a_union_are_evaluated_each_in_its_way() -> None:
    expression = "Patient.name.select(family) | Patient.birthDate | Patient.contained.name | Slot.start.skip(1)"
    made = compile_search_expression(load(), "Patient", expression)
    assert made.extract(PATIENT) == [("string", "A"), ("date", "1970-01-01"), ("string", "N")]
    assert not made.native


def test_an_expression_relative_to_a_data_type() -> None:
    made = compile_search_expression(load(), "HumanName", "given.combine(family)")
    assert made.extract({"family": "A", "given": ["x"]}) == [("string", "x"), ("string", "A")]


def test_a_resource_on_which_the_expression_fails_has_no_values() -> None:
    made = compile_search_expression(load(), "Patient", "Patient.name.family.substring(1)")
    assert made.extract({"resourceType": "Patient", "name": [{"family": "ab"}]}) == [("string", "b")]
    assert made.extract({"resourceType": "Patient", "name": [{"family": "ab"}, {"family": "cd"}]}) == []


def test_the_resource_is_left_as_it_was() -> None:
    before = repr(PATIENT)
    compile_search_expression(load(), "Patient", "Patient.descendants()").extract(PATIENT)
    assert repr(PATIENT) == before


def test_a_function_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"there is no function frist\(\)"):
        compile_search_expression(load(), "Patient", "Patient.name.where(given.frist() = 'x')")


def test_fhirpathpy_is_loaded_only_when_an_expression_needs_it() -> None:
    code = """if True:
        import sys
        from fhirstore.definitions.core import load
        from fhirstore.fhirpath.search_expressions import compile_search_expression
        compile_search_expression(load(), "Slot", "Slot.start")
        compile_search_expression(load(), "Slot", "Slot.start.skip(1)")
        assert "fhirpathpy" not in sys.modules
        compile_search_expression(load(), "Slot", "Slot.extension.value.skip(1)")
        assert "fhirpathpy" in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)
