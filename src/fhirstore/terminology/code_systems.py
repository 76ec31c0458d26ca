"""https://hl7.org/fhir/R4/codesystem.html: the concepts of a code system, with their hierarchy and properties."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from fhirstore.model.messages import Message
from fhirstore.terminology.model import Concept, Resource, Unresolved

_PROPERTIES = "http://hl7.org/fhir/concept-properties#"
_COMPLETE = ("complete", "")


class _DeclaredProperty(msgspec.Struct, frozen=True):
    """CodeSystem.property."""

    code: str
    uri: str | None = None
    description: str | None = None


class _DeclaredFilter(msgspec.Struct, frozen=True):
    """CodeSystem.filter."""

    code: str


class _CodeSystemFields(msgspec.Struct, frozen=True):
    """The elements of a CodeSystem that are read."""

    url: str
    version: str | None = None
    name: str | None = None
    title: str | None = None
    content: str = ""
    language: str | None = None
    case_sensitive: bool = msgspec.field(name="caseSensitive", default=True)
    property: tuple[_DeclaredProperty, ...] = ()
    filter: tuple[_DeclaredFilter, ...] = ()
    concept: tuple[Concept, ...] = ()


msgspec.json.Decoder(_CodeSystemFields)  # Initialises the class before threads use it: docs/architecture.md, Threads


class CodeSystem:
    """A compiled code system. Immutable.

    concepts: by code, in the order of the resource. parents, children: related codes by code, from nesting and from the
    properties parent and child; codes without any are omitted. Raises ValueError or msgspec.ValidationError for a
    malformed resource."""

    def __init__(self, resource: Resource):
        row = msgspec.convert(resource, _CodeSystemFields)
        self.url, self.version, self.language = row.url, row.version, row.language
        self.name = row.name or row.title or row.url
        self.content = row.content
        self.case_sensitive = row.case_sensitive
        self.concepts: dict[str, Concept] = {}
        self.children: dict[str, list[str]] = {}
        self.descriptions = {d.code: d.description for d in row.property if d.description}
        self._declared = {d.code: (d.uri or "").removeprefix(_PROPERTIES) for d in row.property}
        self._filters = frozenset(f.code for f in row.filter)
        parents: dict[str, dict[str, None]] = {}
        for concept, parent in _walk(row.concept, None):
            self.concepts.setdefault(concept.code, concept)
            if parent is not None:
                self._link(parents, parent, concept.code)
            for item in concept.property:
                if not isinstance(item.get("code"), str):
                    raise ValueError(Message("a property of the concept {code} has no code", code=repr(concept.code)))
                self._relate(parents, concept.code, item)
        self.parents = {code: tuple(above) for code, above in parents.items()}
        self._folded = {} if row.case_sensitive else {code.casefold(): code for code in self.concepts}
        self._by_property: dict[str, dict[str, set[str]]] = {}
        self._descendants: dict[str, frozenset[str]] = {}

    @property
    def is_complete(self) -> bool:
        """Whether a code that is absent here does not exist."""
        return self.content in _COMPLETE

    @property
    def canonical(self) -> str:
        return f"{self.url}|{self.version}" if self.version else self.url

    def find(self, code: str) -> Concept | None:
        """The concept of a code, or None. Ignores case if the code system does."""
        found = self.concepts.get(code)
        if found is None and self._folded:
            found = self.concepts.get(self._folded.get(code.casefold(), ""))
        return found

    def require(self, code: str) -> Concept:
        """The concept of a code. Raises Unresolved if the code system does not contain it."""
        found = self.find(code)
        if found is None:
            hint = "" if self.is_complete else Message(" (it is incomplete, content: {content})", content=self.content)
            raise Unresolved(
                Message(
                    "the code system {url} has no code {code}{hint}", url=self.url, code=repr(code[:100]), hint=hint
                ),
                "not-found",
            )
        return found

    # --- hierarchy

    def ancestors(self, code: str) -> set[str]:
        """All ancestors of a code, without the code itself."""
        return _reachable(code, self.parents)

    def descendants(self, code: str) -> frozenset[str]:
        """All descendants of a code, without the code itself."""
        found = self._descendants.get(code)
        if found is None:
            found = self._descendants[code] = frozenset(_reachable(code, self.children))
        return found

    def _link(self, parents: dict[str, dict[str, None]], parent: str, child: str) -> None:
        if parent != child and parent not in (above := parents.setdefault(child, {})):
            above[parent] = None
            self.children.setdefault(parent, []).append(child)

    def _relate(self, parents: dict[str, dict[str, None]], code: str, item: dict[str, Any]) -> None:
        kind = self._standard_name(str(item.get("code")))
        if kind == "parent":
            self._link(parents, property_text(item), code)
        elif kind == "child":
            self._link(parents, code, property_text(item))

    # --- properties

    def is_abstract(self, concept: Concept) -> bool:
        """Whether the concept only groups others (property notSelectable)."""
        return any(
            item.get("valueBoolean") is True
            and self._standard_name(str(item.get("code"))) in ("notSelectable", "abstract")
            for item in concept.property
        )

    def is_inactive(self, concept: Concept) -> bool:
        """Whether the concept is out of use (property inactive, or status retired)."""
        for item in concept.property:
            meaning = self._standard_name(str(item.get("code")))
            if meaning == "inactive" and item.get("valueBoolean") is True:
                return True
            if meaning == "status" and property_text(item) in ("retired", "inactive"):
                return True
        return False

    def has_property(self, name: str) -> bool:
        """Whether the code system declares the property or a filter of this name, or a concept has the property."""
        return name in self._declared or name in self._filters or bool(self.with_property(name))

    def with_property(self, name: str) -> dict[str, set[str]]:
        """Text of the property's value -> codes of the concepts that have it."""
        found = self._by_property.get(name)
        if found is None:
            found = {}
            for code, concept in self.concepts.items():
                for item in concept.property:
                    if item.get("code") == name:
                        found.setdefault(property_text(item), set()).add(code)
            if found:
                self._by_property[name] = found
        return found

    def _standard_name(self, code: str) -> str:
        """The name in https://hl7.org/fhir/R4/codesystem-concept-properties.html that a property's uri refers to."""
        return self._declared.get(code) or code


def property_text(item: dict[str, Any]) -> str:
    """The value of a concept's property as text, for filters; for a Coding its code."""
    value = next((v for k, v in item.items() if k.startswith("value")), None)
    if isinstance(value, dict):
        return str(value.get("code"))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _walk(concepts: Iterable[Concept], parent: str | None) -> Iterator[tuple[Concept, str | None]]:
    for concept in concepts:
        yield concept, parent
        if concept.concept:
            yield from _walk(concept.concept, concept.code)


def _reachable(start: str, edges: Mapping[str, Sequence[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = [c for c in edges.get(waiting.pop(), ()) if c not in found]
        found.update(new)
        waiting += new
    return found - {start}
