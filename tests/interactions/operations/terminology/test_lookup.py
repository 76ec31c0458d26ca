"""$lookup, $subsumes, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.animals import ANIMALS, S, out
from support.api import Api

Json = dict[str, Any]
Call = Callable[..., Json]
Refused = Callable[..., tuple[int, str, str]]
LOOKUP, SUBSUMES = "CodeSystem/$lookup", "CodeSystem/$subsumes"


@pytest.fixture(autouse=True)
def animals(api: Api) -> None:
    api.created(ANIMALS)


def properties(found: Json) -> list[tuple[str, Any]]:
    return [(p["code"], p["value"]) for p in found.get("property", [])]


def test_all_that_is_known_of_a_code(call: Call) -> None:
    found = out(call(LOOKUP, system=S, code="cat"))
    assert (found["name"], found["version"], found["display"]) == ("Animals", "1.0", "Cat")
    latin = {"use": {"system": "http://example.org/use", "code": "latin"}, "value": "Felis catus"}
    assert found["designation"] == [{"language": "fr", "value": "chat"}, latin]
    assert properties(found) == [
        ("definition", "A cat."),
        ("legs", 4),
        ("inactive", False),
        ("parent", "mammal"),
        ("child", "lynx"),
    ]
    legs = next(p for p in found["property"] if p["code"] == "legs")
    assert legs["description"] == "How many legs"


def test_only_the_properties_that_are_asked_for(call: Call) -> None:
    found = out(call(LOOKUP, system=S, code="cat", property=["child", "legs"]))
    assert properties(found) == [("legs", 4), ("child", "lynx")]
    assert [d["value"] for d in out(call(LOOKUP, system=S, code="cat", property="lang.fr"))["designation"]] == ["chat"]


def test_a_coding_a_version_and_a_language(call: Call) -> None:
    assert out(call(LOOKUP, coding={"system": S, "code": "duck"}))["display"] == "Éider"
    assert out(call(LOOKUP, system=S, version="1.0", code="cat", displayLanguage="fr"))["display"] == "chat"


def test_the_code_systems_of_r4_have_their_definitions_and_designations(call: Call) -> None:
    male = out(call(LOOKUP, system="http://hl7.org/fhir/administrative-gender", code="male"))
    assert ("definition", "Male.") in properties(male)
    female = out(call(LOOKUP, system="http://terminology.hl7.org/CodeSystem/v2-0001", code="F"))
    assert {"weiblich", "Vrouw"} <= {d["value"] for d in female["designation"]}


@pytest.mark.parametrize(
    ("parameters", "status", "text"),
    [
        ({"system": S, "code": "yeti"}, 404, "has no code 'yeti'"),
        ({"system": "http://unknown", "code": "a"}, 404, "The code system http://unknown is unavailable."),
        ({"system": S, "version": "2", "code": "cat"}, 404, "|2 is unavailable (available: version 1.0)"),
        ({"code": "cat"}, 400, "The parameter system is required."),
        ({"system": S}, 400, "Exactly one of code and coding is required; found: none of them."),
        ({"code": "cat", "coding": {"system": S, "code": "cat"}}, 400, "found: both."),
    ],
)
def test_what_cannot_be_looked_up(refused: Refused, parameters: Json, status: int, text: str) -> None:
    given, _, diagnostics = refused(LOOKUP, **parameters)
    assert given == status
    assert text in diagnostics


def test_a_code_system_that_cannot_be_read_says_so(make_api: Callable[..., Api], refused: Refused) -> None:
    for concept in ({"code": 1}, {"code": "1", "property": [{"code": ["x"], "valueString": "y"}]}):
        broken = ANIMALS | {"url": "http://broken", "concept": [concept]}
        assert make_api(validation="off").post("CodeSystem", broken).status_code == 201
        status, code, text = refused(LOOKUP, system="http://broken", code="1")
        assert (status, code) == (422, "invalid")
        assert "http://broken is invalid" in text


def test_an_oid_that_a_naming_system_explains(call: Call, api: Api) -> None:
    api.created(
        {
            "resourceType": "NamingSystem",
            "name": "Animals",
            "status": "active",
            "kind": "codesystem",
            "date": "2026-01-01",
            "uniqueId": [{"type": "oid", "value": "1.2.3"}, {"type": "uri", "value": S, "preferred": True}],
        }
    )
    assert out(call(LOOKUP, system="urn:oid:1.2.3", code="cat"))["display"] == "Cat"


@pytest.mark.parametrize(
    ("a", "b", "outcome"),
    [
        ("cat", "cat", "equivalent"),
        ("mammal", "lynx", "subsumes"),
        ("lynx", "mammal", "subsumed-by"),
        ("lynx", "duck", "not-subsumed"),
    ],
)
def test_how_two_codes_are_related(call: Call, api: Api, a: str, b: str, outcome: str) -> None:
    assert out(call(SUBSUMES, system=S, codeA=a, codeB=b)) == {"outcome": outcome}
    codings = {"codingA": {"system": S, "code": a}, "codingB": {"system": S, "code": b}}
    assert out(call(SUBSUMES, **codings)) == {"outcome": outcome}
    id = api.created(ANIMALS | {"url": "http://again"})["id"]
    assert out(call(f"CodeSystem/{id}/$subsumes", codeA=a, codeB=b)) == {"outcome": outcome}


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"system": S, "codeA": "cat"}, 400),
        ({"codeA": "cat", "codeB": "cat"}, 400),
        ({"system": S, "codeA": "cat", "codeB": "yeti"}, 404),
        ({"codingA": {"system": S, "code": "cat"}, "codingB": {"system": "http://b", "code": "cat"}}, 400),
    ],
)
def test_what_cannot_be_compared(refused: Refused, parameters: Json, status: int) -> None:
    assert refused(SUBSUMES, **parameters)[0] == status
