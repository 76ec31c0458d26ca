"""Indexes of collections that hold resources already: made in the background, reported, and dropped on request.

To make one takes minutes where there are millions of resources. So a start waits for none of them; each process makes
what was missing at the start in a thread of its own. Several may ask for the same one: MongoDB makes it once. Until it
is there, searches that need it are slow, but right.
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
from fhirstore.store.mongo.indexes import PAST, Fields, Index, declared
from fhirstore.store.mongo.layout import HISTORY, Document, Layout, is_type
from fhirstore.store.protocol import IndexInfo

log = logging.getLogger("fhirstore.store")

State = Literal["present", "missing", "unused", "foreign"]
_OURS = ("param_", "sort_", "compound_")
_OUR_NAMES = {"updated", "updated_desc", "missing", "parameters", *(index.name for index in PAST)}


class Builder:
    """Makes the indexes that were missing at the start, in the background."""

    def __init__(self, wanted: Sequence[tuple[str, Index]]):
        self._wanted = wanted
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, db: Database[Document]) -> Builder:
        self._thread = threading.Thread(target=self._run, args=(db,), name="fhirstore-indexes", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Begins with no further one; MongoDB finishes the one under way."""
        self._stop.set()

    def wait(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _run(self, db: Database[Document]) -> None:
        for collection, index in self._wanted:
            if self._stop.is_set():
                return
            try:
                indexes.build(db, collection, [index])
                log.info("index %s of %s.%s is there", index.name, db.name, collection)
            except InvalidOperation:  # the client was closed
                return
            except (PyMongoError, StartupError) as problem:
                log.error("index %s of %s.%s was not made: %s", index.name, db.name, collection, problem)


def wanted(db: Database[Document], layout: Layout, names: set[str]) -> list[tuple[str, Index]]:
    """What is missing on the collections that there are. Raises StartupError for an index that conflicts."""
    return [
        (collection, index)
        for collection, needed in _declared(layout)
        if collection in names
        for index in indexes.missing(db, collection, needed)
    ]


def report(db: Database[Document], layout: Layout) -> Iterator[IndexInfo]:
    names = set(db.list_collection_names())
    known = dict(_declared(layout))
    ours = {name for name in names if is_type(name.removesuffix(HISTORY))}
    for collection in sorted((known.keys() & names) | ours | (indexes.OWN.keys() & names)):
        there = indexes.present(db, collection)
        sizes, uses = _sizes(db, collection), _uses(db, collection)
        needed = {index.name: index.fields for index in known.get(collection, ())}
        for name in sorted(there.keys() | needed.keys()):
            fields = tuple(path for path, _ in needed.get(name) or there[name])
            yield IndexInfo(collection, name, fields, _state(name, there, needed), sizes.get(name), uses.get(name))


def _declared(layout: Layout) -> Iterator[tuple[str, Sequence[Index]]]:
    for type in layout.params:
        yield type, declared(layout, type)
        yield type + HISTORY, PAST
    yield from indexes.OWN.items()


def _state(name: str, there: dict[str, Fields], needed: dict[str, Fields]) -> State:
    if name in needed:
        return "present" if name in there else "missing"
    return "unused" if name.startswith(_OURS) or name in _OUR_NAMES else "foreign"


def _sizes(db: Database[Document], collection: str) -> dict[str, int]:
    """Empty where the user may not ask."""
    try:
        return {name: int(size) for name, size in db.command("collStats", collection).get("indexSizes", {}).items()}
    except OperationFailure:
        return {}


def _uses(db: Database[Document], collection: str) -> dict[str, int]:
    """On a sharded cluster the sum of all shards; empty where the user may not ask."""
    found: dict[str, int] = {}
    try:
        for one in db[collection].aggregate([{"$indexStats": {}}]):
            found[one["name"]] = found.get(one["name"], 0) + int(one["accesses"]["ops"])
    except OperationFailure:
        return {}
    return found
