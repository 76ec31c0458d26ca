"""The steps of `fhirstore migrate`: copies a store version by version, resumes, and compares both stores.

The state of a migration is a record in the target, committed with each batch. It is therefore always consistent with
the copied versions, even after a kill.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeVar

from fhirstore.errors import StartupError
from fhirstore.model.indexing import IndexEntries
from fhirstore.model.stored import Record, Stored
from fhirstore.store.protocol import Store
from fhirstore.store.transfer import UNFINISHED, UNFINISHED_KEY, TransferredVersion

MAX_BATCH_VERSIONS, MAX_BATCH_BYTES = 500, 4 * 1024 * 1024
_RECORDS_PREFIX = "records "

Extract = Callable[[Stored], IndexEntries]
OnProgress = Callable[[int], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MigrationState:
    """The progress of a migration.

    source: identity of the copied store. position: where its versions continue; None starts at the first one.
    versions: number of versions in the target. newest: the last of them, "Type/id/version/updated".
    """

    source: str
    position: list[Any] | None = None
    versions: int = 0
    newest: str = ""

    def record(self) -> Record:
        # "at" is the key of the position in existing stores
        state = {"source": self.source, "at": self.position, "versions": self.versions, "newest": self.newest}
        return Record(UNFINISHED, UNFINISHED_KEY, json.dumps(state).encode())

    @classmethod
    def from_record(cls, record: Record) -> MigrationState:
        state = json.loads(record.value or b"{}")
        return cls(state["source"], state["at"], state["versions"], state["newest"])


@dataclass(frozen=True, slots=True)
class StoreExtent:
    """The number of versions in a store and the newest one. Every write changes it."""

    versions: int
    newest: str

    @classmethod
    def of(cls, store: Store) -> StoreExtent:
        return cls(store.history_count(), next(map(_label, store.history(limit=1).entries), ""))


def _label(stored: Stored) -> str:
    return f"{stored.ref}/{stored.version}/{stored.updated}"


def identity(scheme: str, store: Store) -> str:
    """Identifies a store. A copy on another engine differs, because the engines number versions differently.

    scheme: the scheme of the store URL.
    """
    return f"{scheme.removesuffix('+srv')} {hashlib.sha256(store.secret()).hexdigest()}"


def read_state(target: Store, source: str) -> MigrationState:
    """The state in the target, or a new one if the target is empty. Changes nothing.

    Raises StartupError unless the target is empty or contains an unfinished copy of the source and nothing else.
    """
    if not target.exists():
        return MigrationState(source)
    record = target.get_record(UNFINISHED, UNFINISHED_KEY)
    extent = StoreExtent.of(target)
    if record is None:
        if extent.versions or target.record_kinds():
            raise StartupError(
                f"migrate: the target already contains {extent.versions} versions. Use an empty or a new store."
            )
        return MigrationState(source)
    state = MigrationState.from_record(record)
    if state.source != source:
        raise StartupError(
            "migrate: the target contains an unfinished copy of another store. Use an empty or a new store."
        )
    if extent != StoreExtent(state.versions, state.newest):
        raise StartupError(
            "migrate: the target changed after the migration was interrupted. Remove it and start over with an empty "
            "store."
        )
    return state


def check_source(source: Store, state: MigrationState) -> None:
    """Raises StartupError if the source lacks the version that was copied last."""
    if state.newest:
        type, id, version, _ = state.newest.split("/")
        last = source.read(type, id, int(version))
        if last is None or _label(last) != state.newest:
            raise StartupError(
                f"migrate: the source no longer contains version {version} of {type}/{id}, which was copied last. "
                "Remove the target and start over with an empty store."
            )


def copy(
    source: Store, target: Store, state: MigrationState, extract: Extract, on_progress: OnProgress
) -> MigrationState:
    """Copies the remaining versions and the changed records. Returns the new state.

    on_progress: called with the number of versions so far.
    """
    if state.position is None:
        target.restore([], [state.record()])
        target.set_secret(source.secret())
    for batch in _batches(source.versions(state.position), lambda version: len(version.stored.body)):
        last = batch[-1]
        state = MigrationState(state.source, last.at, state.versions + len(batch), _label(last.stored))
        target.restore([_indexed(version, extract) for version in batch], [state.record()])
        on_progress(state.versions)
    for records in _batches(_differences(source, target), lambda record: len(record.value or b"")):
        target.restore([], records)
    return state


def finish(target: Store) -> None:
    """Turns the target into an ordinary store."""
    target.restore([], [Record(UNFINISHED, UNFINISHED_KEY, None)])


def _indexed(version: TransferredVersion, extract: Extract) -> TransferredVersion:
    """The version with new index entries. Replaced versions have none, because searches ignore them."""
    stored = version.stored
    return TransferredVersion(stored, version.at, version.unique, None if stored.key is None else extract(stored))


def _batches(items: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Groups the items into batches of limited length. size: returns the bytes of an item."""
    batch: list[T] = []
    total = 0
    for item in items:
        batch.append(item)
        total += size(item)
        if len(batch) >= MAX_BATCH_VERSIONS or total >= MAX_BATCH_BYTES:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def _records(store: Store) -> Iterator[Record]:
    """All records except the migration state, by kind and key."""
    for kind in store.record_kinds():
        after = ""
        while kind != UNFINISHED and (page := store.records(kind, after, MAX_BATCH_VERSIONS)):
            yield from page
            after = page[-1].key


