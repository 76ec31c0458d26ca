"""Bindings of profiles: membership, what cannot be decided, strengths, and the types that can be bound."""

from __future__ import annotations

from typing import Any

import pytest
from profiling import CORE, URL, Fault, P, catalog, checker, code_system, element, places, profile, value_set

from fhirstore.validation.valuesets import ValueSets

Json = dict[str, Any]
S, V = "http://codes", URL + "vs"
COLOURS = code_system(
    S,
    {"code": "warm", "concept": [{"code": "red", "concept": [{"code": "crimson"}]}, {"code": "orange"}]},
    "blue",
)


def verdict(system: str | None, code: str, *resources: Json) -> object:
    return ValueSets(catalog(list(resources))).test(V)(system, code)


def filtered(op: str, value: str, property: str = "concept") -> Json:
    return {"system": S, "filter": [{"property": property, "op": op, "value": value}]}


@pytest.mark.parametrize(
    ("include", "inside", "outside"),
    [
        ({"system": S}, ["warm", "crimson", "blue"], ["green"]),
        ({"system": S, "concept": [{"code": "red"}]}, ["red"], ["blue"]),
        (filtered("is-a", "warm"), ["warm", "crimson"], ["blue"]),
        (filtered("descendent-of", "warm"), ["crimson"], ["warm", "blue"]),
        (filtered("is-not-a", "red"), ["orange", "blue"], ["red", "crimson"]),
        (filtered("regex", "b.*", "code"), ["blue"], ["red"]),
    ],
)
def test_includes(include: Json, inside: list[str], outside: list[str]) -> None:
    for code in inside:
        assert verdict(S, code, COLOURS, value_set(V, include)) is True
        assert verdict(None, code, COLOURS, value_set(V, include)) is True
        assert verdict("http://other", code, COLOURS, value_set(V, include)) is False
    for code in outside:
        assert verdict(S, code, COLOURS, value_set(V, include)) is False


def test_excludes_and_imports() -> None:
    warm = value_set(URL + "warm", filtered("is-a", "warm"))
    made = value_set(V, {"valueSet": [URL + "warm"]}, exclude=({"system": S, "concept": [{"code": "red"}]},))
    assert verdict(S, "crimson", COLOURS, warm, made) is True
    assert verdict(S, "red", COLOURS, warm, made) is False


def test_an_import_and_a_system_together_mean_both() -> None:
    warm = value_set(URL + "warm", filtered("is-a", "warm"))
    made = value_set(V, {**filtered("is-not-a", "red"), "valueSet": [URL + "warm"]})
    assert verdict(S, "orange", COLOURS, warm, made) is True
    assert verdict(S, "red", COLOURS, warm, made) is False
    assert verdict(S, "blue", COLOURS, warm, made) is False


def test_a_value_set_that_comes_expanded() -> None:
    contains = [{"system": S, "code": "a", "contains": [{"system": S, "code": "b"}]}]
    made = {"resourceType": "ValueSet", "url": V, "expansion": {"contains": contains}}
    assert verdict(S, "b", made) is True
    assert verdict(S, "c", made) is False


def test_case_counts_unless_the_system_says_otherwise() -> None:
    loose = code_system(S, "red", caseSensitive=False)
    assert verdict(S, "RED", loose, value_set(V, {"system": S})) is True
    assert verdict(S, "RED", COLOURS, value_set(V, {"system": S})) is False


def test_what_is_not_at_hand_is_named() -> None:
    assert verdict(S, "red") == f"the value set {V} is not at hand"
    assert verdict(S, "red", value_set(V, {"system": S})) == f"the code system {S} is not at hand"
    assert "imports itself" in str(verdict(S, "red", value_set(V, {"valueSet": [V]})))
    faulty = {"resourceType": "ValueSet", "url": V, "compose": {"include": [{"system": S, "concept": [1]}]}}
    assert "cannot be read" in str(verdict(S, "red", faulty))
    unknown_filter = value_set(V, filtered("=", "x", "hue"))
    assert "filter" in str(verdict(S, "red", COLOURS, unknown_filter))


def test_what_is_certain_all_the_same_is_decided() -> None:
    partly = code_system(S, "red", content="fragment")
    made = value_set(V, {"system": S}, {"system": "http://t", "concept": [{"code": "x"}]})
    assert verdict(S, "red", partly, made) is True
    assert verdict("http://t", "x", partly, made) is True
    assert verdict("http://t", "y", partly, made) is False
    assert verdict("http://u", "red", partly, made) is False
    assert f"{S} is at hand only as 'fragment'" in str(verdict(S, "blue", partly, made))


def test_what_is_excluded_is_out_whatever_is_at_hand() -> None:
    made = value_set(V, {"system": S}, exclude=({"system": S, "concept": [{"code": "red"}]},))
    assert verdict(S, "red", made) is False
    assert "not at hand" in str(verdict(S, "blue", made))


def test_the_complete_code_system_counts_whichever_package_it_is_in() -> None:
    empty = code_system(S, content="not-present")
    value_sets = ValueSets(catalog([empty, value_set(V, {"system": S})], [COLOURS]))
    assert value_sets.test(V)(S, "red") is True
    assert value_sets.test(V)(S, "green") is False


def test_value_sets_of_r4_itself() -> None:
    value_sets = ValueSets(catalog())
    gender = value_sets.test("http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1")
    assert gender(None, "male") is True
    assert gender("http://hl7.org/fhir/administrative-gender", "man") is False


# --- bindings of elements -----------------------------------------------------------------------------


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


@pytest.mark.parametrize("strength", ["preferred", "example"])
def test_weaker_bindings_are_silent(strength: str) -> None:
    made = bound(strength, "Patient.maritalStatus")
    other = {"resourceType": "Patient", "maritalStatus": {"coding": [{"system": S, "code": "blue"}]}}
    assert errors_and_warnings(made, other, RED_ONLY) == ([], [])


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
def test_what_is_not_at_hand_gives_a_warning_never_an_error(strength: str) -> None:
    made = bound(strength, "Patient.maritalStatus")
    resource = {"resourceType": "Patient", "maritalStatus": {"coding": [CODING]}}
    errors, warnings = errors_and_warnings(made, resource)
    assert (errors, places(warnings)) == ([], [("not-supported", "Patient.maritalStatus")])
    assert f"the value set {V} is not at hand" in warnings[0][2]
    _, warnings = errors_and_warnings(made, resource, value_set(V, {"system": S}))
    assert f"the code system {S} is not at hand" in warnings[0][2]


def test_text_alone_is_refused_where_a_code_is_required_unless_it_is_let_pass() -> None:
    made = bound("required", "Patient.maritalStatus")
    resource = {"resourceType": "Patient", "maritalStatus": {"text": "red"}}
    assert places(checker(made, RED_ONLY)(resource)) == [("code-invalid", "Patient.maritalStatus")]
    lenient = checker(made, RED_ONLY, uncoded="warning")
    assert lenient(resource) == []
    assert places(lenient(resource, severity="warning")) == [("code-invalid", "Patient.maritalStatus")]
    blue = {"resourceType": "Patient", "maritalStatus": {"coding": [{"system": S, "code": "blue"}]}}
    assert places(lenient(blue)) == [("code-invalid", "Patient.maritalStatus")]
