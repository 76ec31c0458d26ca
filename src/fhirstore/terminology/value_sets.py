"""https://hl7.org/fhir/R4/valueset.html#compositions: a compiled value set."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import islice

from fhirstore.model.messages import Message
from fhirstore.terminology.code_sets import (
    CodeSet,
    ExpansionEntry,
    PlainCodes,
    UnresolvedCodes,
    require,
    union_membership,
)
from fhirstore.terminology.model import Membership, Resource, Unresolved

MembershipTest = Callable[[str | None, str], Membership]
"""(system, code) -> membership; see `CodeSet.membership`."""

_SAMPLED = 10_000


class ValueSet:
    """The codes that are in one of the included sets and in none of the excluded ones.

    url: for messages. resource: the ValueSet, None if it is unavailable. is_remote: another server decides a part of
    it. membership: whether a code is in the value set; see `CodeSet.membership`."""

    def __init__(
        self,
        url: str,
        included: Sequence[CodeSet],
        excluded: Sequence[CodeSet] = (),
        resource: Resource | None = None,
        *,
        without_inactive: bool = False,
    ):
        self.url, self.resource = url, resource
        self.is_remote = False
        self._included, self._excluded = tuple(included), tuple(excluded)
        self._without_inactive = without_inactive
        self._sample: str | None = None
        self._codes: frozenset[str] | None = None
        self._inactive: frozenset[tuple[str, str]] | None = None
        self.membership: MembershipTest = self._membership
        if not self._excluded and not without_inactive:
            self.membership = _fast_test(self._included) or self._membership

    @classmethod
    def unresolved(cls, url: str, reason: Unresolved, resource: Resource | None = None) -> ValueSet:
        """A value set whose codes are all unknown."""
        return cls(url, [UnresolvedCodes(None, reason)], (), resource)

    def _membership(self, system: str | None, code: str) -> Membership:
        membership = union_membership(one.membership(system, code) for one in self._included)
        if membership is not False and self._excluded:
            excluded = union_membership(one.membership(system, code) for one in self._excluded)
            if excluded is True:
                return system is None and self._has_code(code)
            membership = membership if excluded is False else excluded
        if membership is True and self._without_inactive and self._is_inactive(system, code):
            return False
        return membership

    def _has_code(self, code: str) -> bool:
        """Whether a code that is excluded in one code system is in the value set in another one."""
        if self._codes is None:
            try:
                self._codes = frozenset(e.code for e in self.entries())
            except Unresolved:
                self._codes = frozenset()
        return code in self._codes

    def _is_inactive(self, system: str | None, code: str) -> bool:
        if self._inactive is None:
            entries = (e for one in self._included for e in _entries_if_enumerable(one))
            self._inactive = frozenset((e.system, e.code) for e in entries if e.inactive)
        if system is None:
            return any(code == other for _, other in self._inactive)
        return (system, code) in self._inactive

    def entries(self) -> Iterator[ExpansionEntry]:
        """The codes, each once, in the order of the includes. Raises Unresolved if they cannot be enumerated."""
        seen: set[tuple[str, str]] = set()
        for one in self._included:
            for entry in one.entries():
                key = (entry.system, entry.code)
                if key in seen or (entry.inactive and self._without_inactive):
                    continue
                seen.add(key)
                if not self._excluded or not self._is_excluded(*key):
                    yield entry

    def _is_excluded(self, system: str, code: str) -> bool:
        return require(union_membership(one.membership(system, code) for one in self._excluded))

    def sample_codes(self, limit: int = 25) -> str:
        """Up to `limit` codes as text, for messages; "" if the codes cannot be enumerated."""
        if self._sample is None:
            self._sample = self._sampled(limit)
        return self._sample

    def _sampled(self, limit: int) -> str:
        try:
            entries = list(islice(self.entries(), _SAMPLED))
        except Unresolved:
            return ""
        systems = {e.system for e in entries}
        if len(systems) == 1:
            return Message(
                "{codes} of {system}", codes=_truncated([e.code for e in entries], limit), system=systems.pop()
            )
        return _truncated([f"{e.system}|{e.code}" for e in entries], limit)


def _fast_test(sets: Sequence[CodeSet]) -> MembershipTest | None:
    """The test for a union of plain codes, or for a single set; None otherwise. Validation calls it for each coding."""
    plain: list[PlainCodes] = [found for one in sets if (found := getattr(one, "plain", None)) is not None]
    if len(plain) < len(sets):
        return sets[0].membership if len(sets) == 1 else None
    by_system: dict[str, list[Container[str]]] = {}
    for url, codes in plain:
        by_system.setdefault(url, []).append(codes)
    all_codes = tuple(codes for _, codes in plain)
    no_codes: list[Container[str]] = []

    def test(system: str | None, code: str) -> Membership:
        # any(...) takes three times as long
        for codes in all_codes if system is None else by_system.get(system, no_codes):  # noqa: SIM110
            if code in codes:
                return True
        return False

    return test if len(plain) > 1 else _single_system_test(*plain[0]) if plain else test


def _single_system_test(url: str, codes: Container[str]) -> MembershipTest:
    return lambda system, code: code in codes and (system is None or system == url)


def _entries_if_enumerable(codes: CodeSet) -> Iterable[ExpansionEntry]:
    try:
        return list(codes.entries())
    except Unresolved:
        return ()


def _truncated(names: list[str], limit: int) -> str:
    if len(names) <= limit:
        return ", ".join(sorted(names))
    return Message("{names}… ({count} in all)", names=sorted(names)[:limit], count=len(names))
