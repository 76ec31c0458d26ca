"""The work of `fhirstore migrate`: copies a store version by version, goes on where it stopped, compares both sides.

How far a migration has come lies in the target, as a record that is committed with each batch. So there is no moment
at which a kill could make the two disagree.
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

MOST_VERSIONS, MOST_BYTES = 500, 4 * 1024 * 1024  # of one batch
_RECORDS = "records "

Extract = Callable[[Stored], IndexEntries]
Progress = Callable[[int], None]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class State:
    """How far a migration has come. source: which store it copies. at: where its versions go on (None = at the
    first). versions: how many the target holds. newest: the last one, as "Type/id/version/updated"."""

    source: str
    at: list[Any] | None = None
    versions: int = 0
    newest: str = ""

    def record(self) -> Record:
        members = {name: getattr(self, name) for name in ("source", "at", "versions", "newest")}
        return Record(UNFINISHED, UNFINISHED_KEY, json.dumps(members).encode())


@dataclass(frozen=True, slots=True)
class Mark:
    """What the versions of a store end with: it differs once something was written."""

    versions: int
    newest: str

    @classmethod
    def of(cls, store: Store) -> Mark:
        return cls(store.history_count(), next(map(_named, store.history(limit=1).entries), ""))


def _named(stored: Stored) -> str:
    return f"{stored.ref}/{stored.version}/{stored.updated}"


def identity(scheme: str, store: Store) -> str:
    """The same for the same store; another one for its copy on another engine, which counts its versions otherwise.
    scheme: that of its URL."""
    return f"{scheme.removesuffix('+srv')} {hashlib.sha256(store.secret()).hexdigest()}"


def begun(target: Store, source: str) -> State:
    """How far the target has come; a fresh State for an empty one. Changes nothing. Raises StartupError unless the
    target is empty or holds an unfinished copy of that source, and nothing else."""
    if not target.exists():
        return State(source)
    kept = target.get_record(UNFINISHED, UNFINISHED_KEY)
    mark = Mark.of(target)
    if kept is None:
        if mark.versions or target.record_kinds():
            raise StartupError(
                f"migrate: the target holds {mark.versions} versions of resources already; name an empty or a new store"
            )
        return State(source)
    state = State(**json.loads(kept.value or b"{}"))
    if state.source != source:
        raise StartupError("migrate: the target holds an unfinished copy of another store; name an empty or a new one")
    if mark != Mark(state.versions, state.newest):
        raise StartupError(
            "migrate: something else has written to the target since the migration was interrupted; "
            "remove it and start again with an empty store"
        )
    return state


def check_continues(source: Store, state: State) -> None:
    """Raises StartupError unless the source still holds the version that was copied last."""
    if state.newest:
        type, id, version, _ = state.newest.split("/")
        last = source.read(type, id, int(version))
        if last is None or _named(last) != state.newest:
            raise StartupError(
                f"migrate: the source no longer holds version {version} of {type}/{id}, which was copied last; "
                "remove the target and start again with an empty store"
            )


def copy(source: Store, target: Store, state: State, extract: Extract, done: Progress) -> State:
    """Copies what the state does not have yet, versions and records; the state afterwards. done(versions so far)."""
    if state.at is None:
        target.restore([], [state.record()])
        target.set_secret(source.secret())
    for batch in _batches(source.versions(state.at), lambda version: len(version.stored.body)):
        last = batch[-1]
        state = State(state.source, last.at, state.versions + len(batch), _named(last.stored))
        target.restore([_indexed(version, extract) for version in batch], [state.record()])
        done(state.versions)
    for records in _batches(_differences(source, target), lambda record: len(record.value or b"")):
        target.restore([], records)
    return state


def finish(target: Store) -> None:
    """The target is an ordinary store from now on."""
    target.restore([], [Record(UNFINISHED, UNFINISHED_KEY, None)])


def _indexed(version: TransferredVersion, extract: Extract) -> TransferredVersion:
    """Adds the index entries of current versions; searches see no others."""
    stored = version.stored
    return TransferredVersion(stored, version.at, version.unique, None if stored.key is None else extract(stored))


def _batches(items: Iterable[Item], size: Callable[[Item], int]) -> Iterator[list[Item]]:
    """The items in lists that are not too long. size: the bytes of one."""
    batch: list[Item] = []
    total = 0
    for item in items:
        batch.append(item)
        total += size(item)
        if len(batch) >= MOST_VERSIONS or total >= MOST_BYTES:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def _records(store: Store) -> Iterator[Record]:
    """All records but our own, by kind and key."""
    for kind in store.record_kinds():
        after = ""
        while kind != UNFINISHED and (some := store.records(kind, after, MOST_VERSIONS)):
            yield from some
            after = some[-1].key


def _differences(source: Store, target: Store) -> Iterator[Record]:
    """What must be written so that the target has the records of the source."""
    wanted = (((one.kind, one.key), 0, one) for one in _records(source))
    there = (((one.kind, one.key), 1, one) for one in _records(target))
    for _, same in groupby(heapq.merge(wanted, there, key=lambda one: one[:2]), lambda one: one[0]):
        [(_, which, record), *others] = same
        if which == 1:
            yield Record(record.kind, record.key, None)
        elif not others or others[0][2] != record:
            yield record


# --- whether both sides are the same ---


@dataclass
class Sums:
    """Of each type, and of each kind of records: how many there are, and a checksum of all they say, in order."""

    counts: Counter[str] = field(default_factory=Counter)
    live: int = 0
    _sums: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, *members: bytes | str | int | tuple[str, ...]) -> None:
        found = self._sums.get(name)
        if found is None:
            found = self._sums[name] = hashlib.sha256()
        for member in members:
            data = member if isinstance(member, bytes) else repr(member).encode("utf-8", "surrogatepass")
            found.update(b"%d " % len(data))
            found.update(data)
        self.counts[name] += 1

    @property
    def types(self) -> list[str]:
        return [name for name in self.counts if not name.startswith(_RECORDS)]

    def by_name(self) -> Mapping[str, str]:
        return {name: found.hexdigest() for name, found in self._sums.items()}


def sums(store: Store, done: Progress) -> Sums:
    """Reads all of a store. done(versions so far)."""
    found = Sums()
    for n, version in enumerate(store.versions(), 1):
        one = version.stored
        found.live += one.key is not None
        found.add(
            one.type, one.id, one.version, one.updated, one.deleted, one.method, one.meta, one.body,
            one.key is not None, tuple(sorted(version.unique)),
        )  # fmt: skip
        if n % MOST_VERSIONS == 0:
            done(n)
    for record in _records(store):
        found.add(_RECORDS + record.kind, record.key, record.value or b"")
    return found


def mismatches(source: Sums, target: Sums) -> list[str]:
    """A line for each type and kind of records of which the two differ."""
    one, other = source.by_name(), target.by_name()
    return [
        f"{name}: {source.counts[name]} in the source with checksum {one.get(name, 'none')[:16]}, "
        f"{target.counts[name]} in the target with checksum {other.get(name, 'none')[:16]}"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]
