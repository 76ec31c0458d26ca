"""The protocol of a store. Engines know no HTTP and no FHIR rules; all of them pass the contract tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from fhirstore.model.conditions import Condition, Sort
from fhirstore.model.indexing import IndexEntry, Schema
from fhirstore.model.stored import Change, Guard, Record, RecordGuard, Stored
from fhirstore.store.errors import StateLost

T = TypeVar("T")
_ATTEMPTS = 4
Extractor = Callable[[Stored], Mapping[str, Sequence[IndexEntry]]]


class ResultPage(NamedTuple):
    """entries in order; next: where the following page starts (JSON-able, opaque), None = this is the last."""

    entries: list[Stored]
    next: list[Any] | None


class IndexInfo(NamedTuple):
    """A database index. state: present · missing = declared, and not there yet (or being made) · unused = made by
    fhirstore, and no longer declared · foreign = made by somebody else. size: bytes; uses: how often it has served
    since the database server started; both None where the engine cannot tell."""

    collection: str
    name: str
    fields: tuple[str, ...]
    state: Literal["present", "missing", "unused", "foreign"]
    size: int | None = None
    uses: int | None = None


class Store(Protocol):
    """An engine. Thread-safe; created before fork, connects on first use in each process and thread."""

    def open(self, schema: Schema) -> None:
        """Creates or checks the database and records the schema. Parameters that are new, or whose digest changed,
        while resources of their type exist, become pending until `reindex`. Raises StartupError."""

    def snapshot(self) -> AbstractContextManager[None]:
        """All reads inside see one state of the store, where the engine can do that. Reentrant, per thread."""
        ...

    def read(self, type: str, id: str, version: int | None = None) -> Stored | None:
        """The current version (a deleted one too), or the version asked for; None = never existed."""
        ...

    def commit(
        self, changes: Sequence[Change], guards: Sequence[Guard | RecordGuard] = (), records: Sequence[Record] = ()
    ) -> list[Stored]:
        """Stores all or nothing, durably; returns the new versions in order. A (type, id) occurs once in changes.
        All versions of one commit share `updated`. It never decreases from commit to commit of one process, and is
        later than that of each version replaced; between servers their clocks may differ. A commit of records alone
        needs no `open` (its guards are then on records, too).
        Raises VersionConflict, DuplicateKey, GuardChanged, Unavailable."""
        ...

    def find(
        self,
        type: str,
        where: Condition,
        sort: Sequence[Sort] = (),
        after: list[Any] | None = None,
        limit: int | None = None,
    ) -> ResultPage:
        """Live resources of the type that satisfy `where`, in order; keyset paging: a resource that matched
        throughout with an unchanged sort key is seen exactly once, whatever is written meanwhile."""
        ...

    def count(self, type: str, where: Condition, at_most: int | None = None) -> int:
        """How many match; stops counting at `at_most`."""
        ...

    def read_many(self, refs: Iterable[str]) -> list[Stored]:
        """The live resources among these "Type/id", each once, in no particular order."""
        ...

    def references(self, sources: Sequence[Stored], param: str) -> list[str]:
        """The distinct targets of reference parameter `param` of these current versions (all of one type)."""
        ...

    def history(
        self,
        type: str | None = None,
        id: str | None = None,
        since: int | None = None,
        until: int | None = None,
        after: list[Any] | None = None,
        limit: int | None = None,
    ) -> ResultPage:
        """Versions, newest first, with since <= updated < until. Who asks again with `since` = the greatest `updated`
        that he was given, for a type or for all, sees every version that was not there before."""
        ...

    def history_count(
        self, type: str | None = None, id: str | None = None, since: int | None = None, until: int | None = None
    ) -> int: ...

    def unique_key_owner(self, key: str) -> str | None:
        """The live resource ("Type/id") that holds a unique key; None = it is free."""
        ...

    def get_record(self, kind: str, key: str) -> Record | None:
        """The record with this kind and key, None if it does not exist. Like `records`, it needs no `open`."""
        ...

    def records(self, kind: str, after: str = "", limit: int = 1000) -> list[Record]:
        """Records of a kind with key > after, by key."""
        ...

    def pending(self) -> frozenset[tuple[str, str]]:
        """(type, parameter) pairs that must be reindexed before a search on them is complete."""
        ...

    def reindex(self, extract: Extractor, progress: Callable[[int, int], None] | None = None) -> int:
        """Recomputes all entries of the types with pending parameters, in batches, resumable, while serving.
        progress(done, total). Returns the number of resources done."""
        ...

    def scan(self, type: str | None = None) -> Iterator[Stored]:
        """All live resources, type by type, in no particular order within a type, in batches (for export)."""
        ...

    def indexes(self) -> list[IndexInfo]:
        """The indexes of the schema that was opened, and all others that there are, by collection and name."""
        ...

    def drop_unused(self) -> list[IndexInfo]:
        """Removes the indexes whose state is unused; returns them."""
        ...

    def secret(self) -> bytes:
        """32 random bytes made with the store: the default key of paging tokens."""
        ...

    def health(self) -> None:
        """Returns if the store can be read and written to; raises Unavailable otherwise."""

    def close(self) -> None: ...


def with_snapshot(store: Store, read: Callable[[], T]) -> T:
    """What `read` gives, all its reads of one state; begun anew, a few times, where the state is lost."""
    for _ in range(_ATTEMPTS - 1):
        try:
            with store.snapshot():
                return read()
        except StateLost:
            continue
    with store.snapshot():
        return read()
