"""The resources that a transaction is about to write, as criteria see them.

R4 processes deletions, creations and updates in this order, and conditional references last
(https://hl7.org/fhir/R4/http.html#trules), so criteria match resources that the same transaction writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhirstore.interactions.server import Server
from fhirstore.model.conditions import Condition
from fhirstore.model.indexing import IndexEntries
from fhirstore.model.matching import depends_on_others, exact_values, parameters, satisfies
from fhirstore.search.index import extract
from fhirstore.search.values import IDENTIFIER


@dataclass(frozen=True, slots=True)
class PendingResource:
    """A resource that an entry writes. index: of the entry."""

    index: int
    type: str
    id: str
    resource: Mapping[str, Any]

    @property
    def ref(self) -> str:
        return f"{self.type}/{self.id}"


@dataclass(slots=True)
class _Group:
    """The index entries of the first resources of a type for some parameters. by_value: the numbers of resources that
    have a value in an entry of a parameter."""

    entries: list[IndexEntries] = field(default_factory=list)
    by_value: dict[tuple[str, Any], list[int]] = field(default_factory=dict)


class PendingResources:
    """The resources that the entries of a transaction create or replace. written: may grow between calls."""

    def __init__(self, server: Server, written: Sequence[PendingResource]) -> None:
        self._server, self._written = server, written
        self._sorted = 0
        self._by_type: dict[str, list[PendingResource]] = {}
        self._groups: dict[tuple[str, frozenset[str]], _Group] = {}

    def matching(self, type: str, where: Condition) -> list[PendingResource]:
        """The resources that satisfy the condition. A condition that depends on other resources (chains, `_has`,
        `_lastUpdated`) matches none of them.

        Takes constant time for each new resource, and for each that has a value of the condition."""
        for one in self._written[self._sorted :]:
            self._by_type.setdefault(one.type, []).append(one)
        self._sorted = len(self._written)
        resources = self._by_type.get(type)
        if not resources or depends_on_others(where):
            return []
        group = self._group(type, parameters(where), resources)
        values = list(exact_values(where))
        numbers = (
            sorted({n for pair in values for n in group.by_value.get(pair, ())}) if values else range(len(resources))
        )
        return [resources[n] for n in numbers if satisfies(where, resources[n].id, group.entries[n])]

    def _group(self, type: str, params: frozenset[str], resources: list[PendingResource]) -> _Group:
        """The index entries of all resources of the type for these parameters."""
        group = self._groups.setdefault((type, params), _Group())
        declared = self._server.registry.indexed_types.get(type, {})
        codes = {code.removesuffix(IDENTIFIER) for code in params}
        wanted = {code: declared[code] for code in codes if code in declared}
        for n in range(len(group.entries), len(resources)):
            resource = dict(resources[n].resource)
            entries = extract(wanted, resource, self._server.timezone, self._server.own_base)
            group.entries.append(entries)
            for param, found in entries.items():
                for pair in {(param, value) for entry in found for value in entry}:
                    group.by_value.setdefault(pair, []).append(n)
        return group
