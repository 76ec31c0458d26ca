"""Runs a search: matches, includes, total and the next page. https://hl7.org/fhir/R4/http.html#search."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from fhirstore.capability.registry import Registry
from fhirstore.errors import error
from fhirstore.model.conditions import (
    And,
    Chain,
    Condition,
    Date,
    Not,
    Number,
    Or,
    Present,
    Reference,
    ReverseChain,
    String,
    Token,
    Uri,
)
from fhirstore.model.messages import Message
from fhirstore.model.queries import Query
from fhirstore.model.stored import Stored
from fhirstore.search.includes import included, steps, too_many
from fhirstore.search.paging import write_token
from fhirstore.settings import Settings
from fhirstore.store.protocol import ResultPage, Store, with_snapshot


class Found(NamedTuple):
    """A page. total: the number of all matches, None if unknown. next: the token of the next page, None on the last."""

    matches: list[Stored]
    includes: list[Stored]
    total: int | None
    next: str | None


def run(store: Store, registry: Registry, query: Query, settings: Settings, secret: bytes) -> Found:
    """The page of a query. secret: the key of page tokens.

    Raises FhirError 422 when a parameter it needs is not indexed yet, or beyond `max_includes` or `max_matches`;
    StoreError."""
    _refuse_pending(store, registry, query)
    if query.summary == "count":
        return Found([], [], store.count(query.type, query.where), None)
    page, total, includes = with_snapshot(store, partial(_read, store, registry, query, settings))
    if len(includes) > settings.max_includes:
        raise too_many(settings.max_includes)
    token = None if page.next is None else write_token(secret, query.type, query.used, page.next, total)
    return Found(page.entries, includes, total, token)


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


def _refuse_pending(store: Store, registry: Registry, query: Query) -> None:
    """Raises 422 for parameters that are not indexed for all resources, because the search would miss some."""
    pending = store.pending_parameters()
    if not pending:
        return
    needed = {(query.type, sort.param) for sort in query.sort} | set(_params(query.type, query.where))
    for include in query.includes:
        needed.update((source, param.code) for source, param in steps(registry, include))
        needed.update(_params(include.source, include.where) if include.where else ())
    if missing := sorted(needed & pending):
        names = ", ".join(f"{type}.{code}" for type, code in missing)
        raise error(
            422,
            "incomplete",
            Message(
                "Not all resources are indexed yet for {names}: the search would miss some. "
                "`fhirstore reindex` completes the index; try again when it is done.",
                names=names,
            ),
            *(f"http.{code}" for _, code in missing),
        )


def _params(type: str, where: Condition) -> Iterator[tuple[str, str]]:
    """The (type, parameter) pairs of a condition."""
    match where:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _params(type, part)
        case Not(part):
            yield from _params(type, part)
        case Chain(param, target, inner):
            yield type, param
            yield from _params(target, inner)
        case ReverseChain(source, param, inner):
            yield source, param
            yield from _params(source, inner)
        case Present() | Token() | String() | Date() | Number() | Reference() | Uri():
            yield type, where.param
