"""$validate-code of value sets and code systems, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.animals import ANIMALS, WHOLE, S, V, out, value_set
from support.api import Api

Json = dict[str, Any]
Call = Callable[..., Json]
Refused = Callable[..., tuple[int, str, str]]

IN_SET, IN_SYSTEM = "ValueSet/$validate-code", "CodeSystem/$validate-code"
CAT = value_set("cat", {"system": S, "concept": [{"code": "cat"}]})


@pytest.fixture(autouse=True)
def animals(api: Api) -> None:
    for resource in (ANIMALS, WHOLE, CAT):
        api.created(resource)


def test_a_code_of_the_value_set(call: Call) -> None:
    assert out(call(IN_SET, url=V + "cat", system=S, code="cat")) == {"result": True, "display": "Cat"}


@pytest.mark.parametrize("system", [S, "http://other"])
def test_a_code_that_is_not_in_it(call: Call, system: str) -> None:
    found = out(call(IN_SET, url=V + "cat", system=system, code="duck"))
    assert found == {"result": False, "message": f"the code {system}|duck is not in the value set {V}cat"}


def test_a_code_without_a_system_is_looked_for_in_all(call: Call) -> None:
    assert out(call(IN_SET, url=V + "cat", code="cat")) == {"result": True, "display": "Cat"}


@pytest.mark.parametrize("display", ["Cat", "cat", " CAT ", "chat", "Felis catus"])
def test_displays_that_are_known_are_right(call: Call, display: str) -> None:
    assert out(call(IN_SET, url=V + "cat", system=S, code="cat", display=display))["result"] is True


def test_a_wrong_display_is_reported_with_the_right_ones(call: Call) -> None:
    found = out(call(IN_SET, url=V + "cat", system=S, code="cat", display="Dog"))
    assert found["result"] is False
    assert found["display"] == "Cat"
    assert "'Dog' of the code" in found["message"]
    assert "'Cat', 'chat', 'Felis catus'" in found["message"]


def test_the_display_comes_in_the_language_that_is_asked_for(call: Call) -> None:
    assert out(call(IN_SET, url=V + "cat", system=S, code="cat", displayLanguage="fr"))["display"] == "chat"


def test_a_coding_and_a_concept(call: Call) -> None:
    coding = {"system": S, "code": "cat", "display": "Cat"}
    assert out(call(IN_SET, url=V + "cat", coding=coding))["result"] is True
    assert out(call(IN_SET, url=V + "cat", coding={"code": "cat"}))["result"] is False  # of no system
    two = {"coding": [{"system": S, "code": "duck"}, coding]}
    assert out(call(IN_SET, url=V + "cat", codeableConcept=two))["result"] is True
    assert out(call(IN_SET, url=V + "cat", codeableConcept={"coding": two["coding"][:1]}))["result"] is False


def test_abstract_codes_are_wrong_where_the_client_says_so(call: Call) -> None:
    mammal = {"url": V + "whole", "system": S, "code": "mammal"}
    assert out(call(IN_SET, **mammal))["result"] is True
    assert out(call(IN_SET, **mammal, abstract=True))["result"] is True
    found = out(call(IN_SET, **mammal, abstract=False))
    assert found["result"] is False
    assert "is abstract" in found["message"]


def test_a_value_set_that_is_given_and_one_of_an_instance(call: Call, api: Api) -> None:
    assert out(call(IN_SET, valueSet=CAT, system=S, code="cat"))["result"] is True
    id = api.created(value_set("one", {"system": S, "concept": [{"code": "duck"}]}))["id"]
    assert out(call(f"ValueSet/{id}/$validate-code", system=S, code="duck"))["result"] is True
    assert out(call(f"ValueSet/{id}/$validate-code", system=S, code="cat"))["result"] is False


def test_another_version_of_the_code_system_does_not_replace_the_available_one(call: Call) -> None:
    found = out(call(IN_SET, url=V + "cat", system=S, systemVersion="3", code="cat"))
    assert found == {"result": False, "message": f"version 3 of {S} is unavailable (available: 1.0)"}


@pytest.mark.parametrize(
    ("include", "text"),
    [
        ({"system": "http://snomed.info/sct"}, "the code system http://snomed.info/sct is incomplete"),
        ({"system": "http://unknown"}, "the code system http://unknown is unavailable"),
        ({"valueSet": [V + "none"]}, f"the value set {V}none is unavailable"),
    ],
)
def test_what_is_unknown_is_an_error_and_not_a_negative_result(refused: Refused, include: Json, text: str) -> None:
    system = include.get("system", S)
    status, _, diagnostics = refused(IN_SET, valueSet=value_set("x", include), system=system, code="1")
    assert status == 422
    assert "The server cannot decide whether" in diagnostics
    assert text in diagnostics


def test_a_result_that_does_not_depend_on_unavailable_resources_is_returned(call: Call) -> None:
    partly = value_set("x", {"system": "http://unknown"}, {"system": S, "concept": [{"code": "cat"}]})
    assert out(call(IN_SET, valueSet=partly, system=S, code="cat"))["result"] is True
    assert out(call(IN_SET, valueSet=partly, system=S, code="duck"))["result"] is False


@pytest.mark.parametrize(
    ("system", "right", "wrong"),
    [("urn:ietf:bcp:47", "fr-CA", "french language"), ("urn:ietf:bcp:13", "text/plain; charset=utf-8", "text")],
)
def test_codes_that_a_grammar_makes(call: Call, system: str, right: str, wrong: str) -> None:
    made = value_set("g", {"system": system})
    assert out(call(IN_SET, valueSet=made, system=system, code=right))["result"] is True
    assert out(call(IN_SET, valueSet=made, system=system, code=wrong))["result"] is False
    assert out(call(IN_SYSTEM, url=system, code=right))["result"] is True
    assert out(call(IN_SYSTEM, url=system, code=wrong))["result"] is False


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"url": V + "cat"}, 400),
        ({"url": V + "cat", "code": "cat", "coding": {"code": "cat"}}, 400),
        ({"code": "cat", "system": S}, 400),
        ({"url": V + "none", "code": "cat"}, 404),
        ({"url": V + "cat", "code": "cat", "date": "2001-01-01"}, 422),
        ({"url": V + "cat", "code": "cat", "colour": "red"}, 400),
    ],
)
def test_parameters_that_cannot_be(refused: Refused, parameters: Json, status: int) -> None:
    assert refused(IN_SET, **parameters)[0] == status


# --- code systems


def test_a_code_of_the_code_system(call: Call, api: Api) -> None:
    assert out(call(IN_SYSTEM, url=S, code="cat")) == {"result": True, "display": "Cat"}
    assert out(call(IN_SYSTEM, url=S, version="1.0", code="cat"))["result"] is True
    assert out(call(IN_SYSTEM, coding={"system": S, "code": "cat"}))["result"] is True
    assert out(call(IN_SYSTEM, codeSystem=ANIMALS, code="cat"))["result"] is True
    id = api.created(ANIMALS | {"url": "http://more"})["id"]
    assert out(call(f"CodeSystem/{id}/$validate-code", code="cat"))["result"] is True


def test_a_code_that_is_none_of_it(call: Call) -> None:
    found = out(call(IN_SYSTEM, url=S, code="yeti"))
    assert found == {"result": False, "message": f"the code system {S}|1.0 has no code 'yeti'"}
    assert out(call(IN_SYSTEM, url=S, coding={"system": "http://other", "code": "cat"}))["result"] is False


def test_case_counts_unless_the_code_system_says_otherwise(call: Call, api: Api) -> None:
    assert out(call(IN_SYSTEM, url=S, code="CAT"))["result"] is False
    api.created(ANIMALS | {"url": "http://loose", "caseSensitive": False})
    assert out(call(IN_SYSTEM, url="http://loose", code="CAT"))["result"] is True


def test_of_a_code_system_that_is_not_whole_nothing_is_denied(call: Call, api: Api, refused: Refused) -> None:
    api.created(ANIMALS | {"url": "http://part", "content": "fragment"})
    assert out(call(IN_SYSTEM, url="http://part", code="cat"))["result"] is True
    assert refused(IN_SYSTEM, url="http://part", code="dog")[:2] == (422, "incomplete")
    assert refused(IN_SYSTEM, url="http://unknown", code="dog")[:2] == (404, "not-found")
    assert refused(IN_SYSTEM, url=S, version="9", code="cat")[0] == 404
