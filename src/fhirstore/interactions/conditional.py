"""The criteria of conditional interactions, and what they match: https://hl7.org/fhir/R4/http.html#cond-update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from fhirstore.errors import FhirError, error
from fhirstore.interactions.context import NO_REQUEST, Server
from fhirstore.model.conditions import And, Condition
from fhirstore.model.stored import Guard, Stored
from fhirstore.plugins.hookspecs import ConditionalCriteria, ConditionalMatch
from fhirstore.search.parse import criteria as parse_criteria

MOST = 100  # matches looked at; more than one is an error anyway, unless a plugin prefers one of them


@dataclass(frozen=True, slots=True)
class Criteria:
    """text: the query string. where: what it means. match: a plugin's rules for it.
    gone: ids that the same transaction deletes, hence no matches."""

    type: str
    text: str
    where: Condition
    match: ConditionalMatch
    gone: frozenset[str] = frozenset()

    def matches(self, ctx: Server) -> list[Stored]:
        """All current matches, at most MOST + 1."""
        return ctx.store.find(self.type, self.where, limit=MOST + 1).entries

    def choose(self, ctx: Server, found: Sequence[Stored]) -> Stored | None:
        """The match: None when nothing matches. Raises 412 when the criteria are not selective enough."""
        left = [s for s in found if s.id not in self.gone]
        if len(left) > 1 and self.match.prefer is not None:
            preferred = ctx.store.find(self.type, And((self.where, self.match.prefer)), limit=MOST + 1).entries
            left = [s for s in preferred if s.id not in self.gone] or left
        if len(left) > 1:
            raise error(
                412,
                "multiple-matches",
                f"The criteria {self.type}?{self.text} match {_many(len(left))} resources; one at most is wanted.",
            )
        return left[0] if left else None

    def one(self, ctx: Server) -> Stored | None:
        return self.choose(ctx, self.matches(ctx))

    def guard(self, seen: Sequence[Stored]) -> Guard:
        """What the commit must find again."""
        return Guard(self.type, self.where, frozenset(s.id for s in seen))


def _many(n: int) -> str:
    return f"more than {MOST}" if n > MOST else str(n)


def read_criteria(
    ctx: Server,
    type: str,
    text: str,
    resource: dict[str, Any] | None = None,
    gone: frozenset[str] = frozenset(),
) -> Criteria:
    """Parses the query string of a conditional interaction. Raises 400 when it is empty or not understood in full."""
    params = query_pairs(text)
    criteria = ConditionalCriteria(type, params, resource)
    match = ctx.plugins.hook.conditional_match(request=NO_REQUEST, criteria=criteria, context=ctx.contexts)
    rules = match or ConditionalMatch()
    where = (
        rules.where if rules.where is not None else parse_criteria(ctx.registry, type, criteria.params, ctx.settings)
    )
    return Criteria(type, text, where, rules, gone)


def query_pairs(text: str) -> list[tuple[str, str]]:
    """A query string, decoded, in order; empty values kept. Raises 400 for percent-escapes that are not UTF-8."""
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=2000)
    except UnicodeDecodeError:
        raise _bad_query("The query string holds percent-escapes that are not UTF-8.") from None
    except ValueError as e:
        raise _bad_query(f"The query string cannot be read: {e}.") from None


def _bad_query(text: str) -> FhirError:
    return error(400, "invalid", text)
