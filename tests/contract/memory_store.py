"""The smallest engine: plain dicts and a lock. It shows what an engine must do, and tests the contract suite itself.

URLs: memory:///NAME. All stores of one process with one name share a database. `naive` evaluates the conditions.
"""

from __future__ import annotations

import copy
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import naive

from fhirstore.model.conditions import Condition, Ids, Sort
from fhirstore.model.indexing import IndexEntry, Schema
from fhirstore.model.stored import Change, Guard, Record, RecordGuard, Stored
from fhirstore.settings import Settings
from fhirstore.store import protocol, schema_rules
from fhirstore.store.errors import DuplicateKey, TimedOut, Unavailable, VersionOutOfOrder
from fhirstore.store.protocol import Extractor, IndexInfo, ResultPage
from fhirstore.store.transfer import TransferredVersion, change_of

Key = tuple[str, str]  # type, id
Entries = Mapping[str, Sequence[IndexEntry]]
Position = list[Any] | None
_BATCH, _NEVER = 200, float("inf")


@dataclass
class State:
    """All data of a database. A commit replaces it by a changed copy, so a snapshot is a reference to it."""

    secret: bytes
    log: list[Stored] = field(default_factory=list)  # all versions, in the order of commits
    current: dict[Key, Stored] = field(default_factory=dict)  # the newest version of each resource
    index: dict[Key, Entries] = field(default_factory=dict)  # of live resources
    unique: dict[str, Key] = field(default_factory=dict)
    records: dict[tuple[str, str], bytes | None] = field(default_factory=dict)
    stamp: str = ""
    parameters: dict[str, dict[str, schema_rules.RecordedParameter]] = field(default_factory=dict)  # by type and code
    reindexed: dict[str, str] = field(default_factory=dict)  # the last id, by type

    def live(self, type: str, after: str = "") -> list[Stored]:
        return sorted(one for one in self.current.values() if one.type == type and not one.deleted and one.id > after)


_states: dict[str, State] = {}
_lock = threading.RLock()


