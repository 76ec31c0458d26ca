"""What a search returns: result parameters, the page, its includes and the total.

https://hl7.org/fhir/R4/search.html#return · https://hl7.org/fhir/R4/search.html#revinclude ·
https://hl7.org/fhir/R4/http.html#search
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from fhirstore.capability.registry import Registry, SearchParam, ServedType
from fhirstore.errors import Issue, error
from fhirstore.model.conditions import And, Condition, Reference, Sort
from fhirstore.model.messages import Message
from fhirstore.model.queries import Include, Query
from fhirstore.model.stored import Stored
from fhirstore.search.index import KINDS
from fhirstore.search.paging import PAGE, read_token, write_token
from fhirstore.search.pending import refuse_pending
from fhirstore.search.syntax import UnknownParameter, invalid
from fhirstore.settings import Settings
from fhirstore.store.protocol import ResultPage, Store, with_snapshot

_TOTALS = ("none", "estimate", "accurate")
_SUMMARIES = ("true", "text", "data", "count", "false")
_INCLUDES = ("_include", "_revinclude")
RESULT_PARAMETERS = frozenset((PAGE, "_sort", "_count", "_total", "_summary", "_elements", *_INCLUDES))
_COUNT = re.compile(r"\d{1,18}", re.ASCII)
_BUILT_IN = ("_id", "_lastUpdated")
_ITERATE = ("iterate", "recurse")


# --- result parameters --------------------------------------------------------------------------------


class ResultParameters:
    """The result parameters of one search on a type.

    https://hl7.org/fhir/R4/search.html#return"""

    def __init__(self, registry: Registry, type: str, settings: Settings):
        self._registry, self._type, self._max_count = registry, type, settings.max_count
        self._seen: dict[str, str] = {}
        self._page: str | None = None
        self._sort: tuple[Sort, ...] = ()
        self._count: int = min(settings.default_count, settings.max_count)
        self._total: str | None = None
        self._summary: str | None = None
        self._elements: tuple[str, ...] = ()
        self._includes: list[Include] = []

    def parse(self, name: str, text: str) -> None:
        """Parses name=text; the part of the name before a colon is one of RESULT_PARAMETERS.

        Raises FhirError 400 for an invalid value, UnknownParameter for an include or sort key that is not supported."""
        kind, colon, _ = name.partition(":")
        try:
            if kind in _INCLUDES:
                self._includes.append(read_include(self._registry, self._type, name, text.strip()))
            elif colon:
                raise ValueError(Message("it has no modifiers"))
            elif name == PAGE:
                self._page = text
            elif self._seen.setdefault(name, text) != text:
                raise ValueError(Message("it is repeated with different values"))
            else:
                self._read(name, text.strip())
        except ValueError as e:
            raise invalid(name, e) from None

    def _read(self, name: str, text: str) -> None:
        if name == "_sort":
            self._sort = read_sort(self._registry.types[self._type], text)
        elif name == "_count":
            if not _COUNT.fullmatch(text):
                raise ValueError(Message("{text} is not a number of entries. Use 0 or more", text=repr(text[:40])))
            if int(text) == 0:
                self._summary = "count"
            self._count = min(int(text), self._max_count)
        elif name == "_total":
            self._total = _one_of(text, _TOTALS)
        elif name == "_summary":
            requested = _one_of(text, _SUMMARIES)
            self._summary = self._summary or requested  # _count=0 means "count"
        else:
            self._elements = tuple(dict.fromkeys(part for item in text.split(",") if (part := item.strip())))

    def query(
        self,
        where: Condition,
        params: Sequence[tuple[str, str]],
        used: Sequence[tuple[str, str]],
        ignored: Sequence[Issue],
        raw: str | None,
        secret: bytes,
    ) -> Query:
        """The query with these result parameters. Raises FhirError 400 for an invalid page token."""
        after, total_hint = (None, None) if self._page is None else read_token(secret, self._type, used, self._page)
        return Query(
            type=self._type,
            where=where,
            params=tuple(params),
            used=tuple(used),
            raw=raw,
            sort=self._sort,
            count=self._count,
            after=after,
            total_hint=total_hint,
            includes=tuple(dict.fromkeys(self._includes)),
            total=self._total,
            summary=self._summary,
            elements=self._elements,
            ignored=tuple(ignored),
        )


