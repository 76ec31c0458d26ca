"""The protocol of an engine, in parts. `Store` is all of them.

Callers ask for the part that they need: code that searches takes a `SearchStore`. Engines know no HTTP and no FHIR
rules. Every engine passes the contract tests in tests/contract; `tests/contract/memory_store.py` is the smallest one.

Rules for all engines:

- A store is thread-safe. It is created before the server forks, and connects on first use in each process and thread.
- Texts are ordered by code point. Instants are integers: microseconds since 1970 UTC, multiples of 1000.
- A resource is *live* if its current version is not a deletion. Searches, counts and unique keys see live resources.
- A call with a type or an id that does not exist returns nothing. It is not an error.
- A call that names a search parameter that the schema does not declare for the type raises ValueError.
- Every call may raise Unavailable. Reads may also raise TimedOut, searches TooComplex.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from fhirstore.model.conditions import Condition, Sort
from fhirstore.model.indexing import IndexEntry, Schema
from fhirstore.model.stored import Change, Guard, Record, RecordGuard, Stored
from fhirstore.store.errors import GuardChanged, SnapshotLost, VersionConflict
from fhirstore.store.transfer import TransferredVersion

T = TypeVar("T")
Extractor = Callable[[Stored], Mapping[str, Sequence[IndexEntry]]]
"""Computes the index entries of a live resource, by parameter code."""
_SNAPSHOT_ATTEMPTS = 4


class ResultPage(NamedTuple):
    """entries: in order. next: the position after which the next page starts (JSON-compatible, opaque), None on the
    last page. A page of `limit` entries has a `next` if and only if more entries follow."""

    entries: list[Stored]
    next: list[Any] | None


class IndexInfo(NamedTuple):
    """A database index.

    state: "present"; "missing" if it is declared and does not exist yet; "unused" if fhirstore created it and no
    longer declares it; "foreign" if fhirstore did not create it. size: bytes. uses: number of uses since the database
    server started. Both are None if the engine cannot tell."""

    collection: str
    name: str
    fields: tuple[str, ...]
    state: Literal["present", "missing", "unused", "foreign"]
    size: int | None = None
    uses: int | None = None


class SnapshotStore(Protocol):
    """Reads of one state, within a time."""

    def snapshot(self) -> AbstractContextManager[None]:
        """All reads of this thread inside the block see one state of the store, the state of the first read or an
        earlier one. Blocks nest; the outermost one counts. A commit inside the block raises ValueError. Raises
        SnapshotLost if the database drops the snapshot."""
        ...

    def deadline(self, at: float | None) -> AbstractContextManager[None]:
        """Reads of this thread inside the block raise TimedOut at this time (`time.monotonic()` seconds), or when the
        search timeout of the store is over, if that is earlier. A commit may raise it before it stores anything. None:
        no deadline. Blocks nest; the earliest deadline counts."""
        ...


class ResourceStore(SnapshotStore, Protocol):
    """Resources by id, and commits."""

    def read(self, type: str, id: str, version: int | None = None) -> Stored | None:
        """Returns the current version, which may be a deletion, or the given version. None if it does not exist.

        `Stored.key` is None except for the current version of a live resource, there it is a value of the engine."""
        ...

    def read_many(self, refs: Iterable[str]) -> list[Stored]:
        """Returns the live resources among these references ("Type/id"), each once, in any order. Texts of another
        form match nothing."""
        ...

    def commit(
        self, changes: Sequence[Change], guards: Sequence[Guard | RecordGuard] = (), records: Sequence[Record] = ()
    ) -> list[Stored]:
        """Stores everything or nothing, durably. Returns the new versions in the order of the changes.

        In this order: the schema is checked (if there are changes), the guards, the replaced versions, the unique
        keys. Guards see the state before the changes. A change may take a unique key that another change of the same
        commit releases. A deletion has neither meta nor body nor unique keys, and its version number follows the
        version that it replaces; a resource that never existed can be deleted (version 1). Versions of a deleted
        resource keep counting if it is created again. A record with the value None is deleted.

        All versions of one commit have the same `updated`. It never decreases from commit to commit of one process,
        and is later than that of each replaced version; clocks of different servers may differ.

        A commit of records alone needs no `open`; its guards are then on records, too.

        Raises ValueError if a resource occurs twice in the changes, for index entries of undeclared parameters, and
        for several different entries of a parameter that is declared single; VersionConflict; DuplicateKey;
        GuardChanged; TooLarge; Unavailable, also if another process has opened the store with another schema since."""
        ...


class SearchStore(SnapshotStore, Protocol):
    """Searches. The meaning of conditions is defined in `model.conditions`, that of entries in `model.indexing`."""

    def find(
        self,
        type: str,
        where: Condition,
        sort: Sequence[Sort] = (),
        after: list[Any] | None = None,
        limit: int | None = None,
    ) -> ResultPage:
        """Returns the live resources of the type that satisfy `where`, in the order of `sort`, then by id.

        after: the `next` of the preceding page of the same search. limit: the greatest number of entries, None for
        all. Pages are found by key, so a resource that matches throughout and keeps its sort keys is seen exactly
        once, whatever is written in between. Raises ValueError if `after` belongs to another sort."""
        ...

    def count(self, type: str, where: Condition, at_most: int | None = None) -> int:
        """Returns the number of live resources that satisfy `where`, at most `at_most`."""
        ...

    def references(self, sources: Sequence[Stored], param: str) -> list[str]:
        """Returns the distinct targets of the reference parameter `param` of these resources, in any order.

        sources: current versions of one type, as `find`, `read` or `commit` returned them. A source that is no longer
        live has no targets."""
        ...

    def pending_parameters(self) -> frozenset[tuple[str, str]]:
        """Returns the (type, parameter) pairs that need a `reindex` before searches on them are complete."""
        ...


class HistoryStore(SnapshotStore, Protocol):
    """Versions by time."""

    def history(
        self,
        type: str | None = None,
        id: str | None = None,
        since: int | None = None,
        until: int | None = None,
        after: list[Any] | None = None,
        limit: int | None = None,
    ) -> ResultPage:
        """Returns the versions with since <= updated < until, newest first: of one resource, of a type, or of all.

        The versions of one commit are in the reverse order of its changes. A client that polls with `since` = the
        greatest `updated` it has received, for a type or for all, receives every version that it has not seen.

        after: the `next` of the preceding page. For a type and for all, it is [updated, type, id, version] of the last
        entry, and valid in every engine that holds this version; for one resource it is [version]. Later versions do
        not appear on following pages. Raises ValueError if `after` names a version that does not exist."""
        ...

    def history_count(
        self, type: str | None = None, id: str | None = None, since: int | None = None, until: int | None = None
    ) -> int:
        """Returns the number of versions that `history` returns without `limit`."""
        ...


class RecordStore(SnapshotStore, Protocol):
    """Key-value records of plugins and of the server. `commit` writes them. These calls need no `open`."""

    def get_record(self, kind: str, key: str) -> Record | None:
        """Returns the record with this kind and key, None if it does not exist."""
        ...

    def records(self, kind: str, after: str = "", limit: int = 1000) -> list[Record]:
        """Returns the records of the kind with a key greater than `after`, by key."""
        ...

    def record_kinds(self) -> list[str]:
        """Returns the kinds that have records, in order."""
        ...


class AdministrationStore(Protocol):
    """Opening, maintenance and monitoring."""

    def open(self, schema: Schema) -> None:
        """Creates the database or checks it, and records the schema.

        A parameter becomes pending if resources of its type exist and it is new, its kind, `single` or digest
        changed, or resources of the type were written while the schema did not declare it. Processes that opened the
        store with another schema can no longer commit changes.

        Raises StartupError if the database cannot be used, or if a compound index does not have 2 to 4 declared,
        single parameters; the database is unchanged then."""

    def close(self) -> None:
        """Closes the connections of this process."""

    def probe(self) -> int:
        """Writes a value durably, and returns the `updated` of the newest version, 0 if there is no version. On MongoDB
        it can be later, because readers of histories advance the clock.

        Raises Unavailable if the store cannot be written. Each call takes the time of a commit, so health checks call
        it, and requests do not."""
        ...

    def secret(self) -> bytes:
        """Returns 32 random bytes that were created with the store: the default key of paging tokens."""
        ...

    def unique_key_owner(self, key: str) -> str | None:
        """Returns the live resource ("Type/id") that owns a unique key, None if the key is free."""
        ...

    def scan(self, type: str | None = None) -> Iterator[Stored]:
        """Yields the live resources of the type, or of all types: type by type in order, in any order within a type,
        in batches."""
        ...

    def reindex(self, extract: Extractor, progress: Callable[[int, int], None] | None = None) -> int:
        """Computes the index entries of all types with pending parameters and clears `pending`.

        The work is done in batches while others read and write. If it is interrupted, the next call continues after
        the last finished batch; if another parameter of the type has become pending since, it starts again. Calls
        progress(done, total) after each batch. Returns the number of resources that were indexed. Raises Unavailable
        if another process has opened the store with another schema since."""
        ...

    def indexes(self) -> list[IndexInfo]:
        """Returns the declared indexes of the open schema and all existing indexes, by collection and name."""
        ...

    def drop_unused_indexes(self) -> list[IndexInfo]:
        """Drops the indexes with the state "unused" and returns them."""
        ...


class TransferStore(Protocol):
    """Copies of whole stores, version by version, between any two engines (`fhirstore migrate`).

    If `exists` returns True, these calls (except `restore`), the calls of RecordStore and HistoryStore, `secret`,
    `read` and `close` work without `open`."""

    def exists(self) -> bool:
        """Returns whether the database holds a store of a known format. Changes nothing. Raises StartupError if the
        database holds something else or cannot be reached."""
        ...

    def versions(self, after: list[Any] | None = None) -> Iterator[TransferredVersion]:
        """Yields all versions after the position `after` (`TransferredVersion.at`), oldest first, in the order of
        commits. Holds few of them in memory at once."""
        ...

    def restore(self, versions: Sequence[TransferredVersion], records: Sequence[Record] = ()) -> None:
        """Stores versions with their numbers, dates, methods and unique keys, and records: everything or nothing,
        durably. The versions are in the order of `versions` and follow the newest version in the store. A unique key
        that another resource owns passes to the later version.

        Raises VersionConflict if the preceding version does not exist; VersionOutOfOrder; TooLarge; Unavailable."""
        ...

    def set_secret(self, secret: bytes) -> None:
        """Replaces the secret, so that page tokens of the source store stay valid here."""
        ...


class Store(ResourceStore, SearchStore, HistoryStore, RecordStore, AdministrationStore, TransferStore, Protocol):
    """An engine: all parts."""


def with_snapshot(store: SnapshotStore, read: Callable[[], T]) -> T:
    """Calls `read` inside `snapshot()` and returns its result. Repeats the call if the snapshot is lost, four attempts
    in all. Raises SnapshotLost after the last attempt."""
    for _ in range(_SNAPSHOT_ATTEMPTS - 1):
        try:
            with store.snapshot():
                return read()
        except SnapshotLost:
            continue
    with store.snapshot():
        return read()


# --- what all engines do alike ---


def check_distinct(changes: Sequence[Change]) -> None:
    """Raises ValueError if a resource occurs twice."""
    if len({(change.type, change.id) for change in changes}) < len(changes):
        raise ValueError("a resource occurs twice in one commit")


def check_guard(guard: Guard, ids: Collection[str]) -> None:
    """ids: up to len(guard.ids) + 1 ids that match now. Raises GuardChanged if the guard saw others."""
    if set(ids) != guard.ids:
        raise GuardChanged(guard)


def check_record_guard(guard: RecordGuard, value: bytes | None) -> None:
    """value: the current value of the record, None if it does not exist. Raises GuardChanged if the guard saw another
    one."""
    if value != guard.value:
        raise GuardChanged(guard)


def next_version(change: Change, actual: int | None) -> int:
    """Returns the number of the new version. actual: the newest version of the resource, None if it never existed.
    Raises VersionConflict."""
    if actual != change.replaces:
        raise VersionConflict(change.type, change.id, change.replaces, actual)
    return 1 if actual is None else actual + 1


def history_page(entries: list[Stored], limit: int | None) -> ResultPage:
    """Returns a page of the history of a type or of all. entries: up to limit + 1 of them."""
    if limit is None or len(entries) <= limit:
        return ResultPage(entries, None)
    last = entries[limit - 1]
    return ResultPage(entries[:limit], [last.updated, last.type, last.id, last.version])


def resource_history_page(entries: list[Stored], limit: int | None) -> ResultPage:
    """Returns a page of the history of one resource. entries: up to limit + 1 of them."""
    if limit is None or len(entries) <= limit:
        return ResultPage(entries, None)
    return ResultPage(entries[:limit], [entries[limit - 1].version])


def no_such_version(type: str, id: str, version: int) -> ValueError:
    """The error for a page of a history that starts after a version that does not exist."""
    return ValueError(f"{type}/{id} has no version {version}")
