"""Independent tools: another validator of R4, and resources from a generator of synthetic patients.

SYNTHETIC_RESOURCES in the environment says how many resources (2 000, or 10 000 in `make test-deep`).

Both come with `pip install -e '.[judges]'`; without them these tests are skipped. (fhir.resources has its own file.)

fhirkit-rs 0.1.0 checks properties, JSON types, cardinality, choices and the syntax of primitives. Explained
differences: it knows no `_id` of resources, which https://hl7.org/fhir/R4/json.html#primitive allows, and it does not
look at what MISSED lists; profiles, bindings, references and invariants are beyond it. All that it refuses is refused
here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from generate import Generator
from support.sizes import size
from test_generated import MUTATIONS, TYPES, faulty
from test_structure import FAULTS

from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import Definitions, load
from fhirstore.errors import Issue
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.validation.validator import ResourceValidator, claimed_profiles

Validate = Callable[[Any], list[Issue]]

SYNTHETIC = size("SYNTHETIC_RESOURCES", quick=2000, deep=10_000)

# faults of R4 in `test_structure` that the other validator lets pass, and what it would have to check
MISSED = {
    "fhir_comments": "it drops the comments of earlier versions",
    "empty object": "ele-1",
    "id without children": "ele-1",
    "extension without value": "ext-1",
    "extension with value and extensions": "ext-1",
    "bad id": "the syntax of ids",
    "long id": "the syntax of ids",
    "impossible date": "the calendar",
    "bad required code": "required bindings",
    "bad required code, near": "required bindings",
    "bad required code deep inside": "required bindings",
    "bad required code in a Bundle": "required bindings",
    "bad required code in Parameters": "required bindings",
    "bad required code in a contained resource": "required bindings",
    "contained in contained": "the rules of contained resources",
    "contained without id": "the rules of contained resources",
    "contained ids alike": "the rules of contained resources",
}


@pytest.fixture(scope="module")
def refused() -> Callable[[Any], bool]:
    """Whether fhirkit finds an error."""
    fhirkit = pytest.importorskip("fhirkit", reason="the judges are not installed: pip install -e '.[judges]'")

    def judge(resource: Any) -> bool:
        try:
            issues = fhirkit.validate(json.dumps(resource, default=float))
        except ValueError:
            return True
        return any(i.severity == "error" for i in issues)

    return judge


@pytest.mark.parametrize("resource_type", TYPES)
def test_the_other_validator_accepts_what_the_generator_makes(
    resource_type: str, core: Definitions, refused: Callable[[Any], bool]
) -> None:
    maximal = Generator(core).maximal(resource_type)
    maximal.pop("_id", None)
    assert not refused(Generator(core).minimal(resource_type))
    assert not refused(maximal)


@pytest.mark.parametrize("resource_type", TYPES)
def test_all_that_the_other_validator_refuses_is_refused(
    resource_type: str, core: Definitions, validate: Validate, refused: Callable[[Any], bool]
) -> None:
    for mutate in MUTATIONS:
        for resource, where in faulty(resource_type, mutate, core):
            resource.pop("_id", None)
            if refused(resource):
                assert any(i.is_error for i in validate(resource)), where


def test_the_faults_that_only_this_validator_finds_are_explained(refused: Callable[[Any], bool]) -> None:
    assert {name for name, (resource, *_) in FAULTS.items() if not refused(resource)} == set(MISSED)


def cohort(size: int) -> Iterator[dict[str, Any]]:
    """So many resources at least: transactions of patients with their conditions, laboratory and treatment, then the
    resources in them."""
    carebundle = pytest.importorskip("carebundle", reason="the judges are not installed: pip install -e '.[judges]'")
    made = 0
    for seed in range(100):
        bundles = carebundle.generate_cohort(count=20, seed=seed)
        bundles += [carebundle.generate_history(profile=profile, seed=seed) for profile in carebundle.PROFILES]
        for bundle in (json.loads(carebundle.to_json(b)) for b in bundles):
            yield bundle
            yield from (entry["resource"] for entry in bundle["entry"])
            made += 1 + len(bundle["entry"])
            if made >= size:
                return


def test_synthetic_resources_have_no_error() -> None:
    validator, seen = ResourceValidator(Catalog(load())), 0
    for resource in cohort(SYNTHETIC):
        requirements = [ProfileRequirement(profile, "claimed", "warn") for profile in claimed_profiles(resource)]
        assert [i for i in validator.validate(resource, requirements) if i.is_error] == []
        seen += 1
    assert seen >= SYNTHETIC
