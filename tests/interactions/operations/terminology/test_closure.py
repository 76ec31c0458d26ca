"""https://hl7.org/fhir/R4/terminology-service.html#closure, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.animals import ANIMALS, S
from support.api import Api, issue
from werkzeug.test import TestResponse

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def animals(api: Api) -> None:
    api.created(ANIMALS)


def ask(api: Api, *codes: str, name: str = "mine", version: str | None = None, system: str = S) -> TestResponse:
    parameters: list[Json] = [{"name": "name", "valueString": name}]
    parameters += [{"name": "concept", "valueCoding": {"system": system, "code": code}} for code in codes]
    parameters += [{"name": "version", "valueString": version}] if version is not None else []
    return api.post("$closure", {"resourceType": "Parameters", "parameter": parameters})


def told(answer: TestResponse) -> tuple[str, set[tuple[str, str]]]:
    """The version, and pairs of a code and what subsumes it."""
    assert answer.status_code == 200, answer.text
    found = answer.get_json()
    assert found["resourceType"] == "ConceptMap"
    pairs = {
        (element["code"], target["code"])
        for group in found.get("group", [])
        for element in group["element"]
        for target in element["target"]
        if (group["source"], group["target"], target["equivalence"]) == (S, S, "subsumes")
    }
    return found["version"], pairs


def test_a_table_grows_and_returns_what_is_new(api: Api) -> None:
    assert told(ask(api)) == ("0", set())
    assert told(ask(api, "lynx")) == ("1", set())
    assert told(ask(api, "mammal", "duck")) == ("2", {("lynx", "mammal")})
    assert told(ask(api, "cat")) == ("3", {("lynx", "cat"), ("cat", "mammal")})
    assert told(ask(api, "cat", "lynx")) == ("3", set())


def test_a_client_that_missed_something_synchronises(api: Api) -> None:
    for codes in ((), ("lynx",), ("mammal",), ("cat",)):
        ask(api, *codes)
    everything = {("lynx", "mammal"), ("lynx", "cat"), ("cat", "mammal")}
    assert told(ask(api, version="0")) == ("3", everything)
    assert told(ask(api, version="2")) == ("3", {("lynx", "cat"), ("cat", "mammal")})
    assert told(ask(api, version="3")) == ("3", set())


def test_a_name_alone_starts_a_new_table(api: Api) -> None:
    for codes in ((), ("lynx",), ()):
        ask(api, *codes)
    assert told(ask(api, "cat")) == ("1", set())


def test_a_table_of_many_relations_is_refused_and_not_stored(make_api: Callable[..., Api]) -> None:
    """The relations of n nested codes are n²/2: 2 000 codes made an answer of 80 MB."""
    api = make_api(max_closure_ancestors=3)
    ask(api)
    assert told(ask(api, "lynx")) == ("1", set())
    answer = ask(api, "cat", "dodo")
    assert (answer.status_code, issue(answer)["code"]) == (422, "too-costly")
    assert "setting max_closure_ancestors" in issue(answer)["diagnostics"]
    assert told(ask(api, version="1")) == ("1", set())


def test_tables_are_apart(api: Api) -> None:
    for name in ("a", "b"):
        ask(api, name=name)
    ask(api, "lynx", name="a")
    assert told(ask(api, "cat", name="b")) == ("1", set())


def test_a_table_is_known_to_all_workers(api: Api, make_api: Callable[..., Api]) -> None:
    ask(api)
    ask(api, "lynx")
    assert told(ask(make_api(), "cat")) == ("2", {("lynx", "cat")})


def test_clients_that_add_at_once_lose_nothing(api: Api, make_api: Callable[..., Api]) -> None:
    codes = [f"c{n}" for n in range(12)]
    chain = [{"code": c, "property": [{"code": "parent", "valueCode": "c0"}]} for c in codes[1:]]
    api.created(ANIMALS | {"url": "http://many", "concept": [{"code": "c0"}, *chain]})
    ask(api)
    apis = [api, make_api()]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: ask(apis[n % 2], codes[n], system="http://many"), range(len(codes))))
    assert sorted(int(a.get_json()["version"]) for a in answers) == list(range(1, len(codes) + 1))
    found = ask(api, version="0").get_json()["group"][0]["element"]
    assert {e["code"] for e in found} == set(codes[1:])


@pytest.mark.parametrize(
    ("more", "status", "text"),
    [
        ({"codes": ["cat"], "name": "none"}, 404, "The closure table 'none' does not exist"),
        ({"codes": ["yeti"]}, 422, "has no code 'yeti'"),
        ({"codes": ["cat"], "system": "http://unknown"}, 422, "http://unknown is unavailable"),
        ({"codes": [], "version": "7"}, 400, "has no version '7'; its current version is 0"),
        ({"codes": [], "version": "x"}, 400, "has no version 'x'"),
        ({"codes": ["cat"], "version": "0"}, 400, "cannot be combined"),
    ],
)
def test_what_cannot_be(api: Api, more: Json, status: int, text: str) -> None:
    ask(api)
    answer = ask(api, *more.pop("codes"), **more)
    assert answer.status_code == status
    assert text in issue(answer)["diagnostics"]
    assert told(ask(api, version="0")) == ("0", set())


def test_it_changes_something_so_get_is_refused(api: Api) -> None:
    assert api.get("$closure?name=mine").status_code == 405
