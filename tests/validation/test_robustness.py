"""Whatever JSON comes in, issues come out: no exception, no endless work, nothing that could not be sent."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from generate import Generator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.sizes import size

from fhirstore.definitions.core import load
from fhirstore.errors import Issue, outcome
from fhirstore.formats.json import dumps
from fhirstore.validation.issue_list import MAX_ISSUES
from fhirstore.validation.structure import StructureValidator

Validate = Callable[[Any], list[Issue]]

VALIDATOR = StructureValidator(load())
TYPES = sorted(load().resource_types)

TEXTS = st.text(st.characters(), max_size=8) | st.sampled_from(["", "Patient/1", "#", "2024-02-30", "\ud800", "a b"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | TEXTS
KEYS = TEXTS | st.sampled_from(
    ["resourceType", "id", "_id", "url", "extension", "contained", "entry", "resource", "name", "_name", "valueString"]
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)

CASES = size("ROBUSTNESS_CASES", quick=100, deep=3000)
generously = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def assert_sendable(issues: list[Issue]) -> None:
    assert len(issues) <= MAX_ISSUES + 1
    assert json.loads(dumps(outcome(*issues)))["resourceType"] == "OperationOutcome"
    assert all(len(i.expression) == 1 for i in issues)


@generously
@given(JSON)
def test_any_json_gives_issues(value: Any) -> None:
    issues = VALIDATOR.validate(value)

    assert_sendable(issues)
    assert any(i.is_error for i in issues) or value["resourceType"] in TYPES


@generously
@given(st.sampled_from(TYPES), st.dictionaries(KEYS, JSON, max_size=6))
def test_any_properties_of_a_known_type_give_issues(resource_type: str, properties: dict[str, Any]) -> None:
    assert_sendable(VALIDATOR.validate({**properties, "resourceType": resource_type}))


@generously
@given(st.data())
def test_any_json_in_the_place_of_an_element_gives_issues(data: st.DataObject) -> None:
    resource_type = data.draw(st.sampled_from(TYPES))
    generator = Generator(load(), seed=2)
    resource = generator.maximal(resource_type, depth=1)
    place = data.draw(st.sampled_from(list(generator.places(resource))))
    place.parent[data.draw(st.sampled_from([place.key, "_" + place.key]))] = data.draw(JSON)

    assert_sendable(VALIDATOR.validate(resource))


def test_nesting_up_to_the_limit_of_the_codec_is_checked(validate: Validate) -> None:
    item: dict[str, Any] = {"linkId": "x", "type": "bad"}
    for _ in range(48):
        item = {"linkId": "x", "type": "group", "item": [item]}

    (issue,) = validate({"resourceType": "Questionnaire", "status": "draft", "item": [item]})

    assert issue.expression == ("Questionnaire" + ".item[0]" * 49 + ".type",)


@pytest.mark.parametrize("depth", [1_000, 20_000])
def test_nesting_beyond_all_measure_is_refused(depth: int, validate: Validate) -> None:
    item: dict[str, Any] = {"linkId": "x", "type": "group"}
    for _ in range(depth):
        item = {"linkId": "x", "type": "group", "item": [item]}

    (issue,) = validate({"resourceType": "Questionnaire", "status": "draft", "item": [item]})

    assert (issue.severity, issue.code) == ("error", "too-costly")
    assert "too deeply" in issue.diagnostics


def test_long_lists_are_checked_to_their_end(validate: Validate) -> None:
    names: list[Any] = [{"family": "A"}] * 50_000 + [{"family": 1}]

    (issue,) = validate({"resourceType": "Patient", "name": names})

    assert issue.expression == ("Patient.name[50000].family",)


def test_resource_is_not_changed(validate: Validate) -> None:
    resource = Generator(load(), seed=3).maximal("Patient")
    resource["foo"] = {"bar": [None]}
    before = copy.deepcopy(resource)

    validate(resource)

    assert resource == before
    assert list(resource) == list(before)
