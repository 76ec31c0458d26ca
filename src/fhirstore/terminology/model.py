"""What the terminology room speaks of: concepts, verdicts, found resources, and why something cannot be told."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec

Resource = Mapping[str, Any]

Verdict = bool | str
"""Whether a code is in a value set; a text says why that cannot be told."""


class Unresolved(Exception):
    """What was asked cannot be told. code: of https://hl7.org/fhir/R4/valueset-issue-type.html."""

    def __init__(self, text: str, code: str = "not-found"):
        super().__init__(text)
        self.text, self.code = text, code


class Designation(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """https://hl7.org/fhir/R4/codesystem-definitions.html#CodeSystem.concept.designation"""

    value: str
    language: str | None = None
    use: dict[str, Any] | None = None


class Concept(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """https://hl7.org/fhir/R4/codesystem-definitions.html#CodeSystem.concept; concept: those below it."""

    code: str
    display: str | None = None
    definition: str | None = None
    designation: tuple[Designation, ...] = ()
    property: tuple[dict[str, Any], ...] = ()
    concept: tuple[Concept, ...] = ()


class Coded(NamedTuple):
    """A code that is asked for. system None: of any system, "": of none."""

    system: str | None
    code: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class TerminologyResource:
    """A conformance resource that is at hand. key: other when the resource is another one, or was changed; place: other
    only when it is another one.

    version, content: of the resource; "" where it has none. load: gives the resource, parsed; do not change it."""

    key: Hashable
    place: Hashable
    version: str
    content: str
    load: Callable[[], Resource]


class Source(Protocol):
    """Where terminology resources come from, beside packages and R4 itself."""

    def marker(self) -> Hashable:
        """A value that is other after every acknowledged write of such a resource, by whatever process."""
        ...

    def find(self, type: str, url: str) -> list[TerminologyResource]:
        """All of this type with this url, the newest version first."""
        ...

    def all(self, type: str) -> Iterable[TerminologyResource]:
        """All of this type."""
        ...


class Nothing:
    """A source that holds nothing and never changes."""

    def marker(self) -> Hashable:
        return None

    def find(self, type: str, url: str) -> list[TerminologyResource]:
        return []

    def all(self, type: str) -> Iterable[TerminologyResource]:
        return ()
