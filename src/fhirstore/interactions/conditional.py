"""The criteria of conditional interactions, and what they match: https://hl7.org/fhir/R4/http.html#cond-update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhirstore.errors import FhirError, error
from fhirstore.interactions.base import query_pairs
from fhirstore.interactions.server import Server
from fhirstore.model.conditions import And, Condition
from fhirstore.model.context import RequestContext
from fhirstore.model.messages import Message
from fhirstore.model.stored import Guard, Stored
from fhirstore.plugins.model import ConditionalCriteria, ConditionalMatch
from fhirstore.search.parse import criteria as parse_criteria

_LIMIT = 100
"""Matches that are read. More than one is an error, unless a plugin prefers one of them."""
_PLAIN = ConditionalMatch()


@dataclass(frozen=True, slots=True)
class Criteria:
    """text: the query string. where: its condition. match: a plugin's rules for it.
    deleted_ids: ids that the same transaction deletes; they do not match."""

    type: str
    text: str
    where: Condition
    match: ConditionalMatch
    deleted_ids: frozenset[str] = frozenset()

    def matches(self, server: Server) -> list[Stored]:
        """All current matches, at most _LIMIT + 1."""
        return server.store.find(self.type, self.where, limit=_LIMIT + 1).entries

    def choose(self, server: Server, found: Sequence[Stored]) -> Stored | None:
        """The match: None when nothing matches. Raises 412 when the criteria are not selective enough."""
        left = [s for s in found if s.id not in self.deleted_ids]
        if len(left) > 1 and self.match.prefer is not None:
            preferred = server.store.find(self.type, And((self.where, self.match.prefer)), limit=_LIMIT + 1).entries
            left = [s for s in preferred if s.id not in self.deleted_ids] or left
        if len(left) > 1:
            raise self.several(len(left))
        return left[0] if left else None

    def several(self, count: int) -> FhirError:
        """The refusal of criteria that match several resources."""
        many = Message("more than {limit}", limit=_LIMIT) if count > _LIMIT else str(count)
        text = Message(
            "The criteria {type}?{text} match {many} resources; at most one is allowed.",
            type=self.type,
            text=self.text,
            many=many,
        )
        return error(412, "multiple-matches", text)

    def guard(self, seen: Sequence[Stored]) -> Guard:
        """What the commit must find again."""
        return Guard(self.type, self.where, frozenset([s.id for s in seen]))


def read_criteria(
    server: Server,
    request: RequestContext,
    type: str,
    text: str,
    resource: dict[str, Any] | None = None,
    deleted: Mapping[str, frozenset[str]] | None = None,
) -> Criteria:
    """Parses the query string of a conditional interaction. Raises 400 when it is empty or not understood in full."""
    criteria = ConditionalCriteria(type, query_pairs(text), resource)
    rules = _PLAIN
    for hook, context in server.hooks.conditional_match:
        found = hook(request, criteria, context)
        if found is not None:
            rules = found
            break
    where = rules.where
    if where is None:
        where = parse_criteria(server.registry, type, criteria.params, server.settings)
    return Criteria(type, text, where, rules, (deleted or {}).get(type, frozenset()))
