"""https://hl7.org/fhir/R4/valueset.html#compositions: which codes a value set holds, when that can be enumerated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Coded = tuple[str, str]  # (system, code)
Lookup = Callable[[str], Mapping[str, Any] | None]


class _Unbounded(Exception):
    """Some part cannot be enumerated: no code system at hand, or a filter that needs to know more."""


def expand(url: str, value_set: Lookup, code_system: Lookup) -> frozenset[Coded] | None:
    """All (system, code) of the value set `url`; None when it is unknown or cannot be enumerated.

    value_set, code_system: canonical -> resource or None. A canonical may carry "|version"; it is handed on as is."""
    try:
        return frozenset(_value_set(url, value_set, code_system, ()))
    except _Unbounded:
        return None


def _value_set(url: str, value_set: Lookup, code_system: Lookup, inside: tuple[str, ...]) -> set[Coded]:
    resource = value_set(url)
    if resource is None or url in inside or "compose" not in resource:
        raise _Unbounded(url)
    compose = resource["compose"]
    within = (*inside, url)
    members: set[Coded] = set()
    for part in compose["include"]:
        members |= _part(part, value_set, code_system, within)
    for part in compose.get("exclude", ()):
        members -= _part(part, value_set, code_system, within)
    return members


def _part(part: Mapping[str, Any], value_set: Lookup, code_system: Lookup, inside: tuple[str, ...]) -> set[Coded]:
    """One include or exclude: what is in its system *and* in all its value sets."""
    sets = [_value_set(url, value_set, code_system, inside) for url in part.get("valueSet", ())]
    if "system" in part:
        sets.append(_of_system(part, code_system))
    if not sets:
        raise _Unbounded(str(part))
    return set.intersection(*sets)


def _of_system(part: Mapping[str, Any], code_system: Lookup) -> set[Coded]:
    system = part["system"]
    if "concept" in part:
        return {(system, c["code"]) for c in part["concept"]}
    resource = code_system(f"{system}|{part['version']}" if "version" in part else system) or code_system(system)
    if resource is None or resource.get("content") != "complete":
        raise _Unbounded(system)
    hierarchy = Hierarchy(resource)
    codes = set(hierarchy.parents)
    for condition in part.get("filter", ()):
        codes &= hierarchy.filtered(condition["property"], condition["op"], condition["value"])
    return {(system, code) for code in codes}


class Hierarchy:
    """The concepts of a code system with their parents, from nesting and from the properties parent and child."""

    def __init__(self, code_system: Mapping[str, Any]):
        self.parents: dict[str, set[str]] = {}
        self._properties: dict[str, dict[str, set[str]]] = {}
        for concept, parent in _walk(code_system.get("concept", ()), None):
            code = concept["code"]
            above = self.parents.setdefault(code, set())
            if parent is not None:
                above.add(parent)
            for item in concept.get("property", ()):
                value = next((v for k, v in item.items() if k.startswith("value")), None)
                if item["code"] == "parent":
                    above.add(str(value))
                elif item["code"] == "child":
                    self.parents.setdefault(str(value), set()).add(code)
                elif not isinstance(value, dict):
                    text = str(value).lower() if isinstance(value, bool) else str(value)
                    self._properties.setdefault(item["code"], {}).setdefault(text, set()).add(code)

    def descendants(self, root: str) -> set[str]:
        """Everything below `root`, without it."""
        children: dict[str, list[str]] = {}
        for code, parents in self.parents.items():
            for parent in parents:
                children.setdefault(parent, []).append(code)
        found: set[str] = set()
        todo = [root]
        while todo:
            fresh = [c for c in children.get(todo.pop(), ()) if c not in found]
            found.update(fresh)
            todo += fresh
        return found - {root}

    def filtered(self, name: str, op: str, value: str) -> set[str]:
        """The codes that satisfy a filter; raises _Unbounded for one that the tables cannot answer."""
        everything = set(self.parents)
        if name in ("concept", "code"):
            if op == "is-a":
                return (self.descendants(value) | {value}) & everything
            if op == "descendent-of":
                return self.descendants(value)
            if op == "is-not-a":
                return everything - self.descendants(value) - {value}
            if op == "regex":
                return {c for c in everything if re.fullmatch(value, c)}
            if op == "in":
                return {c.strip() for c in value.split(",")} & everything
        if name == "parent" and op == "=":
            return {c for c, parents in self.parents.items() if value in parents}
        if op == "=" and name in self._properties:
            return self._properties[name].get(value, set())
        raise _Unbounded(f"{name} {op} {value}")


def _walk(concepts: Any, parent: str | None) -> Iterator[tuple[Mapping[str, Any], str | None]]:
    for concept in concepts:
        yield concept, parent
        yield from _walk(concept.get("concept", ()), concept["code"])
