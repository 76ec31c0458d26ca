"""Sets of codes, the parts of which a value set is composed: https://hl7.org/fhir/R4/valueset.html#compositions.

A set often decides whether a code belongs to it although its codes cannot be enumerated: a code of another code system
does not belong to it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple, Protocol

from fhirstore.model.messages import Message
from fhirstore.terminology.code_systems import CodeSystem
from fhirstore.terminology.filters import select
from fhirstore.terminology.grammar import GRAMMARS
from fhirstore.terminology.model import Concept, Designation, Membership, Resource, Unresolved


class ExpansionEntry(NamedTuple):
    """A code of a value set.

    code_system: None if it is unavailable. display, designation: those of the value set, else those of the concept.
    enumerated: the value set lists the code itself, so the code keeps its position in that list."""

    system: str
    version: str | None
    code: str
    display: str | None
    designation: Sequence[Designation]
    code_system: CodeSystem | None
    abstract: bool = False
    inactive: bool = False
    enumerated: bool = False


PlainCodes = tuple[str, Container[str]]
"""The url of a code system and codes of it that are compared as they are."""


class CodeSet(Protocol):
    """A set of codes."""

    def membership(self, system: str | None, code: str) -> Membership:
        """Whether the code is in the set. system: None matches any system, "" means a code without a system."""
        ...

    def entries(self) -> Iterator[ExpansionEntry]:
        """The codes. Raises Unresolved if they cannot be enumerated."""
        ...


# --- leaves -------------------------------------------------------------------------------------------


class EnumeratedCodes:
    """The codes of ValueSet.compose.include.concept. code_system: None if it is unavailable."""

    def __init__(self, url: str, version: str | None, concepts: Sequence[Concept], code_system: CodeSystem | None):
        self._url, self._version, self._code_system = url, version, code_system
        self._concepts = {c.code: c for c in concepts}
        ignores_case = code_system is not None and not code_system.case_sensitive
        self._folded = frozenset(c.casefold() for c in self._concepts) if ignores_case else frozenset()

    @property
    def plain(self) -> PlainCodes | None:
        """The codes, if case matters."""
        return None if self._folded else (self._url, self._concepts)

    def membership(self, system: str | None, code: str) -> Membership:
        if system is not None and system != self._url:
            return False
        return code in self._concepts or (bool(self._folded) and code.casefold() in self._folded)

    def entries(self) -> Iterator[ExpansionEntry]:
        source = self._code_system
        version = source.version if source is not None else self._version
        for code, own in self._concepts.items():
            known = source.find(code) if source is not None else None
            if known is None or source is None:
                yield ExpansionEntry(
                    self._url, version, code, own.display, own.designation, source, enumerated=True
                )  # fmt: skip
                continue
            display = own.display or known.display
            designation = own.designation or known.designation
            flags = source.is_abstract(known), source.is_inactive(known), True
            yield ExpansionEntry(self._url, version, code, display, designation, source, *flags)


class FilteredCodes:
    """The codes of a code system that pass all filters. codes: None means all codes."""

    def __init__(self, code_system: CodeSystem, codes: Set[str] | None):
        self._code_system, self._codes = code_system, codes

    @property
    def plain(self) -> PlainCodes | None:
        """The codes, if case matters."""
        codes = self._code_system.concepts if self._codes is None else self._codes
        return (self._code_system.url, codes) if self._code_system.case_sensitive else None

    def membership(self, system: str | None, code: str) -> Membership:
        if system is not None and system != self._code_system.url:
            return False
        found = self._code_system.find(code)
        return found is not None and (self._codes is None or found.code in self._codes)

    def entries(self) -> Iterator[ExpansionEntry]:
        source, codes = self._code_system, self._codes
        for code, concept in source.concepts.items():
            if codes is not None and code not in codes:
                continue
            flags = (source.is_abstract(concept), source.is_inactive(concept)) if concept.property else ()
            yield ExpansionEntry(
                source.url, source.version, code, concept.display, concept.designation, source, *flags
            )  # fmt: skip


class GrammarCodes:
    """The codes of a code system that is defined by a grammar."""

    def __init__(self, url: str):
        self._url, self._is_well_formed = url, GRAMMARS[url]

    def membership(self, system: str | None, code: str) -> Membership:
        return (system is None or system == self._url) and self._is_well_formed(code)

    def entries(self) -> Iterator[ExpansionEntry]:
        raise Unresolved(
            Message("the codes of {url} cannot be enumerated: the system is a grammar", url=self._url), "too-costly"
        )


class UnresolvedCodes:
    """A set whose codes are unknown, but for `known`. system: the code system of all of its codes, None = unknown."""

    def __init__(self, system: str | None, reason: Unresolved, known: Set[str] = frozenset()):
        self._system, self._reason, self._known = system, reason, known

    def membership(self, system: str | None, code: str) -> Membership:
        if self._system is not None and system is not None and system != self._system:
            return False
        return True if code in self._known else self._reason.text

    def entries(self) -> Iterator[ExpansionEntry]:
        raise self._reason


class StoredExpansion:
    """The codes of ValueSet.expansion.contains."""

    def __init__(self, contains: Any):
        self._entries = {(e.system, e.code): e for e in expansion_entries(contains)}
        self._codes = frozenset(code for _, code in self._entries)

    def membership(self, system: str | None, code: str) -> Membership:
        return code in self._codes if system is None else (system, code) in self._entries

    def entries(self) -> Iterator[ExpansionEntry]:
        yield from self._entries.values()


def expansion_entries(contains: Any) -> Iterator[ExpansionEntry]:
    """The codes of ValueSet.expansion.contains, nested ones included."""
    for item in contains:
        if "code" in item and not item.get("abstract"):
            yield ExpansionEntry(
                item.get("system", ""), item.get("version"), item["code"], item.get("display"), (), None,
                inactive=item.get("inactive") is True, enumerated=True,
            )  # fmt: skip
        yield from expansion_entries(item.get("contains", ()))


def enumerated_concepts(include: Mapping[str, Any]) -> list[Concept]:
    """The concepts of ValueSet.compose.include.concept."""
    return [
        Concept(
            c["code"],
            c.get("display"),
            designation=tuple(
                Designation(d["value"], d.get("language"), d.get("use")) for d in c.get("designation", ())
            ),
        )
        for c in include["concept"]
    ]


def filter_codes(code_system: CodeSystem, conditions: Sequence[Resource]) -> FilteredCodes:
    """The codes that pass all filters. Raises Unresolved, see `filters.select`."""
    codes: Set[str] | None = None
    for condition in conditions:
        selected = select(code_system, condition)
        codes = selected if codes is None else codes & selected
    return FilteredCodes(code_system, codes)


# --- combinations -------------------------------------------------------------------------------------


class Intersection:
    """The codes that are in every one of the sets, in the order of the first set that can be enumerated."""

    def __init__(self, sets: Sequence[CodeSet]):
        self._sets = tuple(sets)

    def membership(self, system: str | None, code: str) -> Membership:
        unknown: str | None = None
        for one in self._sets:
            membership = one.membership(system, code)
            if membership is False:
                return False
            if membership is not True:
                unknown = unknown or membership
        return unknown or True

    def entries(self) -> Iterator[ExpansionEntry]:
        problem: Unresolved | None = None
        for number, one in enumerate(self._sets):
            try:
                found = list(one.entries())
            except Unresolved as e:
                problem = problem or e
                continue
            others = self._sets[:number] + self._sets[number + 1 :]
            return (e for e in found if all(require(o.membership(e.system, e.code)) for o in others))
        raise problem or Unresolved(Message("an include of the value set has neither system nor valueSet"), "invalid")


def union_membership(memberships: Iterable[Membership]) -> Membership:
    """True if one of them is, else the first reason why one is unknown, else False."""
    unknown: str | None = None
    for membership in memberships:
        if membership is True:
            return True
        if membership is not False:
            unknown = unknown or membership
    return unknown or False


def require(membership: Membership) -> bool:
    """The membership. Raises Unresolved if it is unknown."""
    if isinstance(membership, str):
        raise Unresolved(membership)
    return membership
