"""The commands. Each runs on the storage, or in its transaction if it has one."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import bson

from support.replica.rights import Grant
from support.replica.storage import Storage, Transaction
from support.replica.values import Document, Refused, changed, in_order, projected

WIRE_VERSIONS = {"8.0": 25, "7.0": 21, "6.0": 17, "5.0": 13}
WRITES = ("insert", "update", "delete", "findAndModify")
IN_TRANSACTIONS = (*WRITES, "find", "aggregate", "getMore", "killCursors", "commitTransaction", "abortTransaction")
STANDALONE = "Transaction numbers are only allowed on a replica set member or mongos"


class Commands:
    """kind: replica (a primary), secondary, or standalone. lifetime_s: after that open transactions are aborted.
    grant: of the application that it names; all others may do everything."""

    def __init__(
        self,
        storage: Storage,
        address: str,
        kind: str = "replica",
        version: str = "7.0",
        lifetime_s: float = 60,
        grant: Grant | None = None,
    ):
        self.storage, self._address, self._kind, self._version = storage, address, kind, version
        self._lifetime_s, self._grant = lifetime_s, grant
        self._cursors: dict[int, tuple[str, list[Document]]] = {}
        self._ids = itertools.count(1000)
        self._answers: dict[bytes, tuple[int, Document]] = {}  # of retryable writes, by session
        self._begun: dict[bytes, float] = {}
        self._fail: Document | None = None
        self._times = 0
        self._options: dict[str, Document] = {}  # of collections

    def answer(self, body: Document, application: str) -> Document | None:
        """Returns None to close the connection."""
        name = next(iter(body))
        try:
            with self.storage.lock:
                self._expire()
                if self._grant is not None and application == self._grant.application and name != "copydb":
                    self._grant.check(body)
                if (failure := self._failure(name)) is not None:
                    return self._failed(name, body, failure)
                return {**self._carry_out(name, body), "ok": 1.0}
        except Refused as problem:
            with self.storage.lock:
                return self._refuse(body, problem)

    def _failed(self, name: str, body: Document, failure: Document) -> Document | None:
        """A commit that a fail point refuses can be asked for again, unless it `forgets` the transaction (our own
        addition, for what an election does)."""
        if failure.get("closeConnection"):
            return None
        ends = name != "commitTransaction" or failure.get("forgets")
        return self._refuse(body, _as_refused(failure), ends)

    def _refuse(self, body: Document, problem: Refused, ends: bool = True) -> Document:
        """Runs a command; an error ends its transaction."""
        if ends and (transaction := self._transaction(body)) is not None and transaction.state == "active":
            self.storage.abort(transaction)
        found = {"ok": 0.0, "errmsg": str(problem), "code": problem.code, "codeName": f"Error{problem.code}"}
        return found | ({"errorLabels": problem.labels} if problem.labels else {})

    def _failure(self, name: str) -> Document | None:
        if self._fail is None or self._times <= 0 or name not in self._fail["failCommands"]:
            return None
        self._times -= 1
        return self._fail

    def _transaction(self, body: Document) -> Transaction | None:
        if "autocommit" not in body:
            return None
        found = self.storage.sessions.get(bytes(body["lsid"]["id"]))
        return found if found is not None and found.number == body["txnNumber"] else None

    def _carry_out(self, name: str, body: Document) -> Document:
        run: Callable[[Document, Transaction | None], Document] | None = getattr(self, f"_{name}", None)
        if run is None:
            raise Refused(59, f"no such command: '{name}'")
        if "txnNumber" in body and self._kind == "standalone":
            raise Refused(20, STANDALONE)
        if name in WRITES and self._kind == "secondary":
            raise Refused(10107, "not primary")
        if "autocommit" in body:
            return run(body, self._within(name, body))
        if "txnNumber" in body and name in WRITES:
            session = bytes(body["lsid"]["id"])
            known = self._answers.get(session)
            if known is not None and known[0] == body["txnNumber"]:
                return known[1]
            answer = run(body, None)
            self._answers[session] = (body["txnNumber"], answer)
            return answer
        return run(body, None)

    def _within(self, name: str, body: Document) -> Transaction:
        session, number = bytes(body["lsid"]["id"]), body["txnNumber"]
        known = self.storage.sessions.get(session)
        if name not in IN_TRANSACTIONS:
            raise Refused(263, f"Cannot run '{name}' in a multi-document transaction.")
        if body.get("startTransaction"):
            if known is not None and known.state == "active":
                self.storage.abort(known)
            known = self.storage.begin(session, number)
            self._begun[session] = time.monotonic()
        missing = known is None or known.number != number or known.state == "aborted"
        if missing or (known is not None and known.state == "committed" and name != "commitTransaction"):
            raise Refused(251, f"Transaction {number} has been aborted or never begun", "TransientTransactionError")
        assert known is not None
        return known

    def _expire(self) -> None:
        for session, transaction in self.storage.sessions.items():
            if transaction.state == "active" and time.monotonic() - self._begun[session] > self._lifetime_s:
                self.storage.abort(transaction)

    # --- the server ---

    def _hello(self, body: Document, within: Transaction | None) -> Document:
        found: Document = {
            "isWritablePrimary": self._kind != "secondary", "ismaster": self._kind != "secondary", "helloOk": True,
            "maxBsonObjectSize": 16777216, "maxMessageSizeBytes": 48000000, "maxWriteBatchSize": 100000,
            "minWireVersion": 0, "maxWireVersion": WIRE_VERSIONS[self._version], "readOnly": False,
            "logicalSessionTimeoutMinutes": 30,
        }  # fmt: skip
        if self._kind != "standalone":
            found |= {"setName": "rs0", "hosts": [self._address], "me": self._address, "setVersion": 1}
            found |= {"secondary": True} if self._kind == "secondary" else {"primary": self._address}
        return found

    _ismaster = _isMaster = _hello

    def _ping(self, body: Document, within: Transaction | None) -> Document:
        return {}

    _endSessions = _killCursors = _ping

    def _buildInfo(self, body: Document, within: Transaction | None) -> Document:
        return {"version": f"{self._version}.0"}

    def _saslStart(self, body: Document, within: Transaction | None) -> Document:
        raise Refused(18, "Authentication failed.")

    def _configureFailPoint(self, body: Document, within: Transaction | None) -> Document:
        mode, self._fail = body["mode"], None if body["mode"] == "off" else body["data"]
        self._times = mode["times"] if isinstance(mode, dict) else 1 << 30
        return {}

    # --- transactions ---

    def _commitTransaction(self, body: Document, within: Transaction | None) -> Document:
        assert within is not None
        if within.state == "active":
            self.storage.commit(within)
        return {}

    def _abortTransaction(self, body: Document, within: Transaction | None) -> Document:
        assert within is not None
        self.storage.abort(within)
        return {}

    # --- reading ---

    def _find(self, body: Document, within: Transaction | None) -> Document:
        namespace = f"{body['$db']}.{body['find']}"
        docs = list(self.storage.found(namespace, body.get("filter", {}), within))
        docs = in_order(docs, body.get("sort", {}))[: body.get("limit") or None]
        return self._cursor(namespace, [projected(doc, body.get("projection")) for doc in docs], body)

    def _cursor(self, namespace: str, docs: list[Document], body: Document) -> Document:
        size = body.get("batchSize", body.get("cursor", {}).get("batchSize", 101))
        first, rest = docs[:size], docs[size:]
        id = next(self._ids) if rest and not body.get("singleBatch") else 0
        if id:
            self._cursors[id] = (namespace, rest)
        return {"cursor": {"id": bson.Int64(id), "ns": namespace, "firstBatch": first}}

    def _getMore(self, body: Document, within: Transaction | None) -> Document:
        namespace, docs = self._cursors.pop(body["getMore"], ("", []))
        if not namespace:
            raise Refused(43, "cursor not found")
        size = body.get("batchSize", 1000)
        if docs[size:]:
            self._cursors[body["getMore"]] = (namespace, docs[size:])
        id = body["getMore"] if docs[size:] else 0
        return {"cursor": {"id": bson.Int64(id), "ns": namespace, "nextBatch": docs[:size]}}

    def _aggregate(self, body: Document, within: Transaction | None) -> Document:
        namespace = f"{body['$db']}.{body['aggregate']}"
        if "$indexStats" in body["pipeline"][0]:
            indexes = self._have(namespace)
            rows = [{"name": name, "accesses": {"ops": bson.Int64(0)}} for name in ("_id_", *indexes)]
            return self._cursor(namespace, rows, body)
        first = body["pipeline"][0].get("$match", {})
        docs = list(self.storage.found(namespace, first, within))
        for stage in body["pipeline"]:
            [(operator, operand)] = stage.items()
            if operator == "$limit":
                docs = docs[:operand]
            elif operator == "$group":
                docs = _grouped(docs, operand)
            elif operator != "$match":
                raise Refused(40324, f"Unrecognized pipeline stage name: '{operator}'")
        return self._cursor(namespace, docs, body)

    # --- writing ---

    def _insert(self, body: Document, within: Transaction | None) -> Document:
        namespace, errors, done = f"{body['$db']}.{body['insert']}", [], 0
        for n, doc in enumerate(body["documents"]):
            if self.storage.current(namespace, doc["_id"], within) is not None:
                errors.append(_duplicate(n, namespace, doc))
            elif self.storage.put(namespace, doc["_id"], {"_id": doc["_id"], **doc}, within, None):
                done += 1
                continue
            else:
                errors.append(_duplicate(n, namespace, doc))
            if body.get("ordered", True) or within is not None:
                break
        if errors and within is not None:
            self.storage.abort(within)
        return {"n": done} | ({"writeErrors": errors} if errors else {})

    def _update(self, body: Document, within: Transaction | None) -> Document:
        namespace, n, made = f"{body['$db']}.{body['update']}", 0, []
        for place, one in enumerate(body["updates"]):
            changes, upserted = self._updated(namespace, one, within)
            n += len(changes)
            made += [{"index": place, "_id": id} for id in upserted]
        return {"n": n, "nModified": n - len(made)} | ({"upserted": made} if made else {})

    def _updated(self, namespace: str, one: Document, within: Transaction | None) -> tuple[list[Document], list[Any]]:
        """The documents after the change, and the ids of the inserted ones."""
        where, found = one["q"], []
        for doc in list(self.storage.found(namespace, where, within)):
            after = self._replaced(namespace, doc, where, one["u"], within)
            found += [] if after is None else [after]
            if after is not None and not one.get("multi"):
                break
        if found or not one.get("upsert"):
            return found, []
        after = changed(None, one["u"], where)
        if self.storage.current(namespace, after["_id"], within) is not None:
            raise Refused(11000, f"E11000 duplicate key error collection: {namespace}")
        if not self.storage.put(namespace, after["_id"], after, within, None):
            return self._updated(namespace, one, within)
        return [after], [after["_id"]]

    def _replaced(
        self, namespace: str, doc: Document, where: Document, change: Document, within: Transaction | None
    ) -> Document | None:
        """None = meanwhile it is another that does not match."""
        current: Document | None = doc
        while current is not None:
            after = changed(current, change, where)
            if self.storage.put(namespace, current["_id"], after, within, current):
                return after
            current = next(self.storage.found(namespace, {"$and": [{"_id": doc["_id"]}, where]}, within), None)
        return None

    def _delete(self, body: Document, within: Transaction | None) -> Document:
        namespace, n = f"{body['$db']}.{body['delete']}", 0
        for one in body["deletes"]:
            for doc in list(self.storage.found(namespace, one["q"], within)):
                n += self.storage.put(namespace, doc["_id"], None, within, doc)
                if one["limit"] == 1:
                    break
        return {"n": n}

    def _findAndModify(self, body: Document, within: Transaction | None) -> Document:
        namespace = f"{body['$db']}.{body['findAndModify']}"
        change = {"q": body["query"], "u": body["update"], "upsert": body.get("upsert")}
        found, _ = self._updated(namespace, change, within)
        return {"value": found[0] if found else None, "lastErrorObject": {"n": len(found)}}

    # --- definitions ---

    def _have(self, namespace: str) -> Document:
        if namespace not in self.storage.collections:
            raise Refused(26, f"ns does not exist: {namespace}")
        return self.storage.collections[namespace].indexes

    def _create(self, body: Document, within: Transaction | None) -> Document:
        if (namespace := f"{body['$db']}.{body['create']}") in self.storage.collections:
            raise Refused(48, f"Collection {namespace} already exists.")
        self.storage.create(namespace)
        options = {name: value for name, value in body.items() if name in ("capped", "size", "collation", "viewOn")}
        if options:
            self._options[namespace] = options  # listed, without effect
        return {}

    def _createIndexes(self, body: Document, within: Transaction | None) -> Document:
        for index in body["indexes"]:
            self.storage.add_index(f"{body['$db']}.{body['createIndexes']}", index)
        return {}

    def _listIndexes(self, body: Document, within: Transaction | None) -> Document:
        namespace = f"{body['$db']}.{body['listIndexes']}"
        own = {"v": 2, "key": {"_id": 1}, "name": "_id_"}
        return self._cursor(namespace, [own, *self._have(namespace).values()], {"batchSize": 1000})

    def _dropIndexes(self, body: Document, within: Transaction | None) -> Document:
        self.storage.drop_index(f"{body['$db']}.{body['dropIndexes']}", body["index"])
        return {}

    def _listCollections(self, body: Document, within: Transaction | None) -> Document:
        own = f"{body['$db']}."
        found = [
            {
                "name": name.removeprefix(own),
                "type": "view" if "viewOn" in self._options.get(name, ()) else "collection",
                "options": self._options.get(name, {}),
                "info": {"readOnly": False},
            }
            for name in self.storage.collections
            if name.startswith(own)
        ]
        return self._cursor(f"{own}$cmd.listCollections", found, {"batchSize": 1000})

    def _collStats(self, body: Document, within: Transaction | None) -> Document:
        indexes = self._have(f"{body['$db']}.{body['collStats']}")
        return {"indexSizes": dict.fromkeys(("_id_", *indexes), 4096)}

    def _drop(self, body: Document, within: Transaction | None) -> Document:
        self.storage.drop(f"{body['$db']}.{body['drop']}")
        return {}

    def _dropDatabase(self, body: Document, within: Transaction | None) -> Document:
        for namespace in [name for name in self.storage.collections if name.startswith(f"{body['$db']}.")]:
            self.storage.drop(namespace)
        return {}

    def _copydb(self, body: Document, within: Transaction | None) -> Document:
        """Needs no right, and refuses to write to a database that exists. MongoDB has had no such command since 4.2;
        see support/stores.py."""
        if not self.storage.exists(body["fromdb"]):
            raise Refused(26, f"{body['fromdb']} does not exist")
        if self.storage.exists(body["todb"]):
            raise Refused(48, f"{body['todb']} exists")
        self.storage.copy(f"{body['fromdb']}.", f"{body['todb']}.")
        return {}


def _as_refused(failure: Document) -> Refused:
    return Refused(failure["errorCode"], "failed by a fail point", *failure.get("errorLabels", ()))


def _duplicate(n: int, namespace: str, doc: Document) -> Document:
    text = f"E11000 duplicate key error collection: {namespace} index: _id_ dup key: {{ _id: {doc['_id']!r} }}"
    return {"index": n, "code": 11000, "errmsg": text, "keyPattern": {"_id": 1}, "keyValue": {"_id": doc["_id"]}}


def _grouped(docs: list[Document], group: Document) -> list[Document]:
    """$group by a constant or a field, with $sum of 1 and $max of fields."""
    found: dict[Any, Document] = {}
    for doc in docs:
        key = doc[group["_id"][1:]] if isinstance(group["_id"], str) else group["_id"]
        row = found.setdefault(key, {"_id": key})
        for name, make in group.items():
            if name == "_id":
                continue
            [(operator, operand)] = make.items()
            value = doc[operand[1:]] if isinstance(operand, str) else operand
            row[name] = row.get(name, 0) + value if operator == "$sum" else max(row.get(name, value), value)
    return list(found.values())
