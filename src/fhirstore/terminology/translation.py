"""https://hl7.org/fhir/R4/conceptmap-operation-translate.html"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhirstore.model.messages import Message
from fhirstore.terminology.model import Coding, Resource, Unresolved
from fhirstore.terminology.service import TerminologySnapshot

_NO_MATCH = frozenset({"unmatched", "disjoint"})
_REVERSED = {"wider": "narrower", "narrower": "wider", "subsumes": "specializes", "specializes": "subsumes"}


@dataclass(frozen=True, slots=True)
class TranslationRequest:
    """The in parameters of $translate; None = absent.

    source, target: canonicals of value sets. target_system: url of a code system. dependencies: (element, value)."""

    codings: Sequence[Coding]
    source: str | None = None
    target: str | None = None
    target_system: str | None = None
    dependencies: Sequence[tuple[str, Coding]] = ()
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class TranslationMatch:
    """An out parameter `match`. equivalence: https://hl7.org/fhir/R4/valueset-concept-map-equivalence.html.

    concept: a Coding, None if the code has no translation. source: the url of the concept map."""

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


def translate(snapshot: TerminologySnapshot, maps: Iterable[Resource], request: TranslationRequest) -> dict[str, Any]:
    """The out parameters of $translate.

    Raises Unresolved for a map that is invalid or refers to an unavailable one."""
    matches: list[TranslationMatch] = []
    for concept_map in maps:
        try:
            found = [
                m
                for coding in request.codings
                for m in _Translator(snapshot, request).translate(concept_map, coding, ())
            ]
        except (KeyError, TypeError, AttributeError) as e:
            raise Unresolved(
                Message("the concept map {url} is invalid: {reason}", url=concept_map.get("url"), reason=repr(e)),
                "invalid",
            ) from e
        matches += [m for m in found if m not in matches]
    result = any(m.equivalence not in _NO_MATCH for m in matches)
    out: dict[str, Any] = {"result": result, "match": [m.to_json() for m in matches]}
    if not result:
        codes = ", ".join(f"{c.system}|{c.code}" for c in request.codings)
        out["message"] = Message("No available concept map translates {codes}.", codes=codes)
    return out


def matching_maps(snapshot: TerminologySnapshot, request: TranslationRequest) -> Iterator[Resource]:
    """The available concept maps between the requested value sets. A map without value sets matches any."""
    source, target = request.source, request.target
    if request.reverse:
        source, target = target, source
    for concept_map in snapshot.all("ConceptMap"):
        if _has_value_set(concept_map, "source", source) and _has_value_set(concept_map, "target", target):
            yield concept_map


def _has_value_set(concept_map: Resource, end: str, canonical: str | None) -> bool:
    """end: "source" or "target"."""
    stated = concept_map.get(f"{end}Canonical") or concept_map.get(f"{end}Uri")
    return canonical is None or (isinstance(stated, str) and _same_canonical(stated, canonical))


def _same_canonical(one: str, other: str) -> bool:
    url, _, version = one.partition("|")
    other_url, _, other_version = other.partition("|")
    return url == other_url and (not version or not other_version or version == other_version)


class _Translator:
    def __init__(self, snapshot: TerminologySnapshot, request: TranslationRequest):
        self._snapshot, self._request = snapshot, request
        self._matches = _reverse_matches if request.reverse else _forward_matches

    def translate(self, concept_map: Resource, coding: Coding, visited: tuple[str, ...]) -> Iterator[TranslationMatch]:
        url = concept_map.get("url")
        for group in concept_map.get("group", ()):
            yield from self._group(group, coding, url, visited)

    def _group(
        self, group: Resource, coding: Coding, url: str | None, visited: tuple[str, ...]
    ) -> Iterator[TranslationMatch]:
        near, far = ("target", "source") if self._request.reverse else ("source", "target")
        if coding.system and group.get(near) != coding.system:
            return
        if coding.version and group.get(f"{near}Version", coding.version) != coding.version:
            return
        target_system = self._request.target_system
        if target_system is not None and group.get(far) != target_system:
            return
        mapped = False
        for element in group.get("element", ()):
            for match in self._matches(self, group, element, coding, url):
                mapped = True
                yield match
        if not mapped and not self._request.reverse and "unmapped" in group:
            yield from self._unmapped(group, group["unmapped"], coding, url, visited)

    def meets_dependencies(self, target: Resource) -> bool:
        """Whether the request meets the dependencies of a mapping: https://hl7.org/fhir/R4/conceptmap.html#dependencies."""
        for needed in target.get("dependsOn", ()):
            values = [c for element, c in self._request.dependencies if element == needed["property"]]
            if not any(_has_value(needed, one) for one in values):
                return False
        return True

    def _unmapped(
        self, group: Resource, unmapped: Resource, coding: Coding, url: str | None, visited: tuple[str, ...]
    ) -> Iterator[TranslationMatch]:
        mode = unmapped["mode"]
        if mode == "provided":
            yield TranslationMatch("equal", _coding(group.get("target"), coding.code, None), url)
        elif mode == "fixed":
            yield TranslationMatch(
                "inexact", _coding(group.get("target"), unmapped.get("code"), unmapped.get("display")), url
            )
        elif mode == "other-map":
            other = unmapped["url"]
            if other in visited:
                raise Unresolved(
                    Message("the concept map {other} refers to itself for unmapped codes", other=other), "invalid"
                )
            yield from self.translate(self._snapshot.concept_map(other), coding, (*visited, other))


def _forward_matches(
    translator: _Translator, group: Resource, element: Resource, coding: Coding, url: str | None
) -> Iterator[TranslationMatch]:
    if element.get("code") != coding.code:
        return
    if not element.get("target"):
        yield TranslationMatch("unmatched", None, url)
    for target in element.get("target", ()):
        if translator.meets_dependencies(target):
            concept = _coding(group.get("target"), target.get("code"), target.get("display"))
            version = group.get("targetVersion")
            yield TranslationMatch(target["equivalence"], _versioned(concept, version), url, _products(target))


def _reverse_matches(
    translator: _Translator, group: Resource, element: Resource, coding: Coding, url: str | None
) -> Iterator[TranslationMatch]:
    for target in element.get("target", ()):
        if target.get("code") == coding.code and translator.meets_dependencies(target):
            concept = _coding(group.get("source"), element.get("code"), element.get("display"))
            equivalence = _REVERSED.get(target["equivalence"], target["equivalence"])
            yield TranslationMatch(equivalence, _versioned(concept, group.get("sourceVersion")), url, _products(target))


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


def _has_value(needed: Resource, value: Coding) -> bool:
    return value.code == needed["value"] and ("system" not in needed or needed["system"] == value.system)
