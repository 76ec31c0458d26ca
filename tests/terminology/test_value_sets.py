"""Which codes are in a value set, and what cannot be told."""

from __future__ import annotations

from typing import Any

import pytest
from support.terms import catalog, code_system, value_set

from fhirstore.terminology.service import Terminology

Json = dict[str, Any]
URL = "http://example.org/ValueSet/"
S, V = "http://codes", URL + "vs"
COLOURS = code_system(
    S,
    {"code": "warm", "concept": [{"code": "red", "concept": [{"code": "crimson"}]}, {"code": "orange"}]},
    "blue",
)


def verdict(system: str | None, code: str, *resources: Json) -> object:
    return Terminology(catalog(list(resources))).current().value_set(V).membership(system, code)


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


def test_an_unavailable_resource_is_named() -> None:
    assert verdict(S, "red") == f"the value set {V} is unavailable"
    assert verdict(S, "red", value_set(V, {"system": S})) == f"the code system {S} is unavailable"
    assert "imports itself" in str(verdict(S, "red", value_set(V, {"valueSet": [V]})))
    faulty = {"resourceType": "ValueSet", "url": V, "compose": {"include": [{"system": S, "concept": [1]}]}}
    assert "is invalid" in str(verdict(S, "red", faulty))
    unknown_filter = value_set(V, filtered("=", "x", "hue"))
    assert "filter" in str(verdict(S, "red", COLOURS, unknown_filter))


def test_imports_whose_ways_multiply_are_cut() -> None:
    """Sixty floors, each of two value sets that both import the two below: 2 to the 60th ways lead down."""
    red = {"system": S, "concept": [{"code": "red"}]}
    below = [{"valueSet": [f"{URL}{side}0"]} for side in "ab"]
    made = [value_set(V, red, *below)]
    for n in range(60):
        below = [{"valueSet": [f"{URL}{side}{n + 1}"]} for side in "ab"]
        made += [value_set(f"{URL}{side}{n}", *below) for side in "ab"]
    made += [value_set(f"{URL}{side}60", red) for side in "ab"]
    assert verdict(S, "red", COLOURS, *made) is True
    assert "the limit of 1000 imports is exceeded" in str(verdict(S, "blue", COLOURS, *made))


def test_what_is_certain_all_the_same_is_decided() -> None:
    partly = code_system(S, "red", content="fragment")
    made = value_set(V, {"system": S}, {"system": "http://t", "concept": [{"code": "x"}]})
    assert verdict(S, "red", partly, made) is True
    assert verdict("http://t", "x", partly, made) is True
    assert verdict("http://t", "y", partly, made) is False
    assert verdict("http://u", "red", partly, made) is False
    assert f"{S} is incomplete (content: fragment)" in str(verdict(S, "blue", partly, made))


def test_what_is_excluded_is_not_in_the_value_set_if_the_system_is_unavailable() -> None:
    made = value_set(V, {"system": S}, exclude=({"system": S, "concept": [{"code": "red"}]},))
    assert verdict(S, "red", made) is False
    assert "is unavailable" in str(verdict(S, "blue", made))


def test_the_complete_code_system_counts_whichever_package_it_is_in() -> None:
    empty = code_system(S, content="not-present")
    members = Terminology(catalog([empty, value_set(V, {"system": S})], [COLOURS])).current().value_set(V)
    assert members.membership(S, "red") is True
    assert members.membership(S, "green") is False


def test_value_sets_of_r4_itself() -> None:
    gender = Terminology(catalog()).current().value_set("http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1")
    assert gender.membership(None, "male") is True
    assert gender.membership("http://hl7.org/fhir/administrative-gender", "man") is False
