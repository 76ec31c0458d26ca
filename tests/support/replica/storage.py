"""Collections, their versions, the transactions on them, and the journal."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bson

from support.replica.values import MISSING, Document, Refused, along, at, matches, prepared

MOST_INDEXES = 64
GREATEST = 16 * 1024 * 1024
CONFLICT = (112, "WriteConflict error: this operation conflicted with another operation", "TransientTransactionError")
Key = tuple[str, Any]  # namespace, _id


@dataclass
class Collection:
    """versions: by _id, (time of the commit, document or None), oldest first. indexes: by name, key and options.
    postings: by the first path of an index, value -> the ids of documents that have had it."""

    versions: dict[Any, list[tuple[int, Document | None]]] = field(default_factory=dict)
    indexes: dict[str, Document] = field(default_factory=dict)
    postings: dict[str, dict[Any, dict[Any, None]]] = field(default_factory=dict)

    def post(self, doc: Document) -> None:
        for path, values in self.postings.items():
            for value in _members(doc, path):
                values.setdefault(value, {})[doc["_id"]] = None

    def bury(self, id: Any, last: Document) -> None:
        """Forgets a document that everybody sees as deleted; last: as it was then."""
        del self.versions[id]
        for path, values in self.postings.items():
            for value in _members(last, path):
                values.get(value, {}).pop(id, None)

    def candidates(self, where: Document) -> list[Any]:
        """Ids among which all that match are."""
        best: list[Any] | None = None
        for path, wanted in _equalities(where):
            if path == "_id":
                some = list(dict.fromkeys(wanted))
            elif path in self.postings:
                some = list({id: None for value in wanted for id in self.postings[path].get(value, ())})
            else:
                continue
            if best is None or len(some) < len(best):
                best = some
        return list(self.versions) if best is None else best


@dataclass
class Transaction:
    """begun: the time whose state it sees. written: what it has changed."""

    session: bytes
    number: int
    begun: int
    written: dict[Key, Document | None] = field(default_factory=dict)
    state: str = "active"


class Storage:
    """The whole storage, under one lock. file: the journal."""

    def __init__(self, file: Path):
        self.lock = threading.Condition()
        self.collections: dict[str, Collection] = {}
        self.sessions: dict[bytes, Transaction] = {}
        self._held: dict[Key, Transaction] = {}
        self._deleted: deque[tuple[int, Key, Document]] = deque()
        self._time = 0
        self._replay(file)
        self._journal = open(file, "ab")  # noqa: SIM115

    # --- reading ---

    def current(self, namespace: str, id: Any, within: Transaction | None) -> Document | None:
        if within is not None and (namespace, id) in within.written:
            return within.written[namespace, id]
        versions = self.collections[namespace].versions.get(id, ()) if namespace in self.collections else ()
        for at_time, doc in reversed(versions):
            if within is None or at_time <= within.begun:
                return doc
        return None

    def found(self, namespace: str, where: Document, within: Transaction | None) -> Iterator[Document]:
        collection = self.collections.get(namespace)
        ids = [] if collection is None else collection.candidates(where)
        if within is not None:
            ids = list(dict.fromkeys([*ids, *(id for name, id in within.written if name == namespace)]))
        where = prepared(where)
        for id in ids:
            doc = self.current(namespace, id, within)
            if doc is not None and matches(doc, where):
                yield doc

    # --- writing ---

    def put(
        self, namespace: str, id: Any, doc: Document | None, within: Transaction | None, seen: Document | None
    ) -> bool:
        """Writes a document (None = deletes it) of which `seen` was the state. False = outside of a transaction it has
        become another meanwhile: look again. Raises Refused."""
        key = (namespace, id)
        if doc is not None:
            self._check(namespace, doc)
        holder = self._held.get(key)
        if within is None:
            while holder is not None:
                if not self.lock.wait(60):
                    raise Refused(50, "operation exceeded time limit")
                holder = self._held.get(key)
            if self.current(namespace, id, None) is not seen:
                return False
            self._apply([(namespace, id, doc)])
            return True
        versions = self.collections[namespace].versions.get(id, ()) if namespace in self.collections else ()
        if (holder is not None and holder is not within) or (versions and versions[-1][0] > within.begun):
            raise Refused(*CONFLICT)
        self._held[key] = within
        within.written[key] = doc
        return True

    def _check(self, namespace: str, doc: Document) -> None:
        if (size := len(bson.encode(doc))) > GREATEST:
            raise Refused(10334, f"BSONObj size: {size} is invalid. Size must be between 0 and {GREATEST}")
        for index in self.collections[namespace].indexes.values() if namespace in self.collections else ():
            lists = {place for path in index["key"] if "$" not in path for place in _lists(doc, path)}
            if len(lists) > 1:
                raise Refused(171, f"cannot index parallel arrays {sorted(lists)}")

    def commit(self, transaction: Transaction) -> None:
        """The journal has the commit with its writes, so a client that repeats it after a restart learns of it."""
        writes = [(namespace, id, doc) for (namespace, id), doc in transaction.written.items()]
        self._apply(writes, {"session": transaction.session, "number": transaction.number})
        self._end(transaction, "committed")

    def abort(self, transaction: Transaction) -> None:
        self._end(transaction, "aborted")

    def _end(self, transaction: Transaction, state: str) -> None:
        transaction.state = state
        for key in transaction.written:
            self._held.pop(key, None)
        self.lock.notify_all()

    def _apply(self, writes: list[tuple[str, Any, Document | None]], by: Document | None = None) -> None:
        self.log({"w": [[namespace, id, doc] for namespace, id, doc in writes], "by": by})
        self._time += 1
        oldest = min((one.begun for one in self.sessions.values() if one.state == "active"), default=self._time)
        for namespace, id, doc in writes:
            collection = self.collections.setdefault(namespace, Collection())
            versions = collection.versions.setdefault(id, [])
            if doc is None and versions and versions[-1][1] is not None:
                self._deleted.append((self._time, (namespace, id), versions[-1][1]))
            versions.append((self._time, doc))
            while len(versions) > 1 and versions[1][0] <= oldest:
                del versions[0]
            if doc is not None:
                collection.post(doc)
        while self._deleted and self._deleted[0][0] <= oldest:
            at_time, (namespace, id), last = self._deleted.popleft()
            found = self.collections.get(namespace)
            if found is not None and [time for time, _ in found.versions.get(id, ())] == [at_time]:
                found.bury(id, last)

    def begin(self, session: bytes, number: int) -> Transaction:
        self.sessions[session] = Transaction(session, number, self._time)
        return self.sessions[session]

    # --- definitions ---

    def create(self, namespace: str) -> None:
        self.log({"create": namespace})
        self.collections.setdefault(namespace, Collection())

    def drop(self, namespace: str) -> None:
        self.log({"drop": namespace})
        self.collections.pop(namespace, None)

    def exists(self, database: str) -> bool:
        return any(name.startswith(f"{database}.") for name in self.collections)

    def copy(self, source: str, target: str) -> None:
        """Copies all collections whose names begin with `source`."""
        for namespace in [name for name in self.collections if name.startswith(source)]:
            copied = target + namespace.removeprefix(source)
            self.create(copied)
            for index in self.collections[namespace].indexes.values():
                self.add_index(copied, index)
            versions = self.collections[namespace].versions.items()
            self._apply([(copied, id, found[-1][1]) for id, found in versions if found[-1][1] is not None])

    def add_index(self, namespace: str, index: Document) -> None:
        """Raises Refused if the index is not possible."""
        collection = self.collections.setdefault(namespace, Collection())
        name, key = index["name"], list(index["key"].items())
        same = [one for one in collection.indexes.values() if list(one["key"].items()) == key]
        if name in collection.indexes and not same:
            raise Refused(86, f"An existing index has the same name as the requested index: {name}")
        if same and same[0]["name"] != name:
            raise Refused(85, f"Index already exists with a different name: {same[0]['name']}")
        if same:
            return
        if len(collection.indexes) >= MOST_INDEXES - 1:
            raise Refused(67, f"add index fails, too many indexes for {namespace}")
        self.log({"index": namespace, "spec": index})
        self._index(collection, index)

    def _index(self, collection: Collection, index: Document) -> None:
        collection.indexes[index["name"]] = index
        path = next(iter(index["key"]))
        if "$" not in path and path not in collection.postings:
            values = collection.postings[path] = {}
            for versions in collection.versions.values():
                for _, doc in versions:
                    for value in _members(doc, path) if doc is not None else ():
                        values.setdefault(value, {})[doc["_id"]] = None  # type: ignore[index]

    def drop_index(self, namespace: str, name: str) -> None:
        if name not in self.collections[namespace].indexes:
            raise Refused(27, f"index not found with name [{name}]")
        self.log({"unindex": namespace, "name": name})
        del self.collections[namespace].indexes[name]

    # --- journal ---

    def log(self, entry: Document) -> None:
        self._journal.write(bson.encode(entry))
        self._journal.flush()

    def _replay(self, file: Path) -> None:
        """An incomplete last entry was never acknowledged."""
        data = file.read_bytes() if file.exists() else b""
        place = 0
        while place + 4 <= len(data):
            size = int.from_bytes(data[place : place + 4], "little")
            if place + size > len(data):
                break
            self._redo(bson.decode(data[place : place + size]))
            place += size
        if place < len(data):
            os.truncate(file, place)

    def _redo(self, entry: Document) -> None:
        self._time += 1
        for namespace, id, doc in entry.get("w", ()):
            collection = self.collections.setdefault(namespace, Collection())
            collection.versions[id] = [(self._time, doc)]
            if doc is not None:
                collection.post(doc)
        if by := entry.get("by"):
            self.sessions[by["session"]] = Transaction(by["session"], by["number"], self._time, state="committed")
        if "create" in entry:
            self.collections.setdefault(entry["create"], Collection())
        if "drop" in entry:
            self.collections.pop(entry["drop"], None)
        if "index" in entry:
            self._index(self.collections.setdefault(entry["index"], Collection()), entry["spec"])
        if "unindex" in entry:
            self.collections[entry["unindex"]].indexes.pop(entry["name"], None)


def _members(doc: Document, path: str) -> Iterator[Any]:
    for value in along(doc, path):
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str | int | float):
                yield one


def _lists(doc: Document, path: str) -> Iterator[str]:
    names = path.split(".")
    for length in range(1, len(names) + 1):
        if isinstance(at(doc, ".".join(names[:length])), list):
            yield ".".join(names[:length])
            return


def _equalities(where: Document) -> Iterator[tuple[str, list[Any]]]:
    """Paths one of whose values each match has."""
    for name, test in where.items():
        if name == "$and":
            for one in test:
                yield from _equalities(one)
        elif name[0] != "$" and isinstance(test, dict) and "$in" in test:
            yield name, test["$in"]
        elif name[0] != "$" and isinstance(test, str | int) and test is not MISSING:
            yield name, [test]
