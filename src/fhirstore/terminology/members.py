"""https://hl7.org/fhir/R4/valueset.html#compositions: a value set, compiled: is a code in it, and which codes are.

Whether a code is in it can often be told when its codes cannot be listed: a code of a system that no part names is not.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice
from typing import Any, NamedTuple, Protocol

from fhirstore.terminology.filters import select
from fhirstore.terminology.grammar import GRAMMARS
from fhirstore.terminology.model import (
    Concept,
    Designation,
    Resource,
    Unresolved,
    Verdict,
)
from fhirstore.terminology.systems import System


class Entry(NamedTuple):
    """A code of a value set. home: its code system, None where that is not at hand. display and designation: the value
    set's own, else those of the concept. listed: named one by one, so that it has its place in that list."""

    system: str
    version: str | None
    code: str
    display: str | None
    designation: Sequence[Designation]
    home: System | None
    abstract: bool = False
    inactive: bool = False
    listed: bool = False


Plain = tuple[str, Container[str]]
"""A system and codes of it that are compared as they are."""


class Part(Protocol):
    """One condition on codes."""

    def test(self, system: str | None, code: str) -> Verdict:
        """system None: of any system, "": of none."""
        ...

    def entries(self) -> Iterator[Entry]:
        """Raises Unresolved where the codes cannot be listed."""
        ...


# --- leaves -------------------------------------------------------------------------------------------


class Listed:
    """Codes that the value set names itself."""

    def __init__(self, url: str, version: str | None, concepts: Sequence[Concept], home: System | None):
        self._url, self._version, self._home = url, version, home
        self._concepts = {c.code: c for c in concepts}
        folds = home is not None and not home.case_sensitive
        self._folded = frozenset(c.casefold() for c in self._concepts) if folds else frozenset()

    @property
    def plain(self) -> Plain | None:
        return None if self._folded else (self._url, self._concepts)

    def test(self, system: str | None, code: str) -> Verdict:
        if system is not None and system != self._url:
            return False
        return code in self._concepts or (bool(self._folded) and code.casefold() in self._folded)

    def entries(self) -> Iterator[Entry]:
        home = self._home
        version = home.version if home is not None else self._version
        for code, own in self._concepts.items():
            known = home.find(code) if home is not None else None
            if known is None or home is None:
                yield Entry(self._url, version, code, own.display, own.designation, home, listed=True)
                continue
            display = own.display or known.display
            designation = own.designation or known.designation
            marks = home.is_abstract(known), home.is_inactive(known), True
            yield Entry(self._url, version, code, display, designation, home, *marks)


class Selected:
    """The codes of a code system that pass all filters; codes None = all of them."""

    def __init__(self, home: System, codes: Set[str] | None):
        self._home, self._codes = home, codes

    @property
    def plain(self) -> Plain | None:
        codes = self._home.concepts if self._codes is None else self._codes
        return (self._home.url, codes) if self._home.case_sensitive else None

    def test(self, system: str | None, code: str) -> Verdict:
        if system is not None and system != self._home.url:
            return False
        found = self._home.find(code)
        return found is not None and (self._codes is None or found.code in self._codes)

    def entries(self) -> Iterator[Entry]:
        home, codes = self._home, self._codes
        for code, concept in home.concepts.items():
            if codes is not None and code not in codes:
                continue
            marks = (home.is_abstract(concept), home.is_inactive(concept)) if concept.property else ()
            yield Entry(home.url, home.version, code, concept.display, concept.designation, home, *marks)


class Written:
    """The codes of a system that has a grammar."""

    def __init__(self, url: str):
        self._url, self._fits = url, GRAMMARS[url]

    def test(self, system: str | None, code: str) -> Verdict:
        return (system is None or system == self._url) and self._fits(code)

    def entries(self) -> Iterator[Entry]:
        raise Unresolved(f"the codes of {self._url} cannot be listed: a grammar makes them", "too-costly")


class Unsure:
    """A part of which it cannot be told what is in it. system: whose codes they are, None = that is unknown too."""

    def __init__(self, system: str | None, reason: Unresolved, known: Set[str] = frozenset()):
        self._system, self._reason, self._known = system, reason, known

    def test(self, system: str | None, code: str) -> Verdict:
        if self._system is not None and system is not None and system != self._system:
            return False
        return True if code in self._known else self._reason.text

    def entries(self) -> Iterator[Entry]:
        raise self._reason


class Expanded:
    """What an expansion that came with the value set says."""

    def __init__(self, contains: Any):
        self._entries = {(e.system, e.code): e for e in flat(contains)}
        self._codes = frozenset(code for _, code in self._entries)

    def test(self, system: str | None, code: str) -> Verdict:
        return code in self._codes if system is None else (system, code) in self._entries

    def entries(self) -> Iterator[Entry]:
        yield from self._entries.values()


def flat(contains: Any) -> Iterator[Entry]:
    """The codes of ValueSet.expansion.contains, whatever nesting."""
    for item in contains:
        if "code" in item and not item.get("abstract"):
            yield Entry(
                item.get("system", ""), item.get("version"), item["code"], item.get("display"), (), None,
                inactive=item.get("inactive") is True, listed=True,
            )  # fmt: skip
        yield from flat(item.get("contains", ()))


# --- combinations -------------------------------------------------------------------------------------


class Both:
    """What is in every one of the parts. Listed in the order of the first that can be."""

    def __init__(self, parts: Sequence[Part]):
        self._parts = tuple(parts)

    def test(self, system: str | None, code: str) -> Verdict:
        unsure: str | None = None
        for part in self._parts:
            verdict = part.test(system, code)
            if verdict is False:
                return False
            if verdict is not True:
                unsure = unsure or verdict
        return unsure or True

    def entries(self) -> Iterator[Entry]:
        problem: Unresolved | None = None
        for number, part in enumerate(self._parts):
            try:
                found = list(part.entries())
            except Unresolved as e:
                problem = problem or e
                continue
            others = self._parts[:number] + self._parts[number + 1 :]
            return (e for e in found if all(_sure(o.test(e.system, e.code)) for o in others))
        raise problem or Unresolved("a part of the value set names neither a system nor a value set", "invalid")


