"""Opening a database with a schema: checks of the server and the database, and the recorded schema.

`meta` holds one document for the store, and one for each type with its parameters: code, digest, whether they are
pending, and the moment since which the schema has not declared them (dropped).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

from pymongo import UpdateOne
from pymongo.errors import OperationFailure, PyMongoError, ServerSelectionTimeoutError

from fhirstore.errors import StartupError
from fhirstore.model.indexing import IndexedParameter, Schema
from fhirstore.store.errors import Unavailable
from fhirstore.store.mongo import indexes
from fhirstore.store.mongo.clock import barrier, clock_is_complete, create_clock
from fhirstore.store.mongo.connection import MongoConnections, MongoSession, brief
from fhirstore.store.mongo.index_builds import missing_indexes
from fhirstore.store.mongo.indexes import MongoIndex
from fhirstore.store.mongo.layout import HISTORY, LOG, META, OWN, STORE, Document, MongoLayout, MongoParameter, is_type
from fhirstore.store.mongo.reindex import still_pending
from fhirstore.store.mongo.transaction import transact
from fhirstore.store.schema_rules import RecordedParameter, check_compounds, record_parameters, schema_stamp

Transactions = Literal["auto", "on"]
FORMAT = 1
_WIRE_6_0 = 17  # maxWireVersion of MongoDB 6.0
_SPECIAL = {"collation", "capped", "timeseries", "viewOn", "validator", "clusteredIndex"}  # options
_ADVICE = {
    13: "; grant the user readWrite on this database",
    18: "; check user, password and authSource in the URL",
    8000: "; check user, password and authSource in the URL",
}
_NO_TRANSACTIONS = (20, 263)  # IllegalOperation, OperationNotSupportedInTransaction


def open_database(
    connections: MongoConnections, schema: Schema, timeout_s: float, transactions: Transactions
) -> tuple[MongoLayout, list[tuple[str, MongoIndex]]]:
    """Creates or checks the database and records the schema. Returns the layout and the missing indexes, each with its
    collection. Raises StartupError and leaves the database unchanged if it cannot be used."""
    layout = make_layout(schema)
    with _startup_errors(connections.database):
        found = _checked_collections(connections, timeout_s, transactions)
        missing = missing_indexes(connections.process().db, layout, set(found))
        _create(connections, timeout_s)
        _record(connections, layout, schema, timeout_s)
    return layout, missing


def database_exists(connections: MongoConnections, timeout_s: float, transactions: Transactions) -> bool:
    """See `TransferStore.exists`."""
    with _startup_errors(connections.database):
        _checked_collections(connections, timeout_s, transactions)
        return connections.session(timeout_s).one(META, {"_id": STORE}, {"_id": 1}) is not None


def _checked_collections(
    connections: MongoConnections, timeout_s: float, transactions: Transactions
) -> dict[str, Document]:
    """Checks the server and the database. Returns the collections by name."""
    _check_server(connections, timeout_s, transactions)
    found: dict[str, Document] = {one["name"]: dict(one) for one in connections.process().db.list_collections()}
    _check_database(connections, found, timeout_s)
    return found


@contextmanager
def _startup_errors(name: str) -> Iterator[None]:
    """Turns errors of the driver into a StartupError with advice. name: the database."""
    try:
        yield
    except ServerSelectionTimeoutError as problem:
        raise StartupError(
            f"store: MongoDB cannot be reached, or has no primary: {brief(problem)}. Check the hosts and replicaSet in "
            "the URL, and that the replica set has a majority of its members"
        ) from problem
    except (PyMongoError, Unavailable) as problem:
        code = getattr(problem, "code", None)
        advice = _ADVICE.get(code, "") if isinstance(code, int) else ""
        raise StartupError(f"store: the database {name} cannot be opened: {brief(problem)}{advice}") from problem


def make_layout(schema: Schema) -> MongoLayout:
    """Raises StartupError for a compound index that is not possible, and for names that are not resource types."""
    check_compounds(schema)
    for type in schema.types:
        if not is_type(type):
            raise StartupError(f"store: {type!r} is not the name of a resource type")
    params = {
        type: {code: MongoParameter(spec.kind, spec.single, spec.identifying) for code, spec in sorted(specs.items())}
        for type, specs in sorted(schema.types.items())
    }
    compounds: dict[str, list[tuple[str, ...]]] = {}
    for compound in sorted(set(schema.compounds), key=lambda one: (one.type, one.params)):
        compounds.setdefault(compound.type, []).append(compound.params)
    return MongoLayout(schema_stamp(schema), params, compounds)


def _check_server(connections: MongoConnections, timeout_s: float, transactions: Transactions) -> None:
    """Checks the version, that the server accepts writes, and that it supports transactions. A server that announces
    neither a replica set nor a sharded cluster has to start one, unless the setting says that it can."""
    process = connections.process()
    hello = process.client.admin.command("hello")
    if hello.get("maxWireVersion", 0) < _WIRE_6_0:
        version = process.client.admin.command("buildInfo").get("version", "unknown")
        raise StartupError(f"store: this MongoDB has version {version}. fhirstore needs version 6.0 or newer")
    if not hello.get("isWritablePrimary"):
        raise StartupError(
            f"store: {hello.get('me', 'this server')} is not the primary of its replica set. Name the replica set in "
            f"the URL (replicaSet={hello.get('setName', 'NAME')}) instead of directConnection"
        )
    if transactions == "on" or hello.get("setName") or hello.get("msg") == "isdbgrid":
        return
    try:
        with connections.snapshot():
            connections.session(timeout_s).at_primary().one(META, {"_id": STORE}, {"_id": 1})
    except OperationFailure as problem:
        if problem.code not in _NO_TRANSACTIONS:
            raise
        raise StartupError(
            "store: this MongoDB is a standalone server without transactions. Make it a replica set of one node: "
            "start mongod with --replSet rs0 and run once: mongosh --eval 'rs.initiate()'"
        ) from problem


def _check_database(connections: MongoConnections, found: Mapping[str, Document], timeout_s: float) -> None:
    """Raises StartupError for a database of another program or with another format. Changes nothing."""
    name, names = connections.database, found.keys()
    session = connections.session(timeout_s).at_primary()
    head = {"application": 1, "format": 1}
    store = session.one(META, {"_id": STORE}, head)
    filled = store is None and session.one(META, {}, {"_id": 1}) is not None
    if filled:
        store = session.one(META, {"_id": STORE}, head)  # another process may have created it since
    if store is None:
        # Another process may be creating the store. Then the database has no other collections than ours.
        foreign = sorted(one for one in names if one not in OWN and not one.startswith("system."))
        strange = bool(foreign) or filled
    else:
        ours = {one for one in names if one in OWN or one.startswith("system.") or is_type(one.removesuffix(HISTORY))}
        foreign = sorted(set(names) - ours)
        strange = bool(foreign) or store.get("application") != "fhirstore"
    if strange:
        raise StartupError(
            f"store: the database {name} holds collections of another program ({', '.join(foreign[:5]) or META}). "
            "Name another database in the setting `store`"
        )
    for one in found.values():
        special = sorted(_SPECIAL & one.get("options", {}).keys())
        if special or one.get("type", "collection") != "collection":
            raise StartupError(
                f"store: {name}.{one['name']} is not a plain collection ({', '.join(special) or one['type']}). "
                "fhirstore creates its collections without options. Name another database"
            )
    if store is not None and store["format"] != FORMAT:
        raise StartupError(
            f"store: the database {name} has format {store['format']}; this version of fhirstore supports format "
            f"{FORMAT}. Start the version that wrote it, or name another database"
        )


def _create(connections: MongoConnections, timeout_s: float) -> None:
    """Creates the parts that every store has and that do not exist. The document of the store comes first, because it
    marks the database as ours."""
    db = connections.process().db
    store = {"application": "fhirstore", "format": FORMAT, "secret": secrets.token_bytes(32)}
    db[META].update_one({"_id": STORE}, {"$setOnInsert": store}, upsert=True)
    for collection, declared in indexes.OWN.items():
        indexes.create(db, collection, declared)
    create_clock(connections.session(timeout_s).at_primary())


def _record(connections: MongoConnections, layout: MongoLayout, schema: Schema, timeout_s: float) -> None:
    """Records the schema if it differs from the recorded one. If several processes record different schemas, the last
    one wins. After the barrier, no process commits with another schema."""
    store, session = {"_id": STORE}, connections.session(timeout_s).at_primary()
    while True:
        known = session.one(META, store, {"recorded": 1}) or {}
        if known.get("recorded") == layout.stamp and clock_is_complete(session, layout.stamp):
            return
        session.db[META].update_one(store, {"$set": {"claimed": layout.stamp, "recorded": ""}})
        moment = barrier(session, layout.stamp)
        names = set(session.db.list_collection_names())

        def write(inside: MongoSession, moment: int = moment, names: Set[str] = names) -> bool:
            return _write_schema(inside, layout, schema, moment, names)

        if transact(connections, timeout_s, write):
            return


def _write_schema(session: MongoSession, layout: MongoLayout, schema: Schema, moment: int, names: Set[str]) -> bool:
    """Returns False if another process has claimed the store since. moment: commits with an earlier schema are not
    later. names: the collections that those commits can have written to."""
    known = {doc["type"]: doc for doc in session.find(META, {"type": {"$exists": True}}, None)}
    writes: list[Any] = []
    pending: list[list[str]] = []
    for type in sorted(known.keys() | schema.types.keys()):
        doc = known.get(type, {"_id": f"type {type}", "type": type, "params": []})
        params = _params(session, type, schema.types.get(type, {}), doc["params"], moment, type in names)
        started = any(one["pending"] and one not in doc["params"] for one in params)
        change = {"type": type, "params": params, "at": "" if started else doc.get("at", "")}
        pending += still_pending(change)
        writes.append(UpdateOne({"_id": doc["_id"]}, {"$set": change}, upsert=True))
    claimed = session.db[META].update_one(
        {"_id": STORE, "claimed": layout.stamp},
        {"$set": {"recorded": layout.stamp, "pending": pending}},
        session=session.driver_session,
    )
    if claimed.matched_count == 0 or not clock_is_complete(session, layout.stamp):
        return False
    if writes:
        session.db[META].bulk_write(writes, session=session.driver_session)
    return True


def _params(
    session: MongoSession,
    type: str,
    specs: Mapping[str, IndexedParameter],
    known: list[Document],
    moment: int,
    exists: bool,
) -> list[Document]:
    """Returns the parameters of a type as they are recorded. exists: whether the collection of the type exists."""
    recorded = {one["code"]: RecordedParameter(one["digest"], one["pending"], one["dropped"]) for one in known}
    live = cache(lambda: exists and session.one(type, {}, {"_id": 1}) is not None)
    found = record_parameters(specs, recorded, moment, live, lambda since: _written_since(session, type, since))
    return [{"code": code, **one._asdict()} for code, one in found.items()]


def _written_since(session: MongoSession, type: str, moment: int) -> bool:
    return session.one(LOG, {"t": type, "u": {"$gt": moment}}, {"_id": 1}) is not None
