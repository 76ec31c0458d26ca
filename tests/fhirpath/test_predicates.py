"""Predicates, and when an invariant counts as violated: docs/adr/0017-one-fhirpath-package.md."""

from __future__ import annotations

from typing import Any

import pytest

from fhirstore.definitions.core import Definitions
from fhirstore.fhirpath import evaluation
from fhirstore.fhirpath.evaluation import Environment
from fhirstore.fhirpath.predicates import compile_predicate, is_violated
from fhirstore.fhirpath.services import NoServices


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


class CountingServices(NoServices):
    """Counts the references that are resolved."""

    def __init__(self) -> None:
        self.resolved = 0

    def resolve(self, reference: Any) -> dict[str, Any] | None:
        self.resolved += 1
        return {"resourceType": "Organization", "name": "a"}


@pytest.mark.parametrize(
    "expression",
    [
        "name.all(%resource.managingOrganization.resolve().exists())",
        "name.where(given.exists(%context.managingOrganization.resolve().name = 'a')).exists()",
        "name.select(%resource.name.where(%resource.managingOrganization.resolve().name = family).family).empty()",
        "name.select(family in %rootResource.managingOrganization.resolve().name).allFalse()",
        "name.aggregate($total + %resource.managingOrganization.resolve().count(), 0) > 0",
        "name.repeat(%resource.managingOrganization.resolve().contained).empty()",
    ],
)
def test_what_does_not_depend_on_the_value_is_evaluated_once(expression: str, core: Definitions) -> None:
    """sdf-8a compares each element with the first one: without this, its time is quadratic."""
    services = CountingServices()
    names = [{"family": "b", "given": ["c", "d"]} for _ in range(20)]
    patient = {"resourceType": "Patient", "name": names, "managingOrganization": {"reference": "Organization/1"}}
    holds = compile_predicate(core, expression, "Patient")
    assert holds(patient, Environment(patient, patient, patient, services)) is True
    assert services.resolved == 1


def test_what_depends_on_the_value_is_evaluated_for_each(core: Definitions) -> None:
    services = CountingServices()
    contacts = [{"organization": {"reference": f"Organization/{n}"}} for n in range(20)]
    patient = {"resourceType": "Patient", "contact": contacts}
    for expression in (
        "contact.all(organization.resolve().exists())",
        "contact.all(%resource.contact[$index].organization.resolve().exists())",
        "contact.all($this.organization.resolve().exists())",
    ):
        services.resolved = 0
        holds = compile_predicate(core, expression, "Patient")
        assert holds(patient, Environment(patient, patient, patient, services)) is True
        assert services.resolved == 20


@pytest.mark.parametrize(
    "expression",
    [
        "contact.distinct().count() > 0",
        "contact.isDistinct()",
        "contact.intersect(%resource.contact).count() > 0",
        "contact.exclude(%resource.contact).empty()",
        "contact.subsetOf(%resource.contact)",
        "(contact | %resource.contact).exists()",
        "contact.repeat(name).exists()",
    ],
)
def test_objects_are_compared_in_linear_time(
    expression: str, core: Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each comparison of two objects costs time: their number must not be quadratic."""
    compared: list[int] = []
    equal = evaluation.equal
    monkeypatch.setattr(evaluation, "equal", lambda one, other: compared.append(1) or equal(one, other))
    patient = {"resourceType": "Patient", "contact": [{"name": {"text": str(n)}} for n in range(200)]}
    assert compile_predicate(core, expression, "Patient")(patient, environment(patient)) is True
    assert len(compared) <= 200


@pytest.mark.parametrize(
    ("expression", "refused"),
    [
        ("contact.aggregate($total & $total, 'abc').length()", True),
        ("contact.aggregate($total + $total, 'abc').length()", True),
        ("contact.aggregate($total.replace('a', 'aaaa'), 'a').length()", True),
        ("contact.aggregate($total.combine($total), 'a').count()", True),
        ("contact.aggregate($total * $total, 3)", False),
    ],
)
def test_a_result_does_not_grow_without_end(expression: str, refused: bool, core: Definitions) -> None:
    patient = {"resourceType": "Patient", "contact": [{}] * 40}
    holds = compile_predicate(core, expression, "Patient")
    if refused:
        with pytest.raises(ValueError, match=r"more than 1048576 characters|at most 1000000 values"):
            holds(patient, environment(patient))
    else:
        assert holds(patient, environment(patient)) is None
