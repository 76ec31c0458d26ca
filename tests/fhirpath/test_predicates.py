"""Predicates, and when an invariant counts as violated: docs/adr/0017-one-fhirpath-package.md."""

from __future__ import annotations

from typing import Any

import pytest

from fhirstore.definitions.core import Definitions
from fhirstore.fhirpath.evaluation import Environment, NoServices
from fhirstore.fhirpath.predicates import compile_predicate, is_violated


def environment(value: Any) -> Environment:
    return Environment(value, value, value, NoServices())


@pytest.mark.parametrize(
    ("expression", "patient", "verdict"),
    [
        ("active", {"active": True}, True),
        ("active", {"active": False}, False),
        ("active", {}, None),
        ("birthDate", {"birthDate": "2000"}, True),
        ("descendants().where($this is HumanName).exists()", {"name": [{"text": "a"}]}, True),
        ("descendants().where($this is HumanName).text", {"name": []}, None),
    ],
)
def test_a_predicate_is_true_false_or_empty(
    expression: str, patient: dict[str, Any], verdict: bool | None, core: Definitions
) -> None:
    value = {"resourceType": "Patient", **patient}
    assert compile_predicate(core, expression, "Patient")(value, environment(value)) is verdict


@pytest.mark.parametrize(
    ("expression", "patient", "violated"),
    [
        ("active = true", {"active": False}, True),
        # a missing operand of =, is or in makes the test false
        ("active = true", {}, True),
        ("active = true or name.count() <= 1", {"name": [{}, {}]}, True),
        ("deceased is boolean", {}, True),
        ("gender in ('male' | 'female')", {}, True),
        ("active = true implies name.exists()", {}, False),
        ("deceased is boolean implies (deceased as boolean)", {}, False),
        # an empty collection gives the invariant nothing to evaluate
        ("birthDate <= today()", {}, False),
        ("birthDate.matches('^2')", {}, False),
        ("birthDate.matches('^2')", {"birthDate": "1999"}, True),
        ("birthDate < @2000-06", {"birthDate": "2000"}, False),
        ("active = contact.empty()", {}, True),
        ("name.family = contact.name.family", {}, False),
        ("gender != 'male'", {}, False),
    ],
)
def test_an_invariant_is_violated_only_if_it_has_a_value_to_evaluate(
    expression: str, patient: dict[str, Any], violated: bool, core: Definitions
) -> None:
    value = {"resourceType": "Patient", **patient}
    assert is_violated(compile_predicate(core, expression, "Patient"), value, environment(value)) is violated


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("name.frist()", r"there is no function frist\(\)"),
        ("name.exists( and", "is expected, found its end"),
        ("elementDefinition().exists()", r"elementDefinition\(\) is not supported"),
    ],
)
def test_an_invalid_expression_is_refused(expression: str, message: str, core: Definitions) -> None:
    with pytest.raises(ValueError, match=message):
        compile_predicate(core, expression, "Patient")
