"""Whatever stands in a resource, checking it with a profile ends, without an exception and with sensible issues."""

from __future__ import annotations

import copy
import random
from typing import Any

from profiling import P, catalog
from test_profile_faults import DEFINITIONS, GOOD, NOTE

from fhirstore.definitions.core import Definitions
from fhirstore.validation.validator import ProfileValidator

JUNK: list[Any] = [
    None, True, 0, -1, "", "x", "#o", "Organization/1", [], {}, [None], [{}], [[1]], {"coding": 3}, {"reference": []},
    {"extension": "x"}, {"resourceType": "Patient"}, {"resourceType": []}, [{"url": []}], {"url": NOTE}, {"system": {}},
]  # fmt: skip


def places(value: Any) -> list[tuple[Any, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in pairs for found in ((value, key), *places(item))]


def test_random_faults_give_issues_below_the_resource() -> None:
    rng = random.Random(20240)
    validator = ProfileValidator(catalog(DEFINITIONS))
    for _ in range(3000):
        resource = copy.deepcopy(GOOD)
        for _ in range(rng.randint(1, 3)):
            container, key = rng.choice(places(resource))
            container[key] = copy.deepcopy(rng.choice(JUNK))
        for issue in validator.validate(resource, P):
            assert issue.expression[0].startswith(str(resource.get("resourceType")))
            assert issue.code in {
                "structure",
                "required",
                "value",
                "code-invalid",
                "invariant",
                "too-long",
                "not-supported",
            }


def test_checking_changes_nothing_in_the_resource() -> None:
    resource = copy.deepcopy(GOOD)
    resource["identifier"].reverse()
    before = copy.deepcopy(resource)
    assert ProfileValidator(catalog(DEFINITIONS)).validate(resource, P)
    assert resource == before


def test_every_r4_type_compiles_as_a_profile(core: Definitions) -> None:
    validator = ProfileValidator(catalog())
    for name in sorted(core.resource_types):
        validator.compile(f"http://hl7.org/fhir/StructureDefinition/{name}")


def test_deep_nesting_is_refused_not_crashed_on() -> None:
    value: dict[str, Any] = {"url": "http://x"}
    for _ in range(20_000):
        value = {"url": "http://x", "extension": [value]}
    (issue,) = ProfileValidator(catalog(DEFINITIONS)).validate({**GOOD, "contact": [{"extension": [value]}]}, P)
    assert issue.code == "too-costly"


def test_many_faults_are_cut() -> None:
    resource = {**GOOD, "contact": [{"telecom": [{"value": "123456"}]}] * 500}
    issues = ProfileValidator(catalog(DEFINITIONS)).validate(resource, P)
    assert len(issues) == 101
    assert issues[-1].code == "incomplete"