def _differences(source: Store, target: Store) -> Iterator[Record]:
    """The records to write so that the target has the records of the source."""
    expected = (((record.kind, record.key), 0, record) for record in _records(source))
    actual = (((record.kind, record.key), 1, record) for record in _records(target))
    merged = heapq.merge(expected, actual, key=lambda entry: entry[:2])
    for _, same_key in groupby(merged, lambda entry: entry[0]):
        [(_, side, record), *others] = same_key
        if side == 1:  # in the target only
            yield Record(record.kind, record.key, None)
        elif not others or others[0][2] != record:
            yield record


# --- comparing both stores --------------------------------------------------------------------------


@dataclass
class Checksums:
    """For each type and each kind of records: the number of items and a checksum of their contents, in order.

    current: number of resources that are not deleted.
    """

    counts: Counter[str] = field(default_factory=Counter)
    current: int = 0
    _hashes: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, *members: bytes | str | int | tuple[str, ...]) -> None:
        checksum = self._hashes.get(name)
        if checksum is None:
            checksum = self._hashes[name] = hashlib.sha256()
        for member in members:
            data = member if isinstance(member, bytes) else repr(member).encode("utf-8", "surrogatepass")
            checksum.update(b"%d " % len(data))
            checksum.update(data)
        self.counts[name] += 1

    @property
    def types(self) -> list[str]:
        return [name for name in self.counts if not name.startswith(_RECORDS_PREFIX)]

    def by_name(self) -> Mapping[str, str]:
        return {name: checksum.hexdigest() for name, checksum in self._hashes.items()}


def checksums(store: Store, on_progress: OnProgress) -> Checksums:
    """Reads the whole store. on_progress: called with the number of versions so far."""
    result = Checksums()
    for n, version in enumerate(store.versions(), 1):
        stored = version.stored
        result.current += stored.key is not None
        result.add(
            stored.type, stored.id, stored.version, stored.updated, stored.deleted, stored.method, stored.meta,
            stored.body, stored.key is not None, tuple(sorted(version.unique)),
        )  # fmt: skip
        if n % MAX_BATCH_VERSIONS == 0:
            on_progress(n)
    for record in _records(store):
        result.add(_RECORDS_PREFIX + record.kind, record.key, record.value or b"")
    return result


def mismatches(source: Checksums, target: Checksums) -> list[str]:
    """One line for each type and kind of records that differs."""
    source_sums, target_sums = source.by_name(), target.by_name()
    return [
        f"{name}: {source.counts[name]} in the source with checksum {source_sums.get(name, 'none')[:16]}, "
        f"{target.counts[name]} in the target with checksum {target_sums.get(name, 'none')[:16]}"
        for name in sorted(source_sums.keys() | target_sums.keys())
        if source_sums.get(name) != target_sums.get(name)
    ]
