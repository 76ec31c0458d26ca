"""The types that the modules of this package share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec

Resource = Mapping[str, Any]

TERMINOLOGY_TYPES = frozenset({"CodeSystem", "ValueSet", "ConceptMap", "NamingSystem"})
"""The resource types that this package reads."""

Membership = bool | str
"""Whether a code is in a value set; a string gives the reason why this is unknown."""


class Unresolved(Exception):
    """The question has no reliable answer. code: one of https://hl7.org/fhir/R4/valueset-issue-type.html."""

    def __init__(self, text: str, code: str = "not-found"):
        super().__init__(text)
        self.text, self.code = text, code


class Designation(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """https://hl7.org/fhir/R4/codesystem-definitions.html#CodeSystem.concept.designation"""

    value: str
    language: str | None = None
    use: dict[str, Any] | None = None


class Concept(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """https://hl7.org/fhir/R4/codesystem-definitions.html#CodeSystem.concept; concept: its children."""

    code: str
    display: str | None = None
    definition: str | None = None
    designation: tuple[Designation, ...] = ()
    property: tuple[dict[str, Any], ...] = ()
    concept: tuple[Concept, ...] = ()


class Coding(NamedTuple):
    """A code of a request. system: None matches any system, "" means a code without a system."""

    system: str | None
    code: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class TerminologyResource:
    """An available conformance resource, not yet parsed.

    key: identifies the resource and its state. It differs after every change. place: identifies the resource alone.
    version, content: the elements of the resource; "" if absent. load: returns the parsed resource, which is shared:
    do not change it."""

    key: Hashable
    place: Hashable
    version: str
    content: str
    load: Callable[[], Resource]


class TerminologySource(Protocol):
    """Provides terminology resources in addition to those of packages and of R4."""

    def marker(self) -> Hashable:
        """A value that changes with every acknowledged write of a terminology resource, by any process."""
        ...

    def find(self, type: str, url: str) -> list[TerminologyResource]:
        """All resources of this type with this url, the newest version first."""
        ...

    def all(self, type: str) -> Iterable[TerminologyResource]:
        """All resources of this type."""
        ...

    def supplements(self) -> Iterable[TerminologyResource]:
        """The CodeSystems with the content supplement."""
        ...


class EmptySource:
    """A `TerminologySource` without resources."""

    def marker(self) -> Hashable:
        return None

    def find(self, type: str, url: str) -> list[TerminologyResource]:
        return []

    def all(self, type: str) -> Iterable[TerminologyResource]:
        return ()

    def supplements(self) -> Iterable[TerminologyResource]:
        return ()
