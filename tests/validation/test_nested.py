"""Resources inside of a resource, and the profiles that they claim."""

from __future__ import annotations

from typing import Any

import pytest
from profiling import URL, P, catalog, element, profile

from fhirstore.model.profiles import ProfileRequirement
from fhirstore.validation.nested import nested_resources
from fhirstore.validation.validator import NestedRequirements, ProfileValidator, ResourceValidator, claimed_profiles

BORN = {"resourceType": "Patient", "birthDate": "2000"}
UNBORN = {"resourceType": "Patient", "id": "u", "meta": {"profile": [P]}, "gender": "male"}
OBSERVATION = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": "#u"}}


def bundle(*resources: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in resources]}


def inner(resource: Any, policy: str | None = None) -> list[NestedRequirements]:
    found = (
        (w, [ProfileRequirement(p, "claimed", policy) for p in claimed_profiles(w.resource)])
        for w in nested_resources(resource)
    )
    return [(within, requirements) for within, requirements in found if requirements]


@pytest.fixture(scope="module")
def validator() -> ResourceValidator:
    return ResourceValidator(catalog([profile(P, "Patient", element("Patient.birthDate", min=1))]))


@pytest.mark.parametrize(
    ("resource", "places"),
    [
        (BORN, []),
        (OBSERVATION | {"contained": [BORN, UNBORN]}, [".contained[0]", ".contained[1]"]),
        (
            bundle(BORN, OBSERVATION | {"contained": [UNBORN]}, bundle(BORN)),
            [
                ".entry[0].resource",
                ".entry[1].resource",
                ".entry[1].resource.contained[0]",
                ".entry[2].resource",
                ".entry[2].resource.entry[0].resource",
            ],
        ),
        (
            {"resourceType": "Bundle", "entry": [{"response": {"outcome": {"resourceType": "OperationOutcome"}}}]},
            [".entry[0].response.outcome"],
        ),
        (
            {
                "resourceType": "Parameters",
                "parameter": [
                    {"name": "a", "resource": BORN},
                    {"name": "b", "part": [{"name": "c"}, {"name": "d", "resource": BORN}]},
                ],
            },
            [".parameter[0].resource", ".parameter[1].part[1].resource"],
        ),
        ({"resourceType": "Bundle", "entry": {"resource": BORN}, "contained": "x"}, []),
        ({"resourceType": "Bundle", "entry": [3, {"resource": "x", "response": []}]}, []),
        ([BORN], []),
    ],
    ids=["none", "contained", "bundle", "outcome", "parameters", "no arrays", "no objects", "no resource"],
)
def test_all_resources_inside_are_found_with_their_place(resource: Any, places: list[str]) -> None:
    assert [within.path for within in nested_resources(resource)] == places


@pytest.mark.parametrize(
    ("resource", "where"),
    [
        (bundle(BORN, UNBORN), "Bundle.entry[1].resource.birthDate"),
        (OBSERVATION | {"contained": [UNBORN]}, "Observation.contained[0].birthDate"),
        (
            bundle(OBSERVATION | {"contained": [UNBORN]}),
            "Bundle.entry[0].resource.contained[0].birthDate",
        ),
    ],
    ids=["entry", "contained", "contained in an entry"],
)
def test_a_claim_inside_is_validated_at_its_path(validator: ResourceValidator, resource: Any, where: str) -> None:
    (issue,) = validator.validate(resource, [], inner(resource))
    assert (issue.severity, issue.code, issue.expression) == ("error", "required", (where,))
    assert issue.diagnostics.startswith(where + ": ")


def test_policies_hold_inside_too(validator: ResourceValidator) -> None:
    resource = bundle(UNBORN)
    assert [i.severity for i in validator.validate(resource, [], inner(resource, "warn"))] == ["warning"]
    assert validator.validate(resource, [], inner(resource, "off")) == []


def test_a_claim_inside_that_is_not_known_is_named(validator: ResourceValidator) -> None:
    resource = bundle(UNBORN | {"meta": {"profile": ["http://example.org/none"]}})
    (issue,) = validator.validate(resource, [], inner(resource, "warn"))
    assert (issue.severity, issue.code) == ("warning", "not-found")
    assert issue.expression == ("Bundle.entry[0].resource.meta.profile",)


def test_references_of_an_entry_are_looked_for_in_the_bundle() -> None:
    """A reference target inside of the Bundle must conform; alone, the entry could not know it."""
    target = {"type": [{"code": "Reference", "targetProfile": [P]}]}
    observed = profile(URL + "observed", "Observation", element("Observation.subject", **target))
    validator = ResourceValidator(catalog([profile(P, "Patient", element("Patient.birthDate", min=1)), observed]))
    subject = {"subject": {"reference": "Patient/u"}, "meta": {"profile": [URL + "observed"]}}
    resource = bundle(OBSERVATION | subject, {"resourceType": "Patient", "id": "u"})
    (issue,) = validator.validate(resource, [], inner(resource))
    assert issue.expression == ("Bundle.entry[0].resource.subject",)
    assert "does not conform" in issue.diagnostics


def test_an_issue_of_the_outer_profile_is_not_repeated() -> None:
    entries = element("Bundle.entry.resource", type=[{"code": "Patient", "profile": [P]}])
    whole = profile(URL + "whole", "Bundle", entries)
    validator = ResourceValidator(catalog([profile(P, "Patient", element("Patient.birthDate", min=1)), whole]))
    resource = bundle(UNBORN)
    assert len(validator.validate(resource, [ProfileRequirement(URL + "whole")], inner(resource))) == 1


@pytest.mark.parametrize(
    ("of_whole", "validated"),
    [("warning", ["whole"]), ("error", ["whole", "p"])],
    ids=["known to conform", "validated more strictly now"],
)
def test_what_has_been_found_to_conform_is_not_validated_again(
    monkeypatch: pytest.MonkeyPatch, of_whole: str, validated: list[str]
) -> None:
    entries = element("Bundle.entry.resource", type=[{"code": "Patient", "profile": [P]}])
    whole = profile(URL + "whole", "Bundle", entries)
    validator = ResourceValidator(catalog([profile(P, "Patient", element("Patient.birthDate", min=1)), whole]))
    resource = bundle(BORN | {"meta": {"profile": [P]}})
    within = [(one, [ProfileRequirement(P, "claimed", text_only_severity="warning")]) for one, _ in inner(resource)]
    seen: list[str] = []
    report = ProfileValidator._report

    def spy(self: ProfileValidator, check: Any, profile: str, root: str) -> Any:
        seen.append(profile.removeprefix(URL))
        return report(self, check, profile, root)

    monkeypatch.setattr(ProfileValidator, "_report", spy)
    assert validator.validate(resource, [ProfileRequirement(URL + "whole", text_only_severity=of_whole)], within) == []
    assert seen == validated
