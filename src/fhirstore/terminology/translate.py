"""https://hl7.org/fhir/R4/conceptmap-operation-translate.html"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhirstore.terminology.model import Coded, Resource, Unresolved
from fhirstore.terminology.view import View

_NO_MATCH = frozenset({"unmatched", "disjoint"})
_REVERSED = {"wider": "narrower", "narrower": "wider", "subsumes": "specializes", "specializes": "subsumes"}


@dataclass(frozen=True, slots=True)
class Question:
    """asked: the codes. source, target: canonicals of value sets. target_system: url of a code system. dependencies:
    (element, Coded of its value). All as in the OperationDefinition; None = not given."""

    asked: Sequence[Coded]
    source: str | None = None
    target: str | None = None
    target_system: str | None = None
    dependencies: Sequence[tuple[str, Coded]] = ()
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """equivalence: https://hl7.org/fhir/R4/valueset-concept-map-equivalence.html. concept: Coding, None = none."""

    equivalence: str
    concept: Mapping[str, Any] | None
    source: str | None
    products: Sequence[Mapping[str, Any]] = field(default=())

    def to_json(self) -> dict[str, Any]:
        out = {
            "equivalence": self.equivalence,
            "concept": self.concept,
            "product": list(self.products),
            "source": self.source,
        }
        return {key: value for key, value in out.items() if value}


def translate(view: View, maps: Iterable[Resource], question: Question) -> dict[str, Any]:
    """The out parameters of $translate. Raises Unresolved for a map that cannot be read or names one not at hand."""
    matches: list[Match] = []
    for concept_map in maps:
        try:
            found = [m for asked in question.asked for m in _Walk(view, question).map(concept_map, asked, ())]
        except (KeyError, TypeError, AttributeError) as e:
            raise Unresolved(f"the concept map {concept_map.get('url')} cannot be read: {e!r}", "invalid") from e
        matches += [m for m in found if m not in matches]
    result = any(m.equivalence not in _NO_MATCH for m in matches)
    out: dict[str, Any] = {"result": result, "match": [m.to_json() for m in matches]}
    if not result:
        shown = ", ".join(f"{a.system}|{a.code}" for a in question.asked)
        out["message"] = f"No concept map at hand translates {shown}."
    return out


def fitting_maps(view: View, question: Question) -> Iterator[Resource]:
    """The concept maps at hand that may answer: from and to the value sets that are named, where a map names any."""
    source, target = question.source, question.target
    if question.reverse:
        source, target = target, source
    for concept_map in view.all("ConceptMap"):
        if _goes(concept_map, "source", source) and _goes(concept_map, "target", target):
            yield concept_map


def _goes(concept_map: Resource, end: str, wanted: str | None) -> bool:
    given = concept_map.get(f"{end}Canonical") or concept_map.get(f"{end}Uri")
    return wanted is None or (isinstance(given, str) and _same(given, wanted))


def _same(one: str, other: str) -> bool:
    url, _, version = one.partition("|")
    other_url, _, other_version = other.partition("|")
    return url == other_url and (not version or not other_version or version == other_version)


class _Walk:
    def __init__(self, view: View, question: Question):
        self._view, self._question = view, question
        self._turn = _back if question.reverse else _forth

    def map(self, concept_map: Resource, asked: Coded, inside: tuple[str, ...]) -> Iterator[Match]:
        url = concept_map.get("url")
        for group in concept_map.get("group", ()):
            yield from self._group(group, asked, url, inside)

    def _group(self, group: Resource, asked: Coded, url: str | None, inside: tuple[str, ...]) -> Iterator[Match]:
        near, far = ("target", "source") if self._question.reverse else ("source", "target")
        if asked.system and group.get(near) != asked.system:
            return
        if asked.version and group.get(f"{near}Version", asked.version) != asked.version:
            return
        wanted = self._question.target_system
        if wanted is not None and group.get(far) != wanted:
            return
        mapped = False
        for element in group.get("element", ()):
            for match in self._turn(self, group, element, asked, url):
                mapped = True
                yield match
        if not mapped and not self._question.reverse and "unmapped" in group:
            yield from self._unmapped(group, group["unmapped"], asked, url, inside)

    def depends(self, target: Resource) -> bool:
        """Whether what a mapping depends on was given: https://hl7.org/fhir/R4/conceptmap.html#dependencies."""
        for needed in target.get("dependsOn", ()):
            given = [c for element, c in self._question.dependencies if element == needed["property"]]
            if not any(_is(needed, one) for one in given):
                return False
        return True

    def _unmapped(
        self, group: Resource, unmapped: Resource, asked: Coded, url: str | None, inside: tuple[str, ...]
    ) -> Iterator[Match]:
        mode = unmapped["mode"]
        if mode == "provided":
            yield Match("equal", _coding(group.get("target"), asked.code, None), url)
        elif mode == "fixed":
            yield Match("inexact", _coding(group.get("target"), unmapped.get("code"), unmapped.get("display")), url)
        elif mode == "other-map":
            other = unmapped["url"]
            if other in inside:
                raise Unresolved(f"the concept map {other} refers to itself for what it does not map", "invalid")
            yield from self.map(self._view.resource("ConceptMap", other), asked, (*inside, other))


def _forth(walk: _Walk, group: Resource, element: Resource, asked: Coded, url: str | None) -> Iterator[Match]:
    if element.get("code") != asked.code:
        return
    if not element.get("target"):
        yield Match("unmatched", None, url)
    for target in element.get("target", ()):
        if walk.depends(target):
            concept = _coding(group.get("target"), target.get("code"), target.get("display"))
            version = group.get("targetVersion")
            yield Match(target["equivalence"], _versioned(concept, version), url, _products(target))


def _back(walk: _Walk, group: Resource, element: Resource, asked: Coded, url: str | None) -> Iterator[Match]:
    for target in element.get("target", ()):
        if target.get("code") == asked.code and walk.depends(target):
            concept = _coding(group.get("source"), element.get("code"), element.get("display"))
            equivalence = _REVERSED.get(target["equivalence"], target["equivalence"])
            yield Match(equivalence, _versioned(concept, group.get("sourceVersion")), url, _products(target))


def _coding(system: str | None, code: str | None, display: str | None) -> dict[str, Any] | None:
    if code is None:
        return None
    out = {"system": system, "code": code, "display": display}
    return {key: value for key, value in out.items() if value is not None}


def _versioned(concept: dict[str, Any] | None, version: str | None) -> dict[str, Any] | None:
    return concept if concept is None or version is None else {**concept, "version": version}


def _products(target: Resource) -> list[dict[str, Any]]:
    return [
        {"element": p["property"], "concept": _coding(p.get("system"), p.get("value"), p.get("display"))}
        for p in target.get("product", ())
    ]


def _is(needed: Resource, given: Coded) -> bool:
    return given.code == needed["value"] and ("system" not in needed or needed["system"] == given.system)
