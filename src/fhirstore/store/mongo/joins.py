"""Resolves joins, starting with the selective side.

MongoDB searches one collection at a time, so the other side of a join is queried first. If few resources match there,
the join becomes a list of targets (`Reference`) or of ids (`Ids`). If many match, the join is kept: the search
enumerates the resources that satisfy the rest of the condition, and evaluates the joins for each batch of these
candidates. Lists are never truncated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fhirstore.model.conditions import (
    MATCH_ALL,
    MATCH_NONE,
    And,
    Chain,
    Condition,
    Ids,
    Not,
    Or,
    Present,
    Reference,
    ReverseChain,
)
from fhirstore.model.messages import Message
from fhirstore.store.errors import TooComplex
from fhirstore.store.mongo.connection import MongoSession
from fhirstore.store.mongo.filters import DEEPEST, all_of, make_filter
from fhirstore.store.mongo.layout import Document, MongoLayout, field

FEW = 1000  # greatest number of resources on the other side of a join that are listed
BATCH = 1000  # candidates that are evaluated at once
_LONGEST = 12  # joins inside joins


def has_joins(where: Condition, depth: int = 0) -> bool:
    """Raises TooComplex for a condition that is nested too deeply."""
    if depth > DEEPEST:
        raise TooComplex(Message("the search is nested more than {deepest} levels deep", deepest=DEEPEST))
    match where:
        case And(parts) | Or(parts):
            found = [has_joins(part, depth + 1) for part in parts]  # all parts, to check their depth
            return any(found)
        case Not(part):
            return has_joins(part, depth + 1)
        case Chain(_, _, inner) | ReverseChain(_, _, inner):
            has_joins(inner, depth + 1)
            return True
    return False


class Joins:
    """The joins of the conditions of one search."""

    def __init__(self, session: MongoSession, layout: MongoLayout):
        self._session, self._layout = session, layout

    def listed(self, type: str, where: Condition, depth: int = 0) -> Condition:
        """Returns the condition with a list for each join that few resources satisfy. Other joins stay, with their own
        conditions listed. Raises TooComplex."""
        if depth > _LONGEST:
            raise TooComplex(Message("the search has more than {longest} joins inside one another", longest=_LONGEST))
        match where:
            case And(parts):
                return And(tuple(self._parts(type, parts, MATCH_NONE, depth)))
            case Or(parts):
                return Or(tuple(self._parts(type, parts, MATCH_ALL, depth)))
            case Not(part):
                return Not(self.listed(type, part, depth))
            case Chain(param, target, inner):
                self._layout.param(type, param)
                inner = self.listed(target, inner, depth + 1)
                ids = self._few(target, inner)
                return Chain(param, target, inner) if ids is None else _references(param, target, ids)
            case ReverseChain(source, param, inner):
                self._layout.param(source, param)
                inner = self.listed(source, inner, depth + 1)
                sources = self._few(source, inner)
                if sources is None:
                    return ReverseChain(source, param, inner)
                return Ids(tuple(self._named(source, sources, param, type)))
        return where

    def _parts(self, type: str, parts: Sequence[Condition], decided: Condition, depth: int) -> Iterator[Condition]:
        """Yields the listed parts up to one that decides the result."""
        for part in sorted(parts, key=has_joins):
            listed = self.listed(type, part, depth)
            yield listed
            if listed == decided:
                return

    def candidates(self, type: str, where: Condition) -> Document:
        """Returns a filter for a condition with joins. It matches all resources that satisfy the condition, and maybe
        more."""
        return make_filter(self._layout, type, _bound(where, True))

    def among(self, type: str, where: Condition, ids: Sequence[str]) -> set[str]:
        """Returns the ids that satisfy the condition."""
        found: set[str] = set()
        for start in range(0, len(ids), BATCH):
            some = tuple(ids[start : start + BATCH])
            decided = self._decided(type, where, some)
            test = all_of([{"_id": {"$in": list(some)}}, make_filter(self._layout, type, decided)])
            found.update(doc["_id"] for doc in self._session.find(type, test, {"_id": 1}, limit=len(some)))
        return found

    def _few(self, type: str, where: Condition) -> list[str] | None:
        """Returns the ids of the resources that satisfy the condition, None if there are many or the search is
        expensive."""
        if not has_joins(where):
            test = make_filter(self._layout, type, where)
            docs = self._session.find(type, test, {"_id": 1}, limit=FEW + 1)
            ids = [doc["_id"] for doc in docs]
            return ids if len(ids) <= FEW else None
        docs = self._session.find(type, self.candidates(type, where), {"_id": 1}, limit=FEW + 1)
        candidates = [doc["_id"] for doc in docs]
        return sorted(self.among(type, where, candidates)) if len(candidates) <= FEW else None

    def _decided(self, type: str, where: Condition, ids: tuple[str, ...]) -> Condition:
        """Returns a condition without joins that is equivalent for the resources with these ids."""
        match where:
            case And(parts):
                return And(tuple(self._decided(type, part, ids) for part in parts))
            case Or(parts):
                return Or(tuple(self._decided(type, part, ids) for part in parts))
            case Not(part):
                return Not(self._decided(type, part, ids))
            case Chain(param, target, inner):
                targets = self._named(type, ids, param, target)
                return _references(param, target, self.among(target, inner, targets))
            case ReverseChain(source, param, inner):
                return Ids(tuple(self._named_by(source, param, inner, type, ids)))
        return where

    def _named(self, type: str, ids: Sequence[str], param: str, target: str) -> list[str]:
        """Returns the ids of the resources of type `target` that these resources reference in their parameter."""
        found: dict[str, None] = {}
        for start in range(0, len(ids), BATCH):
            test: Document = {"_id": {"$in": list(ids[start : start + BATCH])}}
            for _, targets in self._entries(type, test, param, BATCH):
                found.update((id, None) for kind, id in targets if kind == target)
        return list(found)

    def _named_by(self, source: str, param: str, inner: Condition, type: str, ids: Sequence[str]) -> set[str]:
        """Those of the ids that a resource of type `source` names for which `inner` holds. A resource that is named
        very often does not hold the others up: once it is decided it is asked for no more."""
        path, open, found, last = f"ix.{field(param)}", set(ids), set[str](), ""
        bound = self.candidates(source, inner)
        exact = not has_joins(inner)
        while open:
            named: Document = {path: {"$in": [f"{type}/{id}" for id in sorted(open)]}}
            test = all_of([named, {"_id": {"$gt": last}} if last else {}, bound])
            rows = list(self._entries(source, test, param, BATCH, ordered=True))
            holding = None if exact else self.among(source, inner, [id for id, _ in rows])
            for id, targets in rows:
                if holding is None or id in holding:
                    found.update(target for kind, target in targets if kind == type and target in open)
            open -= found
            if len(rows) < BATCH:
                break
            last = rows[-1][0]
        return found

    def _entries(
        self, type: str, test: Document, param: str, limit: int, ordered: bool = False
    ) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Ids, and what each names in its reference parameter as (type, id)."""
        name = field(param)
        order = [("_id", 1)] if ordered else []
        for doc in self._session.find(type, test, {f"ix.{name}": 1}, order, limit):
            targets = doc.get("ix", {}).get(name, ())
            yield doc["_id"], [(kind, id) for kind, _, id in (target.partition("/") for target in targets)]


def _references(param: str, type: str, ids: Iterable[str]) -> Condition:
    return Reference(param, tuple(f"{type}/{id}" for id in ids))


def _bound(where: Condition, above: bool) -> Condition:
    """Returns a condition without joins that holds at least (above) or at most where this one holds."""
    match where:
        case And(parts):
            return And(tuple(_bound(part, above) for part in parts))
        case Or(parts):
            return Or(tuple(_bound(part, above) for part in parts))
        case Not(part):
            return Not(_bound(part, not above))
        case Chain(param) if above:
            return Present(param)
        case Chain() | ReverseChain():
            return MATCH_ALL if above else MATCH_NONE
    return where
