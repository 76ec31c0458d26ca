"""https://hl7.org/fhir/R4/valueset-filter-operator.html: the codes of a code system that a filter selects."""

from __future__ import annotations

from collections.abc import Callable, Set

from fhirstore.formats.patterns import compile_pattern
from fhirstore.model.messages import Message, text_of
from fhirstore.terminology.code_systems import CodeSystem
from fhirstore.terminology.model import Concept, Resource, Unresolved

OPERATORS = ("=", "is-a", "descendent-of", "is-not-a", "regex", "in", "not-in", "generalizes", "exists")

_CODE_PROPERTIES = ("concept", "code")
_TEXTS: dict[str, Callable[[Concept], str | None]] = {
    "display": lambda concept: concept.display,
    "definition": lambda concept: concept.definition,
}


def select(system: CodeSystem, condition: Resource) -> Set[str]:
    """The codes that satisfy a ValueSet.compose.include.filter.

    Raises Unresolved for an unknown operator or property, and for a value that the operator does not accept."""
    name, op, value = (condition.get(key) for key in ("property", "op", "value"))
    if not (isinstance(name, str) and isinstance(op, str) and isinstance(value, str)):
        raise Unresolved(Message("a filter on {url} lacks property, op or value", url=system.url), "invalid")
    if op not in OPERATORS:
        text = Message(
            "the filter operator {op} on {url} is unknown. Supported: {operators}",
            op=repr(op[:40]),
            url=system.url,
            operators=", ".join(OPERATORS),
        )
        raise Unresolved(text, "not-supported")
    if name in _CODE_PROPERTIES:
        return _select_by_code(system, op, value)
    return _select_by_property(system, name, op, value)


def _select_by_code(system: CodeSystem, op: str, value: str) -> Set[str]:
    everything = system.concepts.keys()
    if op in ("is-a", "descendent-of", "is-not-a", "generalizes"):
        root = system.require(value).code
        if op == "generalizes":
            return (system.ancestors(root) | {root}) & everything
        below = system.descendants(root)
        if op == "descendent-of":
            return below & everything
        return (below | {root}) & everything if op == "is-a" else everything - below - {root}
    if op == "exists":
        return _exists(everything, everything, value)
    return _compare(op, value, {code: {code} for code in everything}, everything)


def _select_by_property(system: CodeSystem, name: str, op: str, value: str) -> Set[str]:
    everything = system.concepts.keys()
    if op in ("is-a", "descendent-of", "is-not-a", "generalizes"):
        text = Message(
            "the filter operator {op} on {url} applies to the property concept, not to {name}",
            op=op,
            url=system.url,
            name=repr(name[:60]),
        )
        raise Unresolved(text, "not-supported")
    values = _values(system, name)
    if op == "exists":
        return _exists({code for codes in values.values() for code in codes}, everything, value)
    return _compare(op, value, values, everything)


def _values(system: CodeSystem, name: str) -> dict[str, set[str]]:
    """Value of a property -> codes. Raises Unresolved for an unknown property."""
    if name in ("parent", "child"):
        edges = system.parents if name == "parent" else system.children
        related: dict[str, set[str]] = {}
        for code, others in edges.items():
            for other in others:
                related.setdefault(other, set()).add(code)
        return related
    if text_of := _TEXTS.get(name):
        texts: dict[str, set[str]] = {}
        for code, concept in system.concepts.items():
            if text := text_of(concept):
                texts.setdefault(text, set()).add(code)
        return texts
    if not system.has_property(name):
        raise Unresolved(
            Message("the code system {url} has no property {name} for a filter", url=system.url, name=repr(name[:60])),
            "not-supported",
        )
    return system.with_property(name)


def _exists(having: Set[str], everything: Set[str], value: str) -> Set[str]:
    if value not in ("true", "false"):
        raise Unresolved(
            Message("the filter operator exists requires true or false, not {value}", value=repr(value[:40])), "invalid"
        )
    return having if value == "true" else everything - having


def _compare(op: str, value: str, values: dict[str, set[str]], everything: Set[str]) -> Set[str]:
    if op == "=":
        return values.get(value, set())
    if op == "regex":
        try:
            pattern = compile_pattern(value)
        except ValueError as e:
            raise Unresolved(text_of(e), "invalid") from None
        return {code for text, codes in values.items() if pattern.fullmatch(text) for code in codes}
    named = [part.strip() for part in value.split(",")]
    found = {code for name in named for code in values.get(name, ())}
    return found if op == "in" else everything - found