class MemoryStore:
    def __init__(self, url: str, settings: Settings):
        self._url, self._schema, self._local = url, Schema({}), threading.local()

    @property
    def _state(self) -> State:
        if not self.exists():
            raise Unavailable("the database does not exist")
        return getattr(self._local, "snapshot", None) or _states[self._url]

    def snapshot(self) -> AbstractContextManager[Any]:
        return patch.object(self._local, "snapshot", self._state, create=True)

    def deadline(self, at: float | None) -> AbstractContextManager[Any]:
        outer = getattr(self._local, "deadline", _NEVER)
        return patch.object(self._local, "deadline", min(outer, _NEVER if at is None else at), create=True)

    def _in_time(self) -> bool:
        if time.monotonic() > getattr(self._local, "deadline", _NEVER):
            raise TimedOut("the search took longer than request_timeout_s allows")
        return True

    @contextmanager
    def _writing(self, check_schema: bool) -> Iterator[State]:
        if getattr(self._local, "snapshot", None) is not None:
            raise ValueError("a commit cannot be part of snapshot()")
        with _lock:
            state = State(**{name: copy.copy(value) for name, value in vars(self._state).items()})
            if check_schema and state.stamp != schema_rules.schema_stamp(self._schema):
                raise Unavailable(schema_rules.SCHEMA_CHANGED)
            yield state
            _states[self._url] = state

    def _checked(self, type: str, index: Entries | None) -> Entries:
        given = schema_rules.given_entries(index)
        for code, entries in given.items():
            declared = schema_rules.declared_parameter(self._schema.types, type, code)
            schema_rules.check_entries(type, code, entries, declared.single)
        return given

    def read(self, type: str, id: str, version: int | None = None) -> Stored | None:
        return next((one for one in self.history(type, id).entries if version in (None, one.version)), None)

    def read_many(self, refs: Iterable[str]) -> list[Stored]:
        found = (self._state.current.get((type, id)) for type, _, id in (ref.partition("/") for ref in set(refs)))
        return [one for one in found if one is not None and not one.deleted]

    def commit(
        self, changes: Sequence[Change], guards: Sequence[Guard | RecordGuard] = (), records: Sequence[Record] = ()
    ) -> list[Stored]:
        protocol.check_distinct(changes)
        entries = [self._checked(change.type, change.index) for change in changes]
        with self._writing(bool(changes)) as state:
            for guard in guards:
                if isinstance(guard, RecordGuard):
                    protocol.check_record_guard(guard, state.records.get((guard.kind, guard.key)))
                else:
                    protocol.check_guard(guard, self._world(state, guard.type, guard.where)[1])
            before = [state.current.get((change.type, change.id)) for change in changes]
            least = max([0, *(one.updated for one in state.log[-1:]), *(one.updated + 1000 for one in before if one)])
            updated, found = max(time.time_ns() // 1_000_000 * 1000, least), []
            for change, one, index in zip(changes, before, entries, strict=True):
                version = protocol.next_version(change, one.version if one else None)
                found.append(self._put(state, change, version, updated, index))
            for change, one in zip(changes, found, strict=True):
                for key in () if one.deleted else dict.fromkeys(change.unique):
                    if key in state.unique:
                        raise DuplicateKey(key, one.type, one.id, "/".join(state.unique[key]))
                    state.unique[key] = one.type, one.id
            state.records.update(((one.kind, one.key), one.value) for one in records)
        return found

    def _put(self, state: State, change: Change, version: int, updated: int, index: Entries) -> Stored:
        key, deleted = (change.type, change.id), change.deleted
        meta, body, handle = (b"", b"", None) if deleted else (change.meta, change.body, (key, version))
        one = Stored(*key, version, updated, deleted, change.method, meta, body, handle)
        state.log.append(one)
        state.current[key] = one
        state.index.pop(key, None)
        if not deleted:
            state.index[key] = index
        state.unique = {name: owner for name, owner in state.unique.items() if owner != key}
        return one

    def _world(
        self, state: State, type: str, where: Condition, sort: Sequence[Sort] = ()
    ) -> tuple[naive.World, list[str]]:
        """The naive model of the state, and the ids that it finds, in order."""
        naive.check_parameters(self._schema, type, where)
        for one in sort:
            if one.param not in ("_id", "_lastUpdated"):
                schema_rules.declared_parameter(self._schema.types, type, one.param)
        world = naive.World(dict(state.index), {key: state.current[key].updated for key in state.index})  # type: ignore[arg-type]
        found = dict.fromkeys(k[1] for k in world.index if self._in_time() and k[0] == type and world.holds(k, where))
        return world, world.ordered(type, Ids(found), sort)  # type: ignore[arg-type]

    def find(
        self, type: str, where: Condition, sort: Sequence[Sort] = (), after: Position = None, limit: int | None = None
    ) -> ResultPage:
        sorts = [*sort, Sort("_id")]
        sorts = sorts[: [one.param for one in sorts].index("_id") + 1]
        if after is not None and len(after) != len(sorts):
            raise ValueError("the page token belongs to another sort")
        state = self._state
        world, ids = self._world(state, type, where, sorts)
        rows = [(id, [world.key((type, id), one) for one in sorts]) for id in ids]
        rows = [row for row in rows if after is None or naive.is_after(row[1], after, sorts)]
        page = rows[:limit]
        entries = [state.current[type, id] for id, _ in page]
        return ResultPage(entries, page[-1][1] if page and len(page) < len(rows) else None)

    def count(self, type: str, where: Condition, at_most: int | None = None) -> int:
        return len(self._world(self._state, type, where)[1][:at_most])

    def references(self, sources: Sequence[Stored], param: str) -> list[str]:
        indexes = [self._state.index.get((one.type, one.id), {}) for one in sources]
        return list({target for index in indexes for (target,) in index.get(param, ())})

    def pending_parameters(self) -> frozenset[tuple[str, str]]:
        types = self._state.parameters.items()
        return frozenset(
            (type, code) for type, of in types for code, p in of.items() if p.pending and p.dropped is None
        )

    def history(
        self, type: str | None = None, id: str | None = None, since: int | None = None, until: int | None = None,
        after: Position = None, limit: int | None = None,
    ) -> ResultPage:  # fmt: skip
        current = self._state.current
        found = [
            one if current[one.type, one.id] is one else one._replace(key=None)
            for one in reversed(self._state.log)
            if type in (None, one.type) and id in (None, one.id)
            and (since is None or since <= one.updated) and (until is None or one.updated < until)
        ]  # fmt: skip
        need = None if limit is None else limit + 1
        if type is not None and id is not None:
            found = [one for one in found if after is None or one.version < after[0]]
            return protocol.resource_history_page(found[:need], limit)
        if after is not None:
            positions = [[one.updated, one.type, one.id, one.version] for one in found]
            if after not in positions:
                raise protocol.no_such_version(*after[1:])
            found = found[positions.index(after) + 1 :]
        return protocol.history_page(found[:need], limit)

    def history_count(
        self, type: str | None = None, id: str | None = None, since: int | None = None, until: int | None = None
    ) -> int:
        return len(self.history(type, id, since, until).entries)

    def get_record(self, kind: str, key: str) -> Record | None:
        value = self._state.records.get((kind, key))
        return None if value is None else Record(kind, key, value)

    def records(self, kind: str, after: str = "", limit: int = 1000) -> list[Record]:
        found = sorted(
            (key, v) for (k, key), v in self._state.records.items() if k == kind and key > after and v is not None
        )
        return [Record(kind, key, value) for key, value in found[:limit]]

    def record_kinds(self) -> list[str]:
        return sorted({kind for (kind, _), value in self._state.records.items() if value is not None})

    def open(self, schema: Schema) -> None:
        schema_rules.check_compounds(schema)
        _states.setdefault(self._url, State(secrets.token_bytes(32)))
        self._schema = schema
        with self._writing(False) as state:
            state.stamp = schema_rules.schema_stamp(schema)
            for type in state.parameters.keys() | schema.types.keys():
                before, log = state.parameters.get(type, {}), [one.type for one in state.log]
                state.parameters[type] = schema_rules.record_parameters(
                    schema.types.get(type, {}), before, len(log), lambda type=type: bool(state.live(type)),
                    lambda position, type=type, log=log: type in log[position:],
                )  # fmt: skip
                if any(one.pending and before.get(code) != one for code, one in state.parameters[type].items()):
                    state.reindexed.pop(type, None)

    def close(self) -> None: ...

    def probe(self) -> int:
        return max((one.updated for one in self._state.log), default=0)

    def secret(self) -> bytes:
        return self._state.secret

    def set_secret(self, secret: bytes) -> None:
        with self._writing(False) as state:
            state.secret = secret

    def unique_key_owner(self, key: str) -> str | None:
        return "/".join(self._state.unique.get(key, ())) or None

    def scan(self, type: str | None = None) -> Iterator[Stored]:
        for one in sorted({type for type, _ in self._state.current}) if type is None else [type]:
            yield from self._state.live(one)

    def reindex(self, extract: Extractor, progress: Callable[[int, int], None] | None = None) -> int:
        done, types = 0, sorted({type for type, _ in self.pending_parameters()})
        total = sum(len(self._state.live(type, self._state.reindexed.get(type, ""))) for type in types)
        for type in types:
            while batch := self._state.live(type, self._state.reindexed.get(type, ""))[:_BATCH]:
                computed = [self._checked(type, extract(one)) for one in batch]
                with self._writing(True) as state:
                    for one, index in zip(batch, computed, strict=True):
                        if state.current[type, one.id] is one:  # a later version has entries of the new schema already
                            state.index[type, one.id] = index
                    state.reindexed[type] = batch[-1].id
                done += len(batch)
                if progress is not None:
                    progress(done, max(done, total))
            with self._writing(True) as state:
                state.reindexed.pop(type, None)
                state.parameters[type] = {c: p._replace(pending=False) for c, p in state.parameters[type].items()}
        return done

    def indexes(self) -> list[IndexInfo]:
        return []

    drop_unused_indexes = indexes

    def exists(self) -> bool:
        return self._url in _states

    def versions(self, after: Position = None) -> Iterator[TransferredVersion]:
        state, start = self._state, after[0] + 1 if after else 0
        for n, one in enumerate(state.log[start:], start):
            live = state.current[one.type, one.id] is one and not one.deleted
            unique = [key for key, owner in state.unique.items() if owner == (one.type, one.id)] if live else ()
            yield TransferredVersion(one if live else one._replace(key=None), [n], tuple(unique))

    def restore(self, versions: Sequence[TransferredVersion], records: Sequence[Record] = ()) -> None:
        entries = [self._checked(version.stored.type, version.index) for version in versions]
        with self._writing(True) as state:
            for version, index in zip(versions, entries, strict=True):
                one, change = version.stored, change_of(version)
                current = state.current.get((one.type, one.id))
                protocol.next_version(change, current.version if current else None)
                if state.log and one.updated < state.log[-1].updated:
                    raise VersionOutOfOrder(one)
                self._put(state, change, one.version, one.updated, index)
                state.unique.update(dict.fromkeys(version.unique, (one.type, one.id)))
            state.records.update(((one.kind, one.key), one.value) for one in records)
