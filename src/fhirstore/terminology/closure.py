"""https://hl7.org/fhir/R4/terminology-service.html#closure: a closure table that a client maintains by name.

The server stores the concepts of the client and the version in which each was added. It computes the relations between
them from the current code systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from fhirstore.model.messages import Message
from fhirstore.terminology.model import Coding, Unresolved
from fhirstore.terminology.service import TerminologySnapshot


class ClosureTable(msgspec.Struct, frozen=True):
    """version: number of times concepts were added. concepts: (system, code, version in which it was added)."""

    version: int = 0
    concepts: tuple[tuple[str, str, int], ...] = ()

    def with_concepts(self, codings: Sequence[Coding]) -> ClosureTable:
        """The table with the new concepts in a new version; the table itself if it contains all of them."""
        known = {(system, code) for system, code, _ in self.concepts}
        named = dict.fromkeys((str(c.system), c.code) for c in codings)
        new = [(*key, self.version + 1) for key in named if key not in known]
        return ClosureTable(self.version + 1, (*self.concepts, *new)) if new else self


def check_concepts(snapshot: TerminologySnapshot, codings: Sequence[Coding]) -> None:
    """Raises Unresolved if a code system is unavailable or does not contain the code."""
    for one in codings:
        if not one.system:
            raise Unresolved(Message("the concept {code} has no system", code=repr(one.code)), "invalid")
        snapshot.require_code_system(one.system, one.version).require(one.code)


def closure_groups(
    snapshot: TerminologySnapshot, table: ClosureTable, since: int, max_ancestors: int
) -> list[dict[str, Any]]:
    """ConceptMap.group with the relations of the concepts that were added after the version `since`.

    The target subsumes the source. Raises Unresolved if a code system is no longer available, or if the concepts have
    more than `max_ancestors` ancestors in all."""
    by_system: dict[str, dict[str, int]] = {}
    for url, code, version in table.concepts:
        by_system.setdefault(url, {})[code] = version
    groups = []
    count = 0
    for url, added in by_system.items():
        code_system = snapshot.require_code_system(url)
        elements = []
        for code, version in added.items():
            ancestors = code_system.ancestors(code)
            count += len(ancestors)
            if count > max_ancestors:
                text = Message(
                    "the codes of the closure table have more than {limit} ancestors (setting max_closure_ancestors)",
                    limit=max_ancestors,
                )
                raise Unresolved(text, "too-costly")
            targets = [a for a in sorted(ancestors & added.keys()) if version > since or added[a] > since]
            if targets:
                elements.append({"code": code, "target": [{"code": a, "equivalence": "subsumes"} for a in targets]})
        if elements:
            groups.append({"source": url, "target": url, "element": elements})
    return groups
