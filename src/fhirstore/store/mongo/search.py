"""Searches: pages in order, counts, ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from fhirstore.model.conditions import Condition, Sort
from fhirstore.store.mongo.connection import MongoSession
from fhirstore.store.mongo.filters import all_of, make_filter
from fhirstore.store.mongo.joins import BATCH, Joins, has_joins
from fhirstore.store.mongo.layout import HEAD, Document, MongoLayout, field, stored
from fhirstore.store.protocol import ResultPage

_FIRST_BATCH = 50  # least number of candidates, if joins decide


class SortField(NamedTuple):
    """A sort as a field. last: its value in documents without entries, which come last."""

    path: str
    direction: int
    last: Any


class MongoSearch:
    """One search on one type."""

    def __init__(self, session: MongoSession, layout: MongoLayout, type: str, where: Condition):
        self._session, self._layout, self._type = session, layout, type
        self._joins = Joins(session, layout)
        self._where = self._joins.listed(type, where)
        self._open = has_joins(self._where)  # the filter matches more than the condition
        if self._open:
            self._filter = self._joins.candidates(type, self._where)
        else:
            self._filter = make_filter(layout, type, self._where)

    def count(self, at_most: int | None) -> int:
        if at_most is not None and at_most <= 0:
            return 0
        if not self._open:
            return self._session.count(self._type, self._filter, at_most)
        return sum(1 for _ in islice(self._decided([], {}, {"_id": 1}, None), at_most))

    def ids(self, limit: int) -> list[str]:
        """Returns the ids of up to `limit` matching resources, in any order."""
        found = self._decided([], {}, {"_id": 1}, limit) if self._open else self._plain([], {}, {"_id": 1}, limit)
        return [doc["_id"] for doc in islice(found, limit)]

    def page(self, sort: Sequence[Sort], after: list[Any] | None, limit: int | None) -> ResultPage:
        keys, direction = self._order(sort)
        if after is not None and len(after) != len(keys) + 1:
            raise ValueError("the page token belongs to another sort")
        if limit == 0:
            return ResultPage([], None)
        order = [*((key.path, key.direction) for key in keys), ("_id", direction)]
        fields = HEAD | {key.path: 1 for key in keys}
        rest = {} if after is None else _after(keys, direction, after)
        need = None if limit is None else limit + 1
        found = (self._decided if self._open else self._plain)(order, rest, fields, need)
        docs = list(islice(found, need))
        if limit is None or len(docs) <= limit:
            return ResultPage([stored(self._type, doc) for doc in docs], None)
        entries = [stored(self._type, doc) for doc in docs[:limit]]
        return ResultPage(entries, [*(_value(docs[limit - 1], key) for key in keys), entries[-1].id])

    def _plain(
        self, order: list[tuple[str, int]], rest: Document, fields: Document, need: int | None
    ) -> Iterator[Document]:
        return self._session.find(self._type, all_of([self._filter, rest]), fields, order, need)

    def _decided(
        self, order: list[tuple[str, int]], rest: Document, fields: Document, need: int | None
    ) -> Iterator[Document]:
        """Yields the candidates that satisfy the joins, in order, batch by batch."""
        size = BATCH if need is None else min(max(2 * need, _FIRST_BATCH), BATCH)
        where = all_of([self._filter, rest])
        candidates = self._session.find(self._type, where, {"_id": 1}, order, batch=size)
        while batch := [doc["_id"] for doc in islice(candidates, size)]:
            holding = self._joins.among(self._type, self._where, batch)
            if list(fields) == ["_id"]:
                yield from ({"_id": id} for id in batch if id in holding)
            else:
                test: Document = {"_id": {"$in": [id for id in batch if id in holding]}}
                docs = {doc["_id"]: doc for doc in self._session.find(self._type, test, fields, limit=len(batch))}
                yield from (docs[id] for id in batch if id in docs)

    def _order(self, sort: Sequence[Sort]) -> tuple[list[SortField], int]:
        """Returns the sort fields before the id, and the direction of the id. Sorts after the id have no effect."""
        keys: list[SortField] = []
        for one in sort:
            direction = -1 if one.descending else 1
            if one.param == "_id":
                return keys, direction
            if one.param == "_lastUpdated":
                keys.append(SortField("u", direction, None))
            else:
                self._layout.param(self._type, one.param)
                name = field(one.param)
                keys.append(SortField(f"hi.{name}", -1, None) if one.descending else SortField(f"lo.{name}", 1, True))
        return keys, 1


def _value(doc: Document, key: SortField) -> Any:
    """Returns the sort key of a document, None if it has no entries."""
    found: Any = doc
    for name in key.path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return None if found is True else found


def _after(keys: Sequence[SortField], direction: int, after: list[Any]) -> Document:
    """Returns the filter for documents after the position `after`."""
    *values, id = after
    test: Document = {"_id": {"$gt" if direction > 0 else "$lt": id}}
    for key, value in reversed(list(zip(keys, values, strict=True))):
        if value is None:
            test = all_of([{key.path: key.last}, test])
        else:
            further: Document = {key.path: {"$gt" if key.direction > 0 else "$lt": value}}
            same = all_of([{key.path: value}, test])
            last: list[Document] = [] if key.path == "u" else [{key.path: key.last}]
            test = {"$or": [further, same, *last]}
    return test
