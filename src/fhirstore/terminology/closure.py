"""https://hl7.org/fhir/R4/terminology-service.html#closure: a closure table that a client maintains by name.

The server keeps which concepts the client named, and in which version; what subsumes what it works out anew, from the
code systems as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from fhirstore.terminology.model import Coded, Unresolved
from fhirstore.terminology.view import View


class Table(msgspec.Struct, frozen=True):
    """version: how often concepts were added. concepts: (system, code, version in which it was added)."""

    version: int = 0
    concepts: tuple[tuple[str, str, int], ...] = ()

    def with_concepts(self, asked: Sequence[Coded]) -> Table:
        """With those that are new, in a version of their own; itself where none is."""
        known = {(system, code) for system, code, _ in self.concepts}
        named = dict.fromkeys((str(c.system), c.code) for c in asked)
        fresh = [(*key, self.version + 1) for key in named if key not in known]
        return Table(self.version + 1, (*self.concepts, *fresh)) if fresh else self


def check_concepts(view: View, asked: Sequence[Coded]) -> None:
    """Raises Unresolved for a concept whose code system is not at hand, or that it does not have."""
    for one in asked:
        if not one.system:
            raise Unresolved(f"the concept {one.code!r} has no system, so it cannot be placed", "invalid")
        view.known_system(one.system, one.version).known(one.code)


def entries(view: View, table: Table, since: int) -> list[dict[str, Any]]:
    """ConceptMap.group of the relations that concepts added after the version `since` take part in.

    The target subsumes the source. Raises Unresolved for a code system that is no longer at hand."""
    by_system: dict[str, dict[str, int]] = {}
    for url, code, version in table.concepts:
        by_system.setdefault(url, {})[code] = version
    groups = []
    for url, added in by_system.items():
        system = view.known_system(url)
        elements = []
        for code, version in added.items():
            above = system.ancestors(code) & added.keys()
            targets = [a for a in sorted(above) if version > since or added[a] > since]
            if targets:
                elements.append({"code": code, "target": [{"code": a, "equivalence": "subsumes"} for a in targets]})
        if elements:
            groups.append({"source": url, "target": url, "element": elements})
    return groups