def _sure(verdict: Verdict) -> bool:
    if isinstance(verdict, str):
        raise Unresolved(verdict)
    return verdict


class Members:
    """A compiled value set: what is in an include and in no exclude. resource: the value set itself, if at hand;
    is_elsewhere: another server is asked for some of it."""

    def __init__(
        self,
        url: str,
        included: Sequence[Part],
        excluded: Sequence[Part] = (),
        resource: Resource | None = None,
        *,
        without_inactive: bool = False,
    ):
        self.url, self.resource = url, resource
        self.is_elsewhere = False
        self._included, self._excluded = tuple(included), tuple(excluded)
        self._without_inactive = without_inactive
        self._wanted: str | None = None
        self._codes: frozenset[str] | None = None
        self._inactive: frozenset[tuple[str, str]] | None = None
        self.test: Callable[[str | None, str], Verdict] = self._test
        if not self._excluded and not without_inactive:
            self.test = _quick(self._included) or self._test

    def _test(self, system: str | None, code: str) -> Verdict:
        verdict = _any(part.test(system, code) for part in self._included)
        if verdict is not False and self._excluded:
            out = _any(part.test(system, code) for part in self._excluded)
            if out is True:
                return system is None and self._is_left(code)
            verdict = verdict if out is False else out
        if verdict is True and self._without_inactive and self._is_inactive(system, code):
            return False
        return verdict

    def _is_left(self, code: str) -> bool:
        """Whether a code that is excluded in one system is in the value set in another."""
        if self._codes is None:
            try:
                self._codes = frozenset(e.code for e in self.entries())
            except Unresolved:
                self._codes = frozenset()
        return code in self._codes

    def _is_inactive(self, system: str | None, code: str) -> bool:
        if self._inactive is None:
            entries = (e for part in self._included for e in _listable(part))
            self._inactive = frozenset((e.system, e.code) for e in entries if e.inactive)
        if system is None:
            return any(code == other for _, other in self._inactive)
        return (system, code) in self._inactive

    def entries(self) -> Iterator[Entry]:
        """The codes, each once, in the order of the includes. Raises Unresolved where they cannot be listed."""
        seen: set[tuple[str, str]] = set()
        for part in self._included:
            for entry in part.entries():
                key = (entry.system, entry.code)
                if key in seen or (entry.inactive and self._without_inactive):
                    continue
                seen.add(key)
                if not self._excluded or not self._is_excluded(*key):
                    yield entry

    def _is_excluded(self, system: str, code: str) -> bool:
        return _sure(_any(part.test(system, code) for part in self._excluded))

    def wanted(self, most: int = 25) -> str:
        """Some of the codes, for a message; empty when they cannot be listed."""
        if self._wanted is None:
            self._wanted = self._describe(most)
        return self._wanted

    def _describe(self, most: int) -> str:
        try:
            entries = list(islice(self.entries(), 10_000))
        except Unresolved:
            return ""
        systems = {e.system for e in entries}
        if len(systems) == 1:
            return f"{_cut([e.code for e in entries], most)} of {systems.pop()}"
        return _cut([f"{e.system}|{e.code}" for e in entries], most)


def _quick(parts: Sequence[Part]) -> Callable[[str | None, str], Verdict] | None:
    """The test of a union of plain lists of codes: validation asks it for every coding. None where it is none."""
    plain = [found for part in parts if (found := getattr(part, "plain", None)) is not None]
    if len(plain) < len(parts):
        return parts[0].test if len(parts) == 1 else None
    by_system: dict[str, list[Container[str]]] = {}
    for url, codes in plain:
        by_system.setdefault(url, []).append(codes)
    every = tuple(codes for _, codes in plain)
    none: list[Container[str]] = []

    def test(system: str | None, code: str) -> Verdict:
        # not any(…), which takes three times as long
        for codes in every if system is None else by_system.get(system, none):  # noqa: SIM110
            if code in codes:
                return True
        return False

    return test if len(plain) > 1 else _single(*plain[0]) if plain else test


def _single(url: str, codes: Container[str]) -> Callable[[str | None, str], Verdict]:
    return lambda system, code: code in codes and (system is None or system == url)


def _listable(part: Part) -> Iterable[Entry]:
    try:
        return list(part.entries())
    except Unresolved:
        return ()


def _cut(names: list[str], most: int) -> str:
    more = f"… ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(sorted(names)[:most]) + more


def _any(verdicts: Iterable[Verdict]) -> Verdict:
    unsure: str | None = None
    for verdict in verdicts:
        if verdict is True:
            return True
        if verdict is not False:
            unsure = unsure or verdict
    return unsure or False


def listed_concepts(part: Mapping[str, Any]) -> list[Concept]:
    """The concepts of ValueSet.compose.include.concept."""
    return [
        Concept(
            c["code"],
            c.get("display"),
            designation=tuple(
                Designation(d["value"], d.get("language"), d.get("use")) for d in c.get("designation", ())
            ),
        )
        for c in part["concept"]
    ]


def filtered(home: System, conditions: Sequence[Resource]) -> Selected:
    """The codes of a system that pass all filters. Raises Unresolved, see `filters.select`."""
    codes: Set[str] | None = None
    for condition in conditions:
        found = select(home, condition)
        codes = found if codes is None else codes & found
    return Selected(home, codes)
