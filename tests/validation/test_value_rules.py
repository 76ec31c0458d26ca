"""Bindings of profiles: strengths, what cannot be decided, and the types that can be bound."""

from __future__ import annotations

from typing import Any

import pytest
from profiling import CORE, URL, Fault, P, checker, code_system, element, places, profile, value_set

from fhirstore.validation.value_rules import referenced_type

Json = dict[str, Any]
S, V = "http://codes", URL + "vs"
COLOURS = code_system(
    S,
    {"code": "warm", "concept": [{"code": "red", "concept": [{"code": "crimson"}]}, {"code": "orange"}]},
    "blue",
)


def bound(strength: str, path: str, type: str = "Patient", **more: Any) -> Json:
    return profile(P, type, element(path, binding={"strength": strength, "valueSet": V, **more}))


def errors_and_warnings(made: Json, resource: Json, *resources: Json) -> tuple[list[Fault], list[Fault]]:
    check = checker(made, *resources)
    return check(resource), check(resource, severity="warning")


RED_ONLY = value_set(V, {"system": S, "concept": [{"code": "red"}]})
CODING = {"system": S, "code": "red"}


@pytest.mark.parametrize(
    ("path", "good", "bad", "place"),
    [
        ("Patient.maritalStatus", {"maritalStatus": {"coding": [{"system": "x", "code": "y"}, CODING]}},
         {"maritalStatus": {"coding": [{"system": S, "code": "blue"}]}}, "Patient.maritalStatus"),
        ("Patient.meta.tag", {"meta": {"tag": [CODING]}}, {"meta": {"tag": [CODING, {"system": S, "code": "blue"}]}},
         "Patient.meta.tag[1]"),
        ("Patient.meta.tag", {"meta": {"tag": [CODING]}}, {"meta": {"tag": [{"system": "http://t", "code": "red"}]}},
         "Patient.meta.tag[0].system"),
        ("Patient.language", {"language": "red"}, {"language": "blue"}, "Patient.language"),
        ("Patient.name.given", {"name": [{"given": ["red"]}]}, {"name": [{"given": ["red", "blue"]}]},
         "Patient.name[0].given[1]"),
        ("Patient.identifier.system", {"identifier": [{"system": "red"}]}, {"identifier": [{"system": "blue"}]},
         "Patient.identifier[0].system"),
    ],
)  # fmt: skip
def test_a_required_binding(path: str, good: Json, bad: Json, place: str) -> None:
    made = bound("required", path)
    assert errors_and_warnings(made, {"resourceType": "Patient", **good}, RED_ONLY) == ([], [])
    errors, warnings = errors_and_warnings(made, {"resourceType": "Patient", **bad}, RED_ONLY)
    assert places(errors) == [("code-invalid", place)]
    assert warnings == []
    assert f"[binding of {path} in {P}]" in errors[0][2]


def test_a_quantity_is_bound_by_its_unit() -> None:
    made = profile(
        P,
        "Observation",
        element("Observation.value[x]", type=[{"code": "Quantity"}], binding={"strength": "required", "valueSet": V}),
    )
    start = {"resourceType": "Observation"}
    assert errors_and_warnings(made, {**start, "valueQuantity": {"value": 1, **CODING}}, RED_ONLY) == ([], [])
    errors, _ = errors_and_warnings(made, {**start, "valueQuantity": {"value": 1, "code": "kg"}}, RED_ONLY)
    assert places(errors) == [("code-invalid", "Observation.value")]


def test_an_extensible_binding_warns() -> None:
    made = bound("extensible", "Patient.maritalStatus")
    other = {"resourceType": "Patient", "maritalStatus": {"coding": [{"system": S, "code": "blue"}]}}
    errors, warnings = errors_and_warnings(made, other, RED_ONLY)
    assert (errors, places(warnings)) == ([], [("code-invalid", "Patient.maritalStatus")])
    text = {"resourceType": "Patient", "maritalStatus": {"text": "blue"}}
    assert errors_and_warnings(made, text, RED_ONLY) == ([], [])


def test_a_preferred_binding_informs_and_warns_of_what_is_not_available() -> None:
    other = {"resourceType": "Patient", "maritalStatus": {"coding": [{"system": S, "code": "blue"}]}}
    check = checker(bound("preferred", "Patient.maritalStatus"), RED_ONLY)
    assert (check(other), check(other, severity="warning")) == ([], [])
    ((code, place, text),) = check(other, severity="information")
    assert (code, place) == ("code-invalid", "Patient.maritalStatus")
    assert "is not in the preferred value set" in text
    assert check({"resourceType": "Patient", "maritalStatus": {"text": "blue"}}, severity="information") == []
    check = checker(bound("preferred", "Patient.maritalStatus"))
    assert check(other) == []
    ((code, place, text),) = check(other, severity="warning")
    assert (code, place) == ("not-supported", "Patient.maritalStatus")
    assert f"the value set {V} is unavailable" in text