def _one_of(text: str, known: Sequence[str]) -> str:
    if text not in known:
        raise ValueError(Message("{text} is not one of {known}", text=repr(text[:40]), known=", ".join(known)))
    return text


def read_sort(served: ServedType, text: str) -> tuple[Sort, ...]:
    """Parses `-date,status` to sort keys, each parameter once. Raises UnknownParameter."""
    keys: dict[str, Sort] = {}
    for part in text.split(","):
        code = part.strip()
        descending = code.startswith("-")
        code = code.removeprefix("-")
        if code not in _BUILT_IN:
            param = served.params.get(code)
            if param is None or not param.declared or param.type not in KINDS:
                raise UnknownParameter(Message("{name} cannot be sorted by {code}", name=served.name, code=repr(code)))
        keys.setdefault(code, Sort(code, descending))
    return tuple(keys.values())


def read_include(registry: Registry, type: str, name: str, text: str) -> Include:
    """Parses `_include=Source:param[:target]`, `*` or `Source:*` of a search on the type.

    Raises UnknownParameter for includes that are not declared or not known, ValueError for invalid syntax."""
    kind, colon, modifier = name.partition(":")
    if colon and modifier not in _ITERATE:
        raise ValueError(
            Message("the modifier :{modifier} is not supported here; supported: :iterate", modifier=modifier)
        )
    parts = text.split(":")
    if text != "*" and (not 2 <= len(parts) <= 3 or not all(parts)):
        raise ValueError(
            Message(
                "{text} is not of the form Source:parameter, Source:parameter:Target, Source:* or *", text=repr(text)
            )
        )
    source, param, target = (*parts, "*", None)[:3] if text == "*" else (*parts, None)[:3]
    include = Include(str(source), str(param), target, bool(colon), kind == "_revinclude")
    if not _declared(registry, type, include, text):
        raise UnknownParameter(Message("{type} does not offer {kind}={text}", type=type, kind=kind, text=text))
    if not include_steps(registry, include):
        raise UnknownParameter(
            Message("{kind}={text} names no reference parameter that is indexed here", kind=kind, text=text)
        )
    return include


def _declared(registry: Registry, type: str, include: Include, text: str) -> bool:
    served = registry.types[type]
    offered = served.rev_includes if include.reverse else served.includes
    if include.iterate and not include.reverse and include.source in registry.types:
        offered |= registry.types[include.source].includes
    return "*" in offered or text in offered or f"{include.source}:{include.param}" in offered


def include_steps(registry: Registry, include: Include) -> list[tuple[str, SearchParam]]:
    """The (source type, reference parameter) pairs of an include, several for a wildcard."""
    found: list[tuple[str, SearchParam]] = []
    for source in registry.indexed_types if include.source == "*" else (include.source,):
        params = registry.indexed_types.get(source, {})
        for code in params if include.param == "*" else (include.param,):
            param = params.get(code)
            if param is None or param.type != "reference":
                continue
            if include.target is None or not param.targets or include.target in param.targets:
                found.append((source, param))
    return found


# --- the page -----------------------------------------------------------------------------------------


class SearchPage(NamedTuple):
    """A page. total: the number of all matches, None if unknown. next: the token of the next page, None on the last."""

    matches: list[Stored]
    includes: list[Stored]
    total: int | None
    next: str | None


def run(store: Store, registry: Registry, query: Query, settings: Settings, secret: bytes) -> SearchPage:
    """The page of a query. secret: the key of page tokens.

    Raises FhirError 422 when a parameter it needs is not indexed yet, or beyond `max_includes` or `max_matches`;
    StoreError."""
    if pending := store.pending_parameters():
        refuse_pending(pending, query, ((i, s, p.code) for i in query.includes for s, p in include_steps(registry, i)))
    if query.summary == "count":
        return SearchPage([], [], store.count(query.type, query.where), None)
    page, total, includes = with_snapshot(store, partial(_read, store, registry, query, settings))
    if len(includes) > settings.max_includes:
        raise error(
            422,
            "too-costly",
            Message(
                "More than {limit} resources would be included in this page (setting max_includes): "
                "ask for fewer matches with _count, or for fewer includes.",
                limit=settings.max_includes,
            ),
            "http._include",
        )
    token = None if page.next is None else write_token(secret, query.type, query.used, page.next, total)
    return SearchPage(page.entries, includes, total, token)


