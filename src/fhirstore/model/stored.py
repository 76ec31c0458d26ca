"""Stored versions of resources, and the parts of a commit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from fhirstore.model.conditions import Condition
from fhirstore.model.indexing import IndexEntries

MOST_VIEWS = 4
"""The greatest number of views that a `VersionCache` holds, per search mode."""


@dataclass(eq=False, slots=True)
class VersionCache:
    """Results that are computed from one version and stay valid as long as the engine caches the version.

    matches, includes: the rendered searchset entry by the name of the view, for the modes match and include; b"" if
    the view hides the resource. `remember` bounds them to MOST_VIEWS each. View names are declared by plugins and
    contain nothing of a request, and a view that depends on the request is not cached.
    targets: the reference targets by parameter number; at most one item per declared parameter.

    Two versions are equal whatever their caches hold."""

    matches: dict[str, bytes] = field(default_factory=dict)
    includes: dict[str, bytes] = field(default_factory=dict)
    targets: dict[int, tuple[str, ...]] = field(default_factory=dict)

    @staticmethod
    def remember(rendered: dict[str, bytes], view: str, entry: bytes) -> None:
        """Adds an entry to `matches` or `includes`. Drops the entries of other views if there are too many."""
        if len(rendered) >= MOST_VIEWS:
            rendered.clear()
        rendered[view] = entry

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, VersionCache)


class Stored(NamedTuple):
    """One version of one resource.

    meta and body are JSON *members* without the enclosing braces (b'"profile":["…"]', b'"status":"free",…'): meta
    without versionId and lastUpdated, body without resourceType, id and meta, in the sender's property order. Both may
    be empty, and are empty in a deletion. `formats.json` builds the resource from them.

    key: a value of the engine for the current version of a live resource, None for all other versions.
    cache: None if the engine does not cache the version.
    """

    type: str
    id: str
    version: int
    updated: int  # microseconds since 1970 UTC, a multiple of 1000
    deleted: bool
    method: str  # POST | PUT | PATCH | DELETE: the interaction that created this version
    meta: bytes
    body: bytes
    key: Any = None
    cache: VersionCache | None = None

    @property
    def ref(self) -> str:
        return f"{self.type}/{self.id}"


class Change(msgspec.Struct, frozen=True):
    """A new version of one resource.

    replaces: the current version from which this change was computed, possibly a deletion; None if the resource never
    existed. index: entries by parameter code, empty for a deletion. unique: keys that no other live resource may own.
    """

    type: str
    id: str
    replaces: int | None
    method: str
    meta: bytes = b""
    body: bytes = b""
    index: IndexEntries | None = None
    unique: tuple[str, ...] = ()
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Guard:
    """A search that an interaction relied on. Inside the commit, before its changes, exactly these ids must match
    `where`. Otherwise the commit raises GuardChanged."""

    type: str
    where: Condition
    ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Record:
    """A key-value record of a plugin or of the server. In a commit, the value None deletes the record."""

    kind: str
    key: str
    value: bytes | None


@dataclass(frozen=True, slots=True)
class RecordGuard:
    """A record that a commit relies on. Inside the commit, before its changes, the record must have this value; None
    means that it does not exist. Otherwise the commit raises GuardChanged.

    The commit must also write the record, so that two commits with the same guard conflict on every engine."""

    kind: str
    key: str
    value: bytes | None
