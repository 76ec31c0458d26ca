"""Indexes of collections that hold resources: built in the background, reported, and dropped on request.

Building an index takes minutes on millions of resources, so `open` does not wait for it. Each process builds the
missing indexes in a thread of its own; MongoDB builds an index once even if several processes request it. Until it
exists, searches that need it are correct but slow.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Literal

from pymongo.database import Database
from pymongo.errors import InvalidOperation, OperationFailure, PyMongoError

from fhirstore.errors import StartupError
from fhirstore.store.mongo import indexes
from fhirstore.store.mongo.indexes import PAST, Fields, MongoIndex, declared
from fhirstore.store.mongo.layout import HISTORY, Document, MongoLayout, is_type
from fhirstore.store.protocol import IndexInfo

log = logging.getLogger("fhirstore.store")

State = Literal["present", "missing", "unused", "foreign"]
_OURS = ("param_", "sort_", "compound_")
_OUR_NAMES = {"updated", "updated_desc", "missing", "parameters", *(index.name for index in PAST)}


class IndexBuilder:
    """Builds the indexes that were missing at start-up, in the background."""

    def __init__(self, missing: Sequence[tuple[str, MongoIndex]]):
        self._missing = missing
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, db: Database[Document]) -> IndexBuilder:
        self._thread = threading.Thread(target=self._run, args=(db,), name="fhirstore-indexes", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Starts no further index. MongoDB finishes the current one."""
        self._stop.set()

    def wait(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _run(self, db: Database[Document]) -> None:
        for collection, index in self._missing:
            if self._stop.is_set():
                return
            try:
                indexes.build(db, collection, [index])
                log.info("built index %s of %s.%s", index.name, db.name, collection)
            except InvalidOperation:  # the client was closed
                return
            except (PyMongoError, StartupError) as problem:
                log.error("could not build index %s of %s.%s: %s", index.name, db.name, collection, problem)


def missing_indexes(db: Database[Document], layout: MongoLayout, names: set[str]) -> list[tuple[str, MongoIndex]]:
    """Returns the missing indexes of existing collections. Raises StartupError for an index that conflicts."""
    return [
        (collection, index)
        for collection, needed in _declared(layout)
        if collection in names
        for index in indexes.missing(db, collection, needed)
    ]


def report(db: Database[Document], layout: MongoLayout) -> Iterator[IndexInfo]:
    names = set(db.list_collection_names())
    known = dict(_declared(layout))
    ours = {name for name in names if is_type(name.removesuffix(HISTORY))}
    for collection in sorted((known.keys() & names) | ours | (indexes.OWN.keys() & names)):
        existing = indexes.present(db, collection)
        sizes, uses = _sizes(db, collection), _uses(db, collection)
        needed = {index.name: index.fields for index in known.get(collection, ())}
        for name in sorted(existing.keys() | needed.keys()):
            fields = tuple(path for path, _ in needed.get(name) or existing[name])
            yield IndexInfo(collection, name, fields, _state(name, existing, needed), sizes.get(name), uses.get(name))


def _declared(layout: MongoLayout) -> Iterator[tuple[str, Sequence[MongoIndex]]]:
    for type in layout.params:
        yield type, declared(layout, type)
        yield type + HISTORY, PAST
    yield from indexes.OWN.items()


def _state(name: str, existing: dict[str, Fields], needed: dict[str, Fields]) -> State:
    if name in needed:
        return "present" if name in existing else "missing"
    return "unused" if name.startswith(_OURS) or name in _OUR_NAMES else "foreign"


def _sizes(db: Database[Document], collection: str) -> dict[str, int]:
    """Returns sizes by index; empty if the user lacks the right."""
    try:
        return {name: int(size) for name, size in db.command("collStats", collection).get("indexSizes", {}).items()}
    except OperationFailure:
        return {}


def _uses(db: Database[Document], collection: str) -> dict[str, int]:
    """Returns uses by index, summed over all shards; empty if the user lacks the right."""
    found: dict[str, int] = {}
    try:
        for one in db[collection].aggregate([{"$indexStats": {}}]):
            found[one["name"]] = found.get(one["name"], 0) + int(one["accesses"]["ops"])
    except OperationFailure:
        return {}
    return found
