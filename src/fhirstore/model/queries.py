"""A parsed search, and what the entries of its response show.

A view may show less of the resources found, or something else. A response has hundreds of entries and the same
resources come back in the next one, so a view is a pure function of one version, and its result is cached with that
version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fhirstore.model.conditions import Condition, Sort
from fhirstore.model.issues import Issue
from fhirstore.model.stored import Stored


class SearchEntry(msgspec.Struct, gc=False):
    """An entry of a search answer. meta and body as in `Stored`: change them here to change the answer only.

    varies: set by a view where what it shows depends on the request, so that it must not be kept."""

    type: str
    id: str
    version: int
    updated: int
    mode: str  # match | include | outcome
    meta: bytes
    body: bytes
    varies: bool = False


@dataclass(slots=True)
class ViewedResponse:
    """The answer of a search with a view, before it is written.

    matches, includes: what the view shows, as stored. hidden: what it does not. left_out: references ("Type/id") of
    more that is to be left out. total None = left out. profile: Bundle.meta.profile."""

    matches: Sequence[Stored]
    includes: Sequence[Stored]
    hidden: Sequence[Stored]
    total: int | None
    profile: str | None = None
    left_out: set[str] = field(default_factory=set)


def _nothing(shown: ViewedResponse) -> None:
    """The answer as it is."""


@dataclass(frozen=True, slots=True)
class ResourceView:
    """name: two views of one name show the same of a resource; there are few of them, so no part of a request belongs
    in it. show: changes the entry in place, of which it may look at everything; False = not to be shown.
    finish: sees, and may change, the answer as a whole."""

    name: str
    show: Callable[[SearchEntry], bool]
    finish: Callable[[ViewedResponse], None] = _nothing


PLAIN_VIEW = ResourceView("", lambda entry: True)
"""Everything as it is stored."""


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
    view: ResourceView = PLAIN_VIEW
