"""https://hl7.org/fhir/R4/valueset-operation-expand.html, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.animals import ANIMALS, FR, LATIN, WHOLE, S, V, codes, value_set
from support.api import Api, issue

Json = dict[str, Any]
Call = Callable[..., Json]
Refused = Callable[..., tuple[int, str, str]]

EXPAND = "ValueSet/$expand"


@pytest.fixture(autouse=True)
def animals(api: Api) -> None:
    api.created(ANIMALS)
    api.created(WHOLE)


def test_a_code_system_is_nested_as_it_is(call: Call) -> None:
    found = call(EXPAND, url=V + "whole")
    assert codes(found) == ["mammal", "(", "cat", "(", "lynx", ")", "dodo", ")", "duck"]
    expansion = found["expansion"]
    assert expansion["total"] == 5
    assert expansion["identifier"].startswith("urn:uuid:")
    assert expansion["timestamp"].endswith("Z")
    assert {"name": "version", "valueUri": f"{S}|1.0"} in expansion["parameter"]
    mammal, duck = expansion["contains"]
    assert mammal["abstract"] is True
    assert mammal["contains"][1] == {"system": S, "inactive": True, "version": "1.0", "code": "dodo", "display": "Dodo"}
    assert duck == {"system": S, "version": "1.0", "code": "duck", "display": "Éider"}


def test_or_flat(call: Call) -> None:
    found = call(EXPAND, url=V + "whole", excludeNested=True)
    assert codes(found) == ["mammal", "cat", "lynx", "dodo", "duck"]
    assert {"name": "excludeNested", "valueBoolean": True} in found["expansion"]["parameter"]


def test_pages_are_flat_and_say_where_they_begin(call: Call) -> None:
    found = call(EXPAND, url=V + "whole", offset=1, count=2)
    assert codes(found) == ["cat", "lynx"]
    assert (found["expansion"]["total"], found["expansion"]["offset"]) == (5, 1)
    assert codes(call(EXPAND, url=V + "whole", offset=4, count=2)) == ["duck"]
    assert codes(call(EXPAND, url=V + "whole", offset=9, count=2)) == []


def test_a_count_of_zero_asks_how_many_there_are(call: Call) -> None:
    found = call(EXPAND, url=V + "whole", count=0)["expansion"]
    assert found["total"] == 5
    assert "contains" not in found


@pytest.mark.parametrize(
    ("filter", "expected"),
    [("LYN", ["lynx"]), ("eider", ["duck"]), ("chat", ["cat"]), ("felis cat", ["cat"]), ("cat dog", [])],
)
def test_a_filter_looks_for_all_words_in_code_display_and_designations(
    call: Call, filter: str, expected: list[str]
) -> None:
    assert codes(call(EXPAND, url=V + "whole", filter=filter)) == expected


def test_a_filtered_code_stands_below_its_nearest_ancestor_that_is_left(call: Call) -> None:
    set_of_two = value_set("two", {"system": S, "filter": [{"property": "code", "op": "in", "value": "mammal,lynx"}]})
    assert codes(call(EXPAND, valueSet=set_of_two)) == ["mammal", "(", "lynx", ")"]


def test_codes_that_are_listed_keep_their_order(call: Call) -> None:
    listed = value_set("l", {"system": S, "concept": [{"code": "lynx"}, {"code": "cat", "display": "Puss"}]})
    found = call(EXPAND, valueSet=listed)
    assert [(c["code"], c["display"]) for c in found["expansion"]["contains"]] == [("lynx", "Lynx"), ("cat", "Puss")]


def test_inactive_and_abstract_codes_can_be_left_out(call: Call) -> None:
    assert "dodo" not in codes(call(EXPAND, url=V + "whole", activeOnly=True))
    assert codes(call(EXPAND, url=V + "whole", excludeNotForUI=True)) == ["cat", "(", "lynx", ")", "dodo", "duck"]
    without = WHOLE | {"compose": WHOLE["compose"] | {"inactive": False}}
    assert "dodo" not in codes(call(EXPAND, valueSet=without))


def test_designations_are_given_when_asked_for(call: Call) -> None:
    def cat(**parameters: Any) -> Json:
        (found,) = call(EXPAND, url=V + "whole", filter="chat", **parameters)["expansion"]["contains"]
        return found

    assert "designation" not in cat()
    assert cat(includeDesignations=True)["designation"] == [FR, LATIN]
    assert cat(designation="fr")["designation"] == [FR]
    assert cat(designation="urn:ietf:bcp:47|fr")["designation"] == [FR]
    assert cat(designation="http://example.org/use|latin")["designation"] == [LATIN]
    assert "designation" not in cat(designation="http://example.org/other|latin")


def test_displays_come_in_the_language_that_is_asked_for(call: Call) -> None:
    found = call(EXPAND, url=V + "whole", displayLanguage="fr-CA", excludeNested=True)["expansion"]["contains"]
    assert [c["display"] for c in found] == ["Mammal", "chat", "Lynx", "Dodo", "Éider"]


def test_the_definition_is_given_when_asked_for(call: Call) -> None:
    assert "compose" not in call(EXPAND, url=V + "whole")
    found = call(EXPAND, url=V + "whole", includeDefinition=True)
    assert found["compose"] == WHOLE["compose"]
    assert found["description"] == "All of them"
    assert found["status"] == "active"


def test_value_sets_are_imported_and_excluded(call: Call, api: Api) -> None:
    cats = value_set("cats", {"system": S, "filter": [{"property": "concept", "op": "is-a", "value": "cat"}]})
    api.created(cats)
    assert codes(call(EXPAND, valueSet=value_set("x", {"valueSet": [V + "cats"]}))) == ["cat", "(", "lynx", ")"]
    less = value_set("x", {"system": S}, exclude=({"valueSet": [V + "cats"]},))
    assert codes(call(EXPAND, valueSet=less)) == ["mammal", "(", "dodo", ")", "duck"]
    both = value_set("x", {"system": S, "concept": [{"code": "lynx"}, {"code": "duck"}], "valueSet": [V + "cats"]})
    assert codes(call(EXPAND, valueSet=both)) == ["lynx"]


def test_the_instance_level(call: Call, api: Api, refused: Refused) -> None:
    id = api.created(value_set("one", {"system": S, "concept": [{"code": "cat"}]}))["id"]
    assert codes(call(f"ValueSet/{id}/$expand")) == ["cat"]
    assert refused("ValueSet/none/$expand")[:2] == (404, "not-found")
    api.delete(f"ValueSet/{id}")
    assert refused(f"ValueSet/{id}/$expand")[:2] == (410, "deleted")


def test_versions_of_value_sets_and_code_systems(call: Call, api: Api, refused: Refused) -> None:
    api.created(ANIMALS | {"version": "1.10", "concept": [{"code": "newt"}]})
    assert codes(call(EXPAND, url=V + "whole")) == ["newt"]  # 1.10 is newer than 1.0
    assert "cat" in codes(call(EXPAND, url=V + "whole", system_version=f"{S}|1.0"))
    fixed = value_set("fixed", {"system": S, "version": "1.10"}, version="7")
    api.created(fixed)
    api.created(fixed | {"version": "8", "compose": {"include": [{"system": S, "version": "1.0"}]}})
    assert codes(call(EXPAND, url=V + "fixed", valueSetVersion="7")) == ["newt"]
    assert codes(call(EXPAND, url=V + "fixed|7")) == ["newt"]
    assert "cat" in codes(call(EXPAND, url=V + "fixed"))
    assert codes(call(EXPAND, url=V + "fixed", valueSetVersion="8", force_system_version=f"{S}|1.10")) == ["newt"]
    status, code, text = refused(EXPAND, url=V + "fixed", check_system_version=f"{S}|1.10")
    assert (status, code) == (422, "invalid")
    assert "check-system-version requires 1.10" in text
    assert refused(EXPAND, url=V + "fixed", valueSetVersion="9")[0] == 404


def test_code_systems_can_be_left_out(call: Call) -> None:
    two = value_set("two", {"system": S}, {"system": "http://hl7.org/fhir/administrative-gender"})
    assert codes(call(EXPAND, valueSet=two, exclude_system=S)) == ["male", "female", "other", "unknown"]


def test_a_value_set_that_comes_expanded_is_used_where_its_code_system_is_unavailable(call: Call) -> None:
    contains = [{"system": "http://snomed.info/sct", "code": "1", "display": "One"}]
    made = value_set("sct", {"system": "http://snomed.info/sct"}, expansion={"contains": contains, "total": 1})
    assert codes(call(EXPAND, valueSet=made)) == ["1"]


@pytest.mark.parametrize(
    ("include", "code", "text"),
    [
        ({"system": "http://unknown"}, "not-found", "The code system http://unknown is unavailable."),
        ({"system": "http://snomed.info/sct"}, "incomplete", "is incomplete (content: not-present)"),
        ({"valueSet": [V + "none"]}, "not-found", f"The value set {V}none is unavailable."),
        ({"valueSet": [V + "self"]}, "invalid", f"The value set {V}self imports itself: {V}self → {V}self."),
        ({"system": S, "filter": [{"property": "concept", "op": "is-a", "value": "yeti"}]}, "not-found", "'yeti'"),
        ({"system": "urn:ietf:bcp:13"}, "too-costly", "cannot be enumerated"),
    ],
)
def test_what_cannot_be_expanded_says_why(api: Api, refused: Refused, include: Json, code: str, text: str) -> None:
    api.created(value_set("self", include))
    status, given, diagnostics = refused(EXPAND, url=V + "self")
    assert (status, given) == (422, code)
    assert text in diagnostics


def test_an_unknown_operator_of_a_filter_is_named(make_api: Callable[..., Api]) -> None:
    odd = value_set("odd", {"system": S, "filter": [{"property": "concept", "op": "like", "value": "cat"}]})
    answer = make_api(validation="off").post("ValueSet/$expand", odd)
    assert answer.status_code == 422
    assert "the filter operator 'like' on" in issue(answer)["diagnostics"].lower()


@pytest.mark.parametrize(
    ("compose", "place"),
    [
        ([], "ValueSet.compose"),
        ({"include": [{"system": S, "concept": [{"display": "x"}]}]}, "ValueSet.compose.include[0].concept[0].code"),
        ({"include": [{"system": S, "filter": [{}]}]}, "ValueSet.compose.include[0].filter[0]"),
    ],
)
def test_a_faulty_value_set_that_is_given_is_refused_where_the_fault_is(api: Api, compose: Any, place: str) -> None:
    answer = api.post(EXPAND, {"resourceType": "ValueSet", "status": "draft", "compose": compose})
    assert answer.status_code == 422
    assert place in [e for i in answer.get_json()["issue"] for e in i["expression"]]


def test_a_value_set_that_is_unavailable_is_not_found(refused: Refused) -> None:
    assert refused(EXPAND, url=V + "none") == (404, "not-found", f"The ValueSet {V}none is unavailable.")


@pytest.mark.parametrize(
    ("parameters", "status"),
    [({}, 400), ({"offset": -1}, 400), ({"count": -1}, 400), ({"date": "2001"}, 422), ({"context": "x"}, 400)],
)
def test_parameters_that_cannot_be(refused: Refused, parameters: Json, status: int) -> None:
    url = {"url": V + "whole"} if parameters else {}
    assert refused(EXPAND, **url, **parameters)[0] == status


def test_the_value_set_of_an_element_is_found_by_its_context(call: Call, refused: Refused) -> None:
    patient = "http://hl7.org/fhir/StructureDefinition/Patient"
    assert codes(call(EXPAND, context=f"{patient}#Patient.gender")) == ["male", "female", "other", "unknown"]
    for context, text in (
        (f"{patient}#Patient.name", "has no binding to a value set"),
        (f"{patient}#Patient.colour", "has no element Patient.colour"),
        ("http://example.org/none#Patient.gender", "is unavailable"),
    ):
        status, code, diagnostics = refused(EXPAND, context=context)
        assert (status, code) == (404, "not-found")
        assert text in diagnostics


def test_an_expansion_that_is_too_large_is_refused_with_advice(make_api: Callable[..., Api]) -> None:
    small = make_api(max_expansion=3)
    answer = small.get(f"{EXPAND}?url={V}whole")
    assert answer.status_code == 422
    assert issue(answer)["code"] == "too-costly"
    assert "5 codes; the limit of a response is 3" in issue(answer)["diagnostics"]
    assert "max_expansion" in issue(answer)["diagnostics"]
    assert small.get(f"{EXPAND}?url={V}whole&count=3").status_code == 200
    assert small.get(f"{EXPAND}?url={V}whole&count=5").status_code == 422


def test_a_circle_in_a_code_system_ends(api: Api, call: Call) -> None:
    def row(code: str, parent: str) -> Json:
        return {"code": code, "property": [{"code": "parent", "valueCode": parent}]}

    api.created(ANIMALS | {"url": "http://circle", "concept": [row("a", "b"), row("b", "c"), row("c", "a")]})
    found = call(EXPAND, valueSet=value_set("c", {"system": "http://circle"}))
    assert sorted(c for c in codes(found) if c not in "()") == ["a", "b", "c"]


def test_a_very_deep_hierarchy_is_cut_flat_below_a_level(api: Api, call: Call) -> None:
    rows = [{"code": f"c{n}", "property": [{"code": "parent", "valueCode": f"c{n - 1}"}]} for n in range(1, 300)]
    api.created(ANIMALS | {"url": "http://deep", "concept": [{"code": "c0"}, *rows]})
    found = call(EXPAND, valueSet=value_set("d", {"system": "http://deep"}))
    assert len([c for c in codes(found) if c not in "()"]) == 300
