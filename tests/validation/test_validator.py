"""One verdict of R4 and of profiles, by requirements; one object for all threads."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from profiling import URL, P, catalog, element, extension, profile, value_set

from fhirstore.errors import Issue
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.validation.validator import ResourceValidator, claimed_profiles, downgrade

BOUND = {"strength": "required", "valueSet": URL + "married"}
DEFINITIONS = [
    profile(P, "Patient", element("Patient.birthDate", min=1), element("Patient.maritalStatus", binding=BOUND)),
    value_set(URL + "married", {"system": "http://m", "concept": [{"code": "M"}]}),
    profile(URL + "faulty", "Patient", element("Patient.nothing", min=1)),
]
BORN = {"resourceType": "Patient", "birthDate": "2000"}
UNBORN = {"resourceType": "Patient", "gender": "man"}


def summaries(issues: list[Issue]) -> list[tuple[str, str, str]]:
    return [(i.severity, i.code, i.expression[0]) for i in issues]


@pytest.fixture
def validator() -> ResourceValidator:
    return ResourceValidator(catalog(DEFINITIONS))


GENDER = ("error", "code-invalid", "Patient.gender")


def test_the_structure_is_always_validated(validator: ResourceValidator) -> None:
    assert summaries(validator.validate(UNBORN, [])) == [GENDER]
    assert summaries(validator.validate(UNBORN, [ProfileRequirement(P, policy="off")])) == [GENDER]


@pytest.mark.parametrize(("policy", "severity"), [("enforce", "error"), (None, "error"), ("warn", "warning")])
def test_a_policy_says_what_the_faults_of_a_profile_are(
    validator: ResourceValidator, policy: str | None, severity: str
) -> None:
    found = summaries(validator.validate(UNBORN, [ProfileRequirement(P, policy=policy)]))
    assert found == [GENDER, (severity, "required", "Patient.birthDate")]


@pytest.mark.parametrize(
    ("text_only_severity", "severity"), [("error", "error"), (None, "error"), ("warning", "warning")]
)
def test_text_alone_has_the_severity_of_the_requirement(
    validator: ResourceValidator, text_only_severity: str | None, severity: str
) -> None:
    words = BORN | {"maritalStatus": {"text": "married"}}
    found = summaries(validator.validate(words, [ProfileRequirement(P, text_only_severity=text_only_severity)]))
    assert found == [(severity, "code-invalid", "Patient.maritalStatus")]


def test_two_requirements_report_an_error_once(validator: ResourceValidator) -> None:
    assert len(validator.validate(UNBORN, [ProfileRequirement(P), ProfileRequirement(P, "claimed")])) == 2


def test_an_extension_is_held_to_its_definition_without_any_profile() -> None:
    note = URL + "note"
    text = element("Extension.value[x]", min=1, type=[{"code": "string"}])
    validator = ResourceValidator(catalog([extension(note, text, context=("Patient",))]))
    noted = BORN | {"extension": [{"url": note, "valueString": "n"}]}
    wrong = BORN | {"extension": [{"url": note, "valueBoolean": True}]}
    assert validator.validate(noted, []) == []
    assert summaries(validator.validate(wrong, [])) == [("error", "structure", "Patient.extension[0].value")]
    elsewhere = {"resourceType": "Basic", "code": {"text": "c"}, "extension": noted["extension"]}
    assert summaries(validator.validate(elsewhere, [])) == [("error", "structure", "Basic.extension[0]")]


@pytest.mark.parametrize("source", ["claimed", "asked", "declared"])
def test_a_profile_that_is_not_known_is_named(validator: ResourceValidator, source: str) -> None:
    (found,) = validator.validate(BORN, [ProfileRequirement(URL + "gone", source)])
    assert (found.severity, found.code) == ("error", "not-found")
    assert URL + "gone" in found.diagnostics


def test_a_faulty_profile_is_an_issue_and_a_line_in_the_log(
    validator: ResourceValidator, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        validator.prepare([ProfileRequirement(URL + "faulty"), ProfileRequirement(P), ProfileRequirement(URL + "gone")])
    assert "test.json" in caplog.text
    (found,) = validator.validate(BORN, [ProfileRequirement(URL + "faulty")])
    assert (found.severity, found.code) == ("error", "exception")


def test_a_profile_of_a_data_type_is_no_profile_of_a_resource(validator: ResourceValidator) -> None:
    found = validator.validate(BORN, [ProfileRequirement("http://hl7.org/fhir/StructureDefinition/HumanName", "asked")])
    assert [i.is_error for i in found] == [True]


@pytest.mark.parametrize("resource", [None, [], "x", {}, {"resourceType": 1}, {"meta": 1}, {"meta": {"profile": [1]}}])
def test_what_is_no_resource_is_an_issue_and_claims_nothing(validator: ResourceValidator, resource: Any) -> None:
    assert claimed_profiles(resource) == []
    assert validator.validate(resource, [ProfileRequirement(P)])
    assert validator.structure.advise(resource) == []


def test_claims_are_read_once_each() -> None:
    assert claimed_profiles({"meta": {"profile": ["b", "a", "b", None]}}) == ["b", "a"]


def test_softening_leaves_all_but_errors() -> None:
    issues = [Issue("error", "value", "a"), Issue("information", "value", "b")]
    assert [i.severity for i in downgrade(issues)] == ["warning", "information"]


def test_threads_that_need_a_profile_at_once_get_the_same_verdict() -> None:
    for _ in range(5):
        fresh, start = ResourceValidator(catalog(DEFINITIONS)), Barrier(8)

        def validate(n: int, fresh: ResourceValidator = fresh, start: Barrier = start) -> list[Issue]:
            start.wait(timeout=30)
            return fresh.validate(UNBORN, [ProfileRequirement(P)])

        with ThreadPoolExecutor(8) as pool:
            verdicts = list(pool.map(validate, range(8)))
        assert all(v == verdicts[0] for v in verdicts)
        assert len(verdicts[0]) == 2
