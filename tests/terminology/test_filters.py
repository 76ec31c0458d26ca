"""https://hl7.org/fhir/R4/valueset-filter-operator.html"""

from __future__ import annotations

from typing import Any

import pytest
from support.terms import catalog, code_system

from fhirstore.terminology.model import Unresolved
from fhirstore.terminology.service import Terminology

DOG = {"code": "dog", "display": "a domestic dog"}
ANIMALS: dict[str, Any] = {
    "resourceType": "CodeSystem",
    "url": "urn:animals",
    "content": "complete",
    "concept": [
        {
            "code": "mammal",
            "concept": [{"code": "cat", "concept": [{"code": "lynx"}]}, {"code": "dog", "display": "a domestic dog"}],
        },
        {"code": "bird", "property": [{"code": "flies", "valueBoolean": True}, {"code": "child", "valueCode": "duck"}]},
        {"code": "duck"},
        {
            "code": "bat",
            "property": [{"code": "parent", "valueCode": "mammal"}, {"code": "flies", "valueBoolean": True}],
        },
    ],
}
OTHERS = (
    code_system("urn:large", content="not-present"),
    code_system("urn:partial", "a", content="fragment"),
)


def codes(compose: dict[str, Any], **others: dict[str, Any]) -> set[str]:
    """The codes of a value set. Raises Unresolved if they cannot be enumerated."""
    sets = [{"resourceType": "ValueSet", "url": u, "compose": c} for u, c in {"vs": compose, **others}.items()]
    known = Terminology(catalog([ANIMALS, *OTHERS, *sets])).current()
    return {entry.code for entry in known.value_set("vs").entries()}


def of(**part: Any) -> dict[str, Any]:
    return {"include": [part]}


def where(name: str, op: str, value: str) -> dict[str, Any]:
    return of(system="urn:animals", filter=[{"property": name, "op": op, "value": value}])


def test_a_whole_system_includes_nested_concepts() -> None:
    assert codes(of(system="urn:animals")) == {"mammal", "cat", "lynx", "dog", "bird", "duck", "bat"}


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
        ("concept", "not-in", "dog,bird,mammal", {"cat", "lynx", "bat", "duck"}),
        ("concept", "=", "dog", {"dog"}),
        ("concept", "generalizes", "lynx", {"mammal", "cat", "lynx"}),
        ("code", "exists", "true", {"mammal", "cat", "lynx", "dog", "bird", "duck", "bat"}),
        ("child", "exists", "true", {"mammal", "cat", "bird"}),
        ("parent", "exists", "false", {"mammal", "bird"}),
        ("parent", "in", "cat,bird", {"lynx", "duck"}),
        ("flies", "exists", "true", {"bird", "bat"}),
        ("flies", "exists", "false", {"mammal", "cat", "lynx", "dog", "duck"}),
        ("flies", "not-in", "true", {"mammal", "cat", "lynx", "dog", "duck"}),
        ("flies", "regex", "t.*", {"bird", "bat"}),
        ("display", "regex", ".*domestic.*", {"dog"}),
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
    ("compose", "text"),
    [
        (of(system="urn:unknown"), "the code system urn:unknown is unavailable"),
        (
            of(system="urn:animals", version="7"),
            "the code system urn:animals|7 is unavailable (available: one without a version",
        ),
        (of(system="urn:large"), "urn:large is incomplete (content: not-present)"),
        (of(system="urn:partial"), "urn:partial is incomplete (content: fragment)"),
        (of(valueSet=["unknown"]), "the value set unknown is unavailable"),
        (of(valueSet=["vs"]), "the value set vs imports itself: vs → vs"),
        (where("colour", "=", "red"), "urn:animals has no property 'colour' for a filter"),
        (
            where("concept", "resembles", "cat"),
            "the filter operator 'resembles' on urn:animals is unknown. Supported: =, is-a",
        ),
        (where("concept", "is-a", "unicorn"), "urn:animals has no code 'unicorn'"),
        (where("flies", "is-a", "true"), "is-a on urn:animals applies to the property concept, not to 'flies'"),
        (where("code", "regex", r"(.)\1"), "cannot be used: invalid escape sequence: \\1. Use the syntax of RE2"),
        (where("code", "regex", "(?!cat).*"), "cannot be used: invalid perl operator: (?!"),
        (where("code", "regex", "("), "cannot be used: missing )"),
        (where("flies", "exists", "yes"), "requires true or false, not 'yes'"),
        (of(system="urn:ietf:bcp:47"), "cannot be enumerated: the system is a grammar"),
        ({"include": [{}]}, "has neither system nor valueSet"),
    ],
)
def test_what_cannot_be_listed_says_why(compose: dict[str, Any], text: str) -> None:
    with pytest.raises(Unresolved) as raised:
        codes(compose)
    assert text in raised.value.text


def test_a_circle_of_value_sets_is_named_whole() -> None:
    with pytest.raises(Unresolved) as raised:
        codes(of(valueSet=["b"]), b=of(valueSet=["c"]), c=of(valueSet=["vs"]))
    assert raised.value.text.endswith("imports itself: vs → b → c → vs")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("b.*", {"bird", "bat"}),
        ("(b|c)at", {"bat", "cat"}),
        ("(x{2}y)+", set()),
        ("([a-z]+)+t", {"bat", "cat"}),
        ("(.*)*x", {"lynx"}),
        ("(b|ba|.)+d", {"bird"}),
        ("(a?){30}bat", {"bat"}),
    ],
)
def test_a_regex_selects_the_codes_that_match_as_a_whole(pattern: str, expected: set[str]) -> None:
    assert codes(where("code", "regex", pattern)) == expected


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a*)*b", "(a|aa)+b", "(a?){30}b", "((x+y)?|a)*b", ".*a.*a.*a.*b"])
def test_a_regex_that_would_backtrack_is_evaluated(pattern: str) -> None:
    """With `re`, these patterns do not end on this code."""
    long = code_system("urn:long", "a" * 100_000, "bab")
    sets = {
        "resourceType": "ValueSet",
        "url": "vs",
        "compose": of(system="urn:long", filter=[{"property": "code", "op": "regex", "value": pattern}]),
    }
    known = Terminology(catalog([long, sets])).current()
    assert {entry.code for entry in known.value_set("vs").entries()} <= {"bab"}