def test_an_example_binding_is_silent() -> None:
    check = checker(bound("example", "Patient.maritalStatus"), RED_ONLY)
    other = {"resourceType": "Patient", "maritalStatus": {"coding": [{"system": S, "code": "blue"}]}}
    assert [check(other, severity=s) for s in ("error", "warning", "information")] == [[], [], []]


def test_a_maximum_value_set_is_required() -> None:
    limit = {"url": CORE + "elementdefinition-maxValueSet", "valueCanonical": URL + "wide"}
    made = bound("preferred", "Patient.maritalStatus", extension=[limit])
    wide = value_set(URL + "wide", {"system": S})
    blue = {"resourceType": "Patient", "maritalStatus": {"coding": [{"system": S, "code": "blue"}]}}
    green = {"resourceType": "Patient", "maritalStatus": {"coding": [{"system": S, "code": "green"}]}}
    assert errors_and_warnings(made, blue, RED_ONLY, wide, COLOURS) == ([], [])
    assert places(errors_and_warnings(made, green, RED_ONLY, wide, COLOURS)[0]) == [
        ("code-invalid", "Patient.maritalStatus")
    ]


@pytest.mark.parametrize("strength", ["required", "extensible"])
def test_what_is_not_available_gives_a_warning_never_an_error(strength: str) -> None:
    made = bound(strength, "Patient.maritalStatus")
    resource = {"resourceType": "Patient", "maritalStatus": {"coding": [CODING]}}
    errors, warnings = errors_and_warnings(made, resource)
    assert (errors, places(warnings)) == ([], [("not-supported", "Patient.maritalStatus")])
    assert f"the value set {V} is unavailable" in warnings[0][2]
    _, warnings = errors_and_warnings(made, resource, value_set(V, {"system": S}))
    assert f"the code system {S} is unavailable" in warnings[0][2]


def test_text_alone_is_refused_where_a_code_is_required_unless_it_is_let_pass() -> None:
    made = bound("required", "Patient.maritalStatus")
    resource = {"resourceType": "Patient", "maritalStatus": {"text": "red"}}
    assert places(checker(made, RED_ONLY)(resource)) == [("code-invalid", "Patient.maritalStatus")]
    lenient = checker(made, RED_ONLY, text_only_severity="warning")
    assert lenient(resource) == []
    assert places(lenient(resource, severity="warning")) == [("code-invalid", "Patient.maritalStatus")]
    blue = {"resourceType": "Patient", "maritalStatus": {"coding": [{"system": S, "code": "blue"}]}}
    assert places(lenient(blue)) == [("code-invalid", "Patient.maritalStatus")]


@pytest.mark.parametrize("severity", ["error", "warning"])
def test_a_coding_with_a_system_and_without_a_code_is_refused(severity: str) -> None:
    check = checker(
        profile(P, "Observation", element("Observation.code", binding={"strength": "required", "valueSet": V})),
        COLOURS,
        value_set(V, {"system": S}),
        text_only_severity=severity,
    )
    observation = {"resourceType": "Observation", "status": "final"}

    for coding in ({"system": S}, {"system": "http://other", "display": "Red"}):
        assert places(check(observation | {"code": {"coding": [coding], "text": "red"}})) == [
            ("code-invalid", "Observation.code")
        ]
    assert places(check(observation | {"code": {"coding": [{"display": "Red"}]}})) == (
        [("code-invalid", "Observation.code")] if severity == "error" else []
    )


def test_an_extension_is_no_code_where_a_profile_requires_a_value_set() -> None:
    absent = {"extension": [{"url": f"{CORE}data-absent-reason", "valueCode": "unknown"}]}
    required = {"strength": "required", "valueSet": V}
    check = checker(
        profile(
            P,
            "Patient",
            element("Patient.language", binding=required),
            element("Patient.address.state", binding=required),
            element("Patient.name.given", binding=required),
        ),
        COLOURS,
        value_set(V, {"system": S}),
    )

    found = check(
        {
            "resourceType": "Patient",
            "_language": absent,
            "address": [{"_state": absent}, {"state": "red", "_state": absent}],
            "name": [{"given": ["red", None, None], "_given": [absent, absent, None]}],
        }
    )

    assert places(found) == [
        ("code-invalid", "Patient.language"),
        ("code-invalid", "Patient.name[0].given[1]"),
        ("code-invalid", "Patient.address[0].state"),
    ]


@pytest.mark.parametrize(
    ("text", "type"),
    [
        ("http://x" + "/Aa?" * 250_000 + " ", None),
        ("http://x" + "/Aa/b/_history/" * 70_000 + "?", None),
        ("http://x" + "/A" * 500_000, None),
        ("http://x/fhir/Patient?identifier=http://y/Organization/1", "Patient"),
        ("http://x/fhir/Patient/1/_history/2", "Patient"),
    ],
)
def test_the_type_of_a_long_reference_is_found_in_linear_time(text: str, type: str | None) -> None:
    """A pattern that tries each slash and reads the rest from there takes minutes."""
    assert referenced_type({"reference": text}) == type
