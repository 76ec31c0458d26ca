from __future__ import annotations

from typing import Any

import pytest

from fhirstore.definitions.expand import expand

ANIMALS: dict[str, Any] = {
    "url": "urn:animals",
    "content": "complete",
    "concept": [
        {"code": "mammal", "concept": [{"code": "cat", "concept": [{"code": "lynx"}]}, {"code": "dog"}]},
        {"code": "bird", "property": [{"code": "flies", "valueBoolean": True}, {"code": "child", "valueCode": "duck"}]},
        {"code": "duck"},
        {
            "code": "bat",
            "property": [{"code": "parent", "valueCode": "mammal"}, {"code": "flies", "valueBoolean": True}],
        },
    ],
}
SYSTEMS = {
    "urn:animals": ANIMALS,
    "urn:large": {"url": "urn:large", "content": "not-present"},
    "urn:partial": {"url": "urn:partial", "content": "fragment", "concept": [{"code": "a"}]},
}


def codes(compose: dict[str, Any], **others: dict[str, Any]) -> set[str] | None:
    sets = {"vs": {"compose": compose}} | {name: {"compose": c} for name, c in others.items()}
    found = expand("vs", sets.get, SYSTEMS.get)
    return None if found is None else {code for _, code in found}


def of(**part: Any) -> dict[str, Any]:
    return {"include": [part]}


def where(name: str, op: str, value: str) -> dict[str, Any]:
    return of(system="urn:animals", filter=[{"property": name, "op": op, "value": value}])


def test_a_whole_system_includes_nested_concepts() -> None:
    assert codes(of(system="urn:animals")) == {"mammal", "cat", "lynx", "dog", "bird", "duck", "bat"}


def test_members_carry_their_system() -> None:
    assert expand("vs", {"vs": {"compose": of(system="s", concept=[{"code": "c"}])}}.get, SYSTEMS.get) == {("s", "c")}


@pytest.mark.parametrize(
    ("name", "op", "value", "expected"),
    [
        ("concept", "is-a", "cat", {"cat", "lynx"}),
        ("concept", "is-a", "mammal", {"mammal", "cat", "lynx", "dog", "bat"}),
        ("concept", "descendent-of", "mammal", {"cat", "lynx", "dog", "bat"}),
        ("concept", "is-not-a", "mammal", {"bird", "duck"}),
        ("concept", "is-a", "bird", {"bird", "duck"}),
        ("parent", "=", "mammal", {"cat", "dog", "bat"}),
        ("flies", "=", "true", {"bird", "bat"}),
        ("code", "regex", "b.*", {"bird", "bat"}),
        ("concept", "in", "dog, bird", {"dog", "bird"}),
    ],
)
def test_filters(name: str, op: str, value: str, expected: set[str]) -> None:
    assert codes(where(name, op, value)) == expected


def test_an_exclude_takes_away() -> None:
    excluded = {"system": "urn:animals", "concept": [{"code": "bird"}, {"code": "bat"}]}
    assert codes(of(system="urn:animals") | {"exclude": [excluded]}) == {"mammal", "cat", "lynx", "dog", "duck"}


def test_a_part_with_system_and_value_set_is_what_both_hold() -> None:
    other = of(system="urn:animals", concept=[{"code": "cat"}])
    assert codes(of(system="urn:animals", valueSet=["other"]), other=other) == {"cat"}


@pytest.mark.parametrize(
    "compose",
    [
        of(system="urn:unknown"),
        of(system="urn:large"),
        of(system="urn:partial"),
        of(valueSet=["unknown"]),
        of(valueSet=["vs"]),
        where("colour", "=", "red"),
        where("concept", "generalizes", "cat"),
    ],
    ids=["unknown system", "no content", "fragment", "unknown set", "itself", "unknown property", "unknown operator"],
)
def test_what_the_tables_cannot_tell_has_no_expansion(compose: dict[str, Any]) -> None:
    assert codes(compose) is None
