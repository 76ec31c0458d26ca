"""A search, typed: what a query string means. Built by `search.parse`, run by `search.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fhirstore.errors import Issue
from fhirstore.search.view import PLAIN, View
from fhirstore.store.base import Condition, Sort


@dataclass(frozen=True, slots=True)
class Include:
    """`_include=Source:param[:target]` or, with reverse, `_revinclude`. source "*" or param "*" = wildcard.
    where: only for reverse includes: of the including resources only those that satisfy it (plugins use it)."""

    source: str
    param: str
    target: str | None = None
    iterate: bool = False
    reverse: bool = False
    where: Condition | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed search on one type.

    params: all parameters as received, decoded, in order. used: those that took effect, as they stand in the self
    link. raw: the query string as received (GET) or None (POST _search). count: page size, None = one page with
    everything. after: where the page starts, total_hint: the total that the page token carries. total: none |
    estimate | accurate | None (not asked). summary: true | text | data | count | false | None.
    elements: names for _elements. ignored: parameters that did not take effect, as warnings for the answer.
    view: what the entries show.
    """

    type: str
    where: Condition
    params: tuple[tuple[str, str], ...] = ()
    used: tuple[tuple[str, str], ...] = ()
    raw: str | None = None
    sort: tuple[Sort, ...] = ()
    count: int | None = 50
    after: list[Any] | None = None
    total_hint: int | None = None
    includes: tuple[Include, ...] = ()
    total: str | None = None
    summary: str | None = None
    elements: tuple[str, ...] = ()
    ignored: tuple[Issue, ...] = ()
    view: View = PLAIN
