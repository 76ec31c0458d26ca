"""Recomputing index entries while others read and write.

Entries are computed outside of any transaction, and written only if the resource is still in the version they were
computed from: who replaces it later writes entries of the new schema anyway. How far a type is done is stored with
each batch.
"""

from __future__ import annotations

from collections.abc import Callable

from pymongo import UpdateOne

from fhirstore.store.errors import Unavailable
from fhirstore.store.mongo.clock import ticks
from fhirstore.store.mongo.connection import Connections, View
from fhirstore.store.mongo.layout import META, STORE, Document, Layout
from fhirstore.store.mongo.read import batch
from fhirstore.store.mongo.transaction import transact
from fhirstore.store.protocol import Extractor

_BATCH = 200


def pending(view: View) -> frozenset[tuple[str, str]]:
    """Asked for by every search: one document by its id."""
    store = view.one(META, {"_id": STORE}, {"pending": 1}) or {}
    return frozenset((type, code) for type, code in store.get("pending", ()))


def still_pending(doc: Document) -> list[list[str]]:
    """The pending parameters of one type's document, as `pending` of the store's document lists them."""
    return [[doc["type"], one["code"]] for one in doc["params"] if one["pending"] and one["dropped"] is None]


def reindex(
    connections: Connections,
    layout: Layout,
    extract: Extractor,
    progress: Callable[[int, int], None] | None,
    timeout_s: float,
) -> int:
    """Returns the number of resources whose entries were computed."""

    def view() -> View:
        return connections.view(timeout_s)

    types = sorted({type for type, _ in pending(view())})
    starts = {type: _position(view(), type) for type in types}
    total = sum(view().count(type, {"_id": {"$gt": after}}, None) for type, after in starts.items())
    done = 0
    for type, after in starts.items():
        while ids := _batch(connections, view(), layout, type, after, extract):
            after, done = ids[-1], done + len(ids)
            if progress is not None:
                progress(done, max(total, done))
        transact(connections, timeout_s, lambda v, type=type: _finish(v, layout, type))  # type: ignore[misc]
    return done


def _position(view: View, type: str) -> str:
    doc = view.one(META, {"_id": f"type {type}"}, {"at": 1})
    return "" if doc is None else str(doc.get("at", ""))


def _batch(
    connections: Connections, view: View, layout: Layout, type: str, after: str, extract: Extractor
) -> list[str]:
    """The ids done; empty = there are no more."""
    db = connections.process().db
    resources = batch(view, type, after, _BATCH)
    if not resources:
        return []
    db[type].bulk_write(
        [
            UpdateOne({"_id": one.id, "v": one.version}, {"$set": layout.entries(type, extract(one))})
            for one in resources
        ],
        ordered=False,
    )
    db[META].update_one({"_id": f"type {type}"}, {"$set": {"at": resources[-1].id}})
    return [one.id for one in resources]


def _finish(view: View, layout: Layout, type: str) -> None:
    """Nothing of the type is pending any more. Raises Unavailable if the schema has changed meanwhile: who records one
    changes the document of each type that has parameters, so the two meet."""
    if not ticks(view, layout.stamp):
        raise Unavailable("the store has been opened with other search parameters since; reindex with those")
    where: Document = {"_id": f"type {type}"}
    doc = view.one(META, where, {"params": 1})
    if doc is None:
        return
    params = [{**one, "pending": one["pending"] and one["dropped"] is not None} for one in doc["params"]]
    view.db[META].update_one(where, {"$set": {"params": params, "at": ""}}, session=view.session)
    left = sorted(list(one) for one in pending(view) if one[0] != type)
    view.db[META].update_one({"_id": STORE}, {"$set": {"pending": left}}, session=view.session)
