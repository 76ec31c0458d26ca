"""What happens when a database is opened with a schema: check the server, create, check, record, mark as pending.

`meta` holds one document for the store, and one for each type with its parameters: code, digest, whether they are
pending, and since which moment they are no longer kept up to date (dropped).
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any, Literal

from pymongo import UpdateOne
from pymongo.errors import OperationFailure, PyMongoError, ServerSelectionTimeoutError

from fhirstore.errors import StartupError
from fhirstore.model.indexing import IndexedParameter, Schema
from fhirstore.store.errors import Unavailable
from fhirstore.store.mongo import indexes
from fhirstore.store.mongo.building import wanted
from fhirstore.store.mongo.clock import fence, ticks, wind_up
from fhirstore.store.mongo.connection import Connections, View, brief
from fhirstore.store.mongo.indexes import Index
from fhirstore.store.mongo.layout import HISTORY, LOG, META, OWN, STORE, Document, Layout, Param, is_type
from fhirstore.store.mongo.reindex import still_pending
from fhirstore.store.mongo.transaction import transact

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
    connections: Connections, schema: Schema, timeout_s: float, transactions: Transactions
) -> tuple[Layout, list[tuple[str, Index]]]:
    """Creates the database where there is none, checks it otherwise, and records the schema. Returns also the indexes
    that are missing, each with its collection. Raises StartupError, and then has changed nothing."""
    layout = made_layout(schema)
    with _telling(connections.database):
        found = _checked(connections, timeout_s, transactions)
        missing = wanted(connections.process().db, layout, set(found))
        _create(connections, timeout_s)
        _record(connections, layout, schema, timeout_s)
    return layout, missing


def database_exists(connections: Connections, timeout_s: float, transactions: Transactions) -> bool:
    """Whether there is a store; leaves everything as it is. Raises StartupError for something else."""
    with _telling(connections.database):
        _checked(connections, timeout_s, transactions)
        return connections.view(timeout_s).one(META, {"_id": STORE}, {"_id": 1}) is not None


def _checked(connections: Connections, timeout_s: float, transactions: Transactions) -> dict[str, Document]:
    """The collections by name, of a server and a database that are as they must be."""
    _check_server(connections, timeout_s, transactions)
    found: dict[str, Document] = {one["name"]: dict(one) for one in connections.process().db.list_collections()}
    _check_database(connections, found, timeout_s)
    return found


@contextmanager
def _telling(name: str) -> Iterator[None]:
    """Errors of the driver become a StartupError that says what to do. name: of the database."""
    try:
        yield
    except ServerSelectionTimeoutError as problem:
        raise StartupError(
            f"store: MongoDB cannot be reached, or has no primary: {brief(problem)}; check the hosts and replicaSet in "
            "the URL, and that the replica set has a majority of its members"
        ) from problem
    except (PyMongoError, Unavailable) as problem:
        code = getattr(problem, "code", None)
        advice = _ADVICE.get(code, "") if isinstance(code, int) else ""
        raise StartupError(f"store: the database {name} cannot be opened: {brief(problem)}{advice}") from problem


def made_layout(schema: Schema) -> Layout:
    """Raises StartupError for a compound index that is not possible."""
    for compound in schema.compounds:
        specs = schema.types.get(compound.type, {})
        named = f"compound index {compound.type}({', '.join(compound.params)})"
        if not 2 <= len(compound.params) <= 4:
            raise StartupError(f"{named}: 2 to 4 parameters are possible")
        for code in compound.params:
            if code not in specs:
                raise StartupError(f"{named}: the capability statement declares no parameter {code!r} for this type")
            if not specs[code].single:
                raise StartupError(f"{named}: {code!r} can have several values; only single-valued ones are possible")
    for type in schema.types:
        if not is_type(type):
            raise StartupError(f"store: {type!r} is no name of a resource type")
    params = {
        type: {code: Param(spec.kind, spec.single, spec.identifying) for code, spec in sorted(specs.items())}
        for type, specs in sorted(schema.types.items())
    }
    compounds: dict[str, list[tuple[str, ...]]] = {}
    for compound in sorted(set(schema.compounds), key=lambda one: (one.type, one.params)):
        compounds.setdefault(compound.type, []).append(compound.params)
    digests = {type: [[code, _digest(specs[code])] for code in sorted(specs)] for type, specs in schema.types.items()}
    stamp = hashlib.sha256(json.dumps([digests, compounds], sort_keys=True).encode()).hexdigest()
    return Layout(stamp, params, compounds)


def _digest(spec: IndexedParameter) -> str:
    return f"{spec.kind} {spec.single} {spec.digest}"


def _check_server(connections: Connections, timeout_s: float, transactions: Transactions) -> None:
    """The version, that it takes writes, and that there are transactions: a server that announces neither a replica
    set nor a sharded cluster is asked for one, unless the setting says that there are."""
    process = connections.process()
    hello = process.client.admin.command("hello")
    if hello.get("maxWireVersion", 0) < _WIRE_6_0:
        version = process.client.admin.command("buildInfo").get("version", "unknown")
        raise StartupError(f"store: this MongoDB has version {version}; version 6.0 or newer is needed")
    if not hello.get("isWritablePrimary"):
        raise StartupError(
            f"store: {hello.get('me', 'this server')} is not the primary of its replica set; name the replica set in "
            f"the URL (replicaSet={hello.get('setName', 'NAME')}) instead of directConnection"
        )
    if transactions == "on" or hello.get("setName") or hello.get("msg") == "isdbgrid":
        return
    try:
        with connections.snapshot():
            connections.view(timeout_s).at_primary().one(META, {"_id": STORE}, {"_id": 1})
    except OperationFailure as problem:
        if problem.code not in _NO_TRANSACTIONS:
            raise
        raise StartupError(
            "store: this MongoDB is a standalone server, which has no transactions; make it a replica set of one node: "
            "start mongod with --replSet rs0 and run once: mongosh --eval 'rs.initiate()'"
        ) from problem


def _check_database(connections: Connections, found: Mapping[str, Document], timeout_s: float) -> None:
    """Leaves a database that is not ours as it is."""
    name, names = connections.database, found.keys()
    view = connections.view(timeout_s).at_primary()
    head = {"application": 1, "format": 1}
    store = view.one(META, {"_id": STORE}, head)
    filled = store is None and view.one(META, {}, {"_id": 1}) is not None
    if filled:
        store = view.one(META, {"_id": STORE}, head)  # another process may have made it just now
    if store is None:
        # Another process may be creating the store just now: then there are only collections of ours.
        foreign = sorted(one for one in names if one not in OWN and not one.startswith("system."))
        strange = bool(foreign) or filled
    else:
        ours = {one for one in names if one in OWN or one.startswith("system.") or is_type(one.removesuffix(HISTORY))}
        foreign = sorted(set(names) - ours)
        strange = bool(foreign) or store.get("application") != "fhirstore"
    if strange:
        raise StartupError(
            f"store: the database {name} holds collections of something else ({', '.join(foreign[:5]) or META}); "
            "name another database in the setting `store`"
        )
    for one in found.values():
        special = sorted(_SPECIAL & one.get("options", {}).keys())
        if special or one.get("type", "collection") != "collection":
            raise StartupError(
                f"store: {name}.{one['name']} is no plain collection ({', '.join(special) or one['type']}); "
                "fhirstore makes its collections itself, without options: name another database"
            )
    if store is not None and store["format"] != FORMAT:
        raise StartupError(
            f"store: the database {name} has format {store['format']}, this version of fhirstore knows {FORMAT}; "
            "start the version that wrote it, or name another database"
        )


def _create(connections: Connections, timeout_s: float) -> None:
    """What every store has; harmless where it is there already. The document of the store comes first: by it a
    database is known as ours."""
    db = connections.process().db
    store = {"application": "fhirstore", "format": FORMAT, "secret": secrets.token_bytes(32)}
    db[META].update_one({"_id": STORE}, {"$setOnInsert": store}, upsert=True)
    for collection, declared in indexes.OWN.items():
        indexes.create(db, collection, declared)
    wind_up(connections.view(timeout_s).at_primary())


def _record(connections: Connections, layout: Layout, schema: Schema, timeout_s: float) -> None:
    """Records the schema, unless it is that of before. Of several processes that record different ones the last to
    claim the store wins; no commit of another schema takes place behind the fence."""
    store, view = {"_id": STORE}, connections.view(timeout_s).at_primary()
    while True:
        known = view.one(META, store, {"recorded": 1}) or {}
        if known.get("recorded") == layout.stamp and ticks(view, layout.stamp):
            return
        view.db[META].update_one(store, {"$set": {"claimed": layout.stamp, "recorded": ""}})
        moment = fence(view, layout.stamp)
        names = set(view.db.list_collection_names())

        def write(inside: View, moment: int = moment, names: Set[str] = names) -> bool:
            return _write_schema(inside, layout, schema, moment, names)

        if transact(connections, timeout_s, write):
            return


def _write_schema(view: View, layout: Layout, schema: Schema, moment: int, names: Set[str]) -> bool:
    """False = another process has claimed the store since. moment: commits of an earlier schema are not later. names:
    the collections that those commits can have written to."""
    known = {doc["type"]: doc for doc in view.find(META, {"type": {"$exists": True}}, None)}
    writes: list[Any] = []
    pending: list[list[str]] = []
    for type in sorted(known.keys() | schema.types.keys()):
        doc = known.get(type, {"_id": f"type {type}", "type": type, "params": []})
        before = {one["code"]: one for one in doc["params"]}
        params = _params(view, type, schema.types.get(type, {}), before, moment, type in names)
        started = any(one["pending"] and one not in doc["params"] for one in params)
        change = {"type": type, "params": params, "at": "" if started else doc.get("at", "")}
        pending += still_pending(change)
        writes.append(UpdateOne({"_id": doc["_id"]}, {"$set": change}, upsert=True))
    claimed = view.db[META].update_one(
        {"_id": STORE, "claimed": layout.stamp},
        {"$set": {"recorded": layout.stamp, "pending": pending}},
        session=view.session,
    )
    if claimed.matched_count == 0 or not ticks(view, layout.stamp):
        return False
    if writes:
        view.db[META].bulk_write(writes, session=view.session)
    return True


def _params(view: View, type: str, specs: Any, known: dict[str, Document], moment: int, there: bool) -> list[Document]:
    """The parameters of a type; pending where resources exist whose entries are not known to be right."""
    live: bool | None = None if there else False
    found: dict[str, Document] = {}
    for code in sorted(known.keys() | specs.keys()):
        before = known.get(code)
        if code not in specs:
            assert before is not None
            found[code] = before if before["dropped"] is not None else {**before, "dropped": moment}
            continue
        digest = _digest(specs[code])
        stale = (
            before is None
            or before["pending"]
            or before["digest"] != digest
            or (before["dropped"] is not None and _written_since(view, type, before["dropped"]))
        )
        if stale and live is None:
            live = view.one(type, {}, {"_id": 1}) is not None
        found[code] = {"code": code, "digest": digest, "pending": bool(stale and live), "dropped": None}
    return list(found.values())


def _written_since(view: View, type: str, moment: int) -> bool:
    return view.one(LOG, {"t": type, "u": {"$gt": moment}}, {"_id": 1}) is not None