def _read(
    store: Store, registry: Registry, query: Query, settings: Settings
) -> tuple[ResultPage, int | None, list[Stored]]:
    size = settings.max_matches if query.count is None else query.count
    page = store.find(query.type, query.where, query.sort, query.after, size)
    if query.count is None and page.next is not None:
        raise error(
            422,
            "too-costly",
            Message(
                "More than {max_matches} resources match, and this answer has no pages (setting "
                "max_matches): narrow the search, by dates or by fewer values.",
                max_matches=settings.max_matches,
            ),
            *dict.fromkeys(f"http.{name}" for name, _ in query.used if not name.startswith("_")),
        )
    whole = query.after is None and page.next is None
    total = len(page.entries) if whole and query.total != "none" else _total(store, query, settings)
    return page, total, included(store, registry, query.includes, page.entries, settings.max_includes)


def _total(store: Store, query: Query, settings: Settings) -> int | None:
    """The number of matches if it is requested, known from the page token, or cheap to count."""
    if query.total == "none":
        return None
    if query.total == "accurate":
        return store.count(query.type, query.where)
    if query.after is not None:
        return query.total_hint
    counted = store.count(query.type, query.where, at_most=settings.total_limit + 1)
    return counted if counted <= settings.total_limit else None


# --- includes -----------------------------------------------------------------------------------------


IncludeStep = tuple[Include, str, SearchParam]
"""(include, source type, reference parameter)"""


def included(
    store: Store, registry: Registry, includes: Sequence[Include], matches: Sequence[Stored], limit: int
) -> list[Stored]:
    """The resources that the includes add to the matches, each once. matches: of one type.

    Works in rounds: all includes apply to the matches, and those with :iterate to the resources of the previous round.
    Stops at `limit` + 1 resources."""
    if not matches or not includes:
        return []
    steps = [(include, source, param) for include in includes for source, param in include_steps(registry, include)]
    iterated = [step for step in steps if step[0].iterate]
    found: list[Stored] = []
    start = matches[0].type
    seen = {f"{start}/{match.id}" for match in matches} if _leads_back(steps, start) else set()
    layer = list(matches)
    by_type = {start: layer}
    while layer and steps:
        room = limit - len(found)
        layer = _forward(store, registry, steps, by_type, seen)
        for include, source, param in steps:
            if include.reverse and len(layer) <= room:
                layer += _reverse(store, include, source, param, by_type, seen, len(seen) + room)
        found += layer
        if len(layer) > room:
            return found[: limit + 1]
        by_type = defaultdict(list)
        for stored in layer:
            by_type[stored.type].append(stored)
        steps = iterated
    return found


def _leads_back(steps: Sequence[IncludeStep], type: str) -> bool:
    """Whether the includes may reach resources of the type."""
    for include, source, param in steps:
        if source == type if include.reverse else not param.targets or type in param.targets:
            return True
    return False


def _forward(
    store: Store,
    registry: Registry,
    steps: Sequence[IncludeStep],
    by_type: Mapping[str, list[Stored]],
    seen: set[str],
) -> list[Stored]:
    """The new resources that forward includes reach from those in `by_type`. Adds them to `seen`."""
    reached: set[str] = set()
    for include, source, param in steps:
        if include.reverse or source not in by_type:
            continue
        types = registry.types.keys() if include.target is None else registry.types.keys() & {include.target}
        for target in store.references(by_type[source], param.code):
            # Other targets than "Type/id" do not start with a type, or are not found.
            if target.partition("/")[0] in types:
                reached.add(target)
    reached -= seen
    seen |= reached
    return store.read_many(reached) if reached else []


def _reverse(
    store: Store,
    include: Include,
    source: str,
    param: SearchParam,
    by_type: Mapping[str, list[Stored]],
    seen: set[str],
    limit: int,
) -> list[Stored]:
    """The new resources that a step of a reverse include finds. Adds them to `seen`."""
    targets = tuple(
        stored.ref
        for type, resources in by_type.items()
        if include.target in (None, type) and (not param.targets or type in param.targets)
        for stored in resources
    )
    found: list[Stored] = []
    if targets:
        points: Condition = Reference(param.code, targets)
        where = points if include.where is None else And((points, include.where))
        for stored in store.find(source, where, limit=limit + 1).entries:
            if stored.ref not in seen:
                seen.add(stored.ref)
                found.append(stored)
    return found
