"""Invariants of profiles: native and by fhirpathpy, with FHIR's own functions."""

from __future__ import annotations

from typing import Any

import pytest
from profiling import URL, P, checker, code_system, element, places, profile, value_set

Json = dict[str, Any]


def invariant(expression: str, key: str = "x-1", severity: str = "error") -> Json:
    return {"constraint": [{"key": key, "severity": severity, "human": "The rule.", "expression": expression}]}


def patient(**parts: Any) -> Json:
    return {"resourceType": "Patient", **parts}


@pytest.mark.parametrize(
    ("path", "expression", "good", "bad"),
    [
        ("Patient.identifier", "value.matches('^1[0-9]{3}$')", {"identifier": [{"value": "1234"}]},
         {"identifier": [{"value": "1234"}, {"value": "12345"}]}),
        ("Patient.identifier", "value.matches('^\\\\d+$')", {"identifier": [{"value": "1"}]},
         {"identifier": [{"value": "1"}, {"value": "d"}]}),
        ("Patient.identifier", "system.exists() implies value.exists()", {"identifier": [{"use": "old"}]},
         {"identifier": [{"use": "old"}, {"system": "http://s"}]}),
        ("Patient.identifier", "$this.value.hasValue()", {"identifier": [{"value": "1"}]},
         {"identifier": [{"value": "1"}, {"use": "old"}]}),
        ("Patient.identifier", "$this.where($this.use = 'old').exists() implies $this.value.exists()",
         {"identifier": [{"use": "usual"}]}, {"identifier": [{"use": "usual"}, {"use": "old"}]}),
        ("Patient.identifier", "%resource.active = true", {"active": True, "identifier": [{"value": "1"}] * 2},
         {"active": False, "identifier": [{"value": "1"}] * 2}),
    ],
)  # fmt: skip
def test_an_invariant_of_an_element(path: str, expression: str, good: Json, bad: Json) -> None:
    check = checker(profile(P, "Patient", element(path, **invariant(expression))))
    assert check(patient(**good)) == []
    faults = check(patient(**bad))
    assert ("invariant", f"{path}[1]") in places(faults)
    assert all(f"[constraint x-1 of {path} in {P}]" in text for *_, text in faults)


def test_an_invariant_without_a_value_to_evaluate_is_not_violated() -> None:
    check = checker(profile(P, "Patient", element("Patient.identifier", **invariant("value.matches('^1')"))))
    assert check(patient(identifier=[{"use": "old"}])) == []
    check = checker(profile(P, "Patient", element("Patient", **invariant("birthDate <= today()"))))
    assert check(patient()) == []


def test_an_invariant_that_requires_a_value_is_violated_without_it() -> None:
    check = checker(profile(P, "Patient", element("Patient", **invariant("active = true"))))
    assert places(check(patient())) == [("invariant", "Patient")]


def test_an_invariant_of_a_primitive() -> None:
    check = checker(profile(P, "Patient", element("Patient.birthDate", **invariant("$this <= today()"))))
    assert check(patient(birthDate="2000-01-01")) == []
    assert places(check(patient(birthDate="9000-01-01"))) == [("invariant", "Patient.birthDate")]


def test_an_invariant_of_the_resource() -> None:
    check = checker(profile(P, "Patient", element("Patient", **invariant("name.exists() or telecom.count() > 1"))))
    assert check(patient(name=[{"text": "A"}])) == []
    assert places(check(patient(telecom=[{"value": "1"}]))) == [("invariant", "Patient")]


def test_an_invariant_of_a_slice() -> None:
    check = checker(
        profile(
            P,
            "Patient",
            element("Patient.identifier", slicing={"discriminator": [{"type": "value", "path": "system"}]}),
            element("Patient.identifier:a", **invariant("value.length() = 3")),
            element("Patient.identifier:a.system", fixedUri="http://a"),
        )
    )
    a, b = {"system": "http://a", "value": "123"}, {"system": "http://b", "value": "1"}
    assert check(patient(identifier=[a, b])) == []
    assert places(check(patient(identifier=[b, {**a, "value": "1"}]))) == [("invariant", "Patient.identifier[1]")]


def test_a_best_practice_is_a_warning() -> None:
    check = checker(profile(P, "Patient", element("Patient", **invariant("name.exists()", severity="warning"))))
    assert check(patient()) == []
    assert places(check(patient(), severity="warning")) == [("invariant", "Patient")]


def test_resolve_and_conforms_to() -> None:
    check = checker(
        profile(P, "Patient", element("Patient.managingOrganization", **invariant(f"resolve().conformsTo('{URL}o')"))),
        profile(URL + "o", "Organization", element("Organization.name", min=1)),
    )

    def managed(**parts: Any) -> Json:
        inside = {"resourceType": "Organization", "id": "o", **parts}
        return patient(contained=[inside], managingOrganization={"reference": "#o"})

    assert check(managed(name="O")) == []
    assert places(check(managed(active=True))) == [("invariant", "Patient.managingOrganization")]


def test_member_of_decides_only_what_is_available() -> None:
    made = profile(P, "Patient", element("Patient.maritalStatus", **invariant(f"memberOf('{URL}vs')")))
    colours = [code_system("http://s", "red"), value_set(URL + "vs", {"system": "http://s"})]
    red, blue = ({"coding": [{"system": "http://s", "code": c}]} for c in ("red", "blue"))
    check = checker(made, *colours)
    assert check(patient(maritalStatus=red)) == []
    assert places(check(patient(maritalStatus=blue))) == [("invariant", "Patient.maritalStatus")]
    unsure = checker(made)
    assert unsure(patient(maritalStatus=red)) == []
    ((_, _, text),) = unsure(patient(maritalStatus=red), severity="warning")
    assert f"the value set {URL}vs is unavailable" in text


def test_an_invariant_that_fails_on_a_value_gives_a_warning() -> None:
    check = checker(profile(P, "Patient", element("Patient", **invariant("name.family.matches('x')"))))
    two = patient(name=[{"family": "A"}, {"family": "B"}])
    assert check(two) == []
    assert places(check(two, severity="warning")) == [("not-supported", "Patient")]


def test_an_invariant_that_cannot_be_read_is_named() -> None:
    check = checker(profile(P, "Patient", element("Patient.name", **invariant("family.exists( and", key="bad-1"))))
    ((code, _, text),) = check(patient(name=[{"text": "A"}]))
    assert code == "exception"
    assert "Patient.name: constraint bad-1" in text
    assert "family.exists( and" in text


def test_invariants_that_r4_states_are_not_evaluated_again() -> None:
    source = {"source": "http://hl7.org/fhir/StructureDefinition/Patient"}
    rule = invariant("false", key="pat-9")
    rule["constraint"][0] |= source
    own = invariant("false", key="ref-1")
    check = checker(profile(P, "Patient", element("Patient", **rule), element("Patient.generalPractitioner", **own)))
    assert check(patient(generalPractitioner=[{"display": "A"}])) == []
