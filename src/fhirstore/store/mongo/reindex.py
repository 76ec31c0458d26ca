"""Reindexing while others read and write.

Entries are computed outside of any transaction and written only if the resource still has the version from which they
were computed; a later version has entries of the new schema already. Each batch stores the progress of its type.
"""

from __future__ import annotations

from collections.abc import Callable

from pymongo import UpdateOne

from fhirstore.store.errors import Unavailable
from fhirstore.store.mongo.clock import clock_is_complete
from fhirstore.store.mongo.connection import MongoConnections, MongoSession
from fhirstore.store.mongo.layout import META, STORE, Document, MongoLayout
from fhirstore.store.mongo.read import batch
from fhirstore.store.mongo.transaction import transact
from fhirstore.store.protocol import Extractor
from fhirstore.store.schema_rules import SCHEMA_CHANGED

_BATCH = 200


def pending(session: MongoSession) -> frozenset[tuple[str, str]]:
    """See `SearchStore.pending`. Every search calls it, so it reads one document by its id."""
    store = session.one(META, {"_id": STORE}, {"pending": 1}) or {}
    return frozenset((type, code) for type, code in store.get("pending", ()))


def still_pending(doc: Document) -> list[list[str]]:
    """Returns the pending parameters of a type's document, as the field `pending` of the store's document holds
    them."""
    return [[doc["type"], one["code"]] for one in doc["params"] if one["pending"] and one["dropped"] is None]


def reindex(
    connections: MongoConnections,
    layout: MongoLayout,
    extract: Extractor,
    progress: Callable[[int, int], None] | None,
    timeout_s: float,
) -> int:
    """See `AdministrationStore.reindex`."""

    def session() -> MongoSession:
        return connections.session(timeout_s)

    types = sorted({type for type, _ in pending(session())})
    starts = {type: _position(session(), type) for type in types}
    total = sum(session().count(type, {"_id": {"$gt": after}}, None) for type, after in starts.items())
    done = 0
    for type, after in starts.items():
        while ids := _batch(connections, session(), layout, type, after, extract):
            after, done = ids[-1], done + len(ids)
            if progress is not None:
                progress(done, max(total, done))
        transact(connections, timeout_s, lambda v, type=type: _finish(v, layout, type))  # type: ignore[misc]
    return done


def _position(session: MongoSession, type: str) -> str:
    doc = session.one(META, {"_id": f"type {type}"}, {"at": 1})
    return "" if doc is None else str(doc.get("at", ""))


def _batch(
    connections: MongoConnections, session: MongoSession, layout: MongoLayout, type: str, after: str, extract: Extractor
) -> list[str]:
    """Returns the ids of the batch, empty at the end."""
    db = connections.process().db
    resources = batch(session, type, after, _BATCH)
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


def _finish(session: MongoSession, layout: MongoLayout, type: str) -> None:
    """Clears the pending parameters of the type. Raises Unavailable if another schema was recorded since: recording
    changes the document of each type with parameters, so the transactions conflict."""
    if not clock_is_complete(session, layout.stamp):
        raise Unavailable(SCHEMA_CHANGED)
    where: Document = {"_id": f"type {type}"}
    doc = session.one(META, where, {"params": 1})
    if doc is None:
        return
    params = [{**one, "pending": one["pending"] and one["dropped"] is not None} for one in doc["params"]]
    session.db[META].update_one(where, {"$set": {"params": params, "at": ""}}, session=session.driver_session)
    left = sorted(list(one) for one in pending(session) if one[0] != type)
    session.db[META].update_one({"_id": STORE}, {"$set": {"pending": left}}, session=session.driver_session)
