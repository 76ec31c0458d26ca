"""Stored versions of resources, and what a commit consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from fhirstore.model.conditions import Condition
from fhirstore.model.indexing import IndexEntries


class Memo(dict[Any, Any]):
    """What has been worked out from one version and is right as long as it is kept; None = the engine keeps it not.

    Keys are few, whatever is asked: nothing that a request can choose. Two versions do not differ by it."""

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, Memo)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None


class Stored(NamedTuple):
    """One version of one resource.

    meta and body are JSON *members* without the enclosing braces (b'"profile":["…"]', b'"status":"free",…'):
    meta without versionId and lastUpdated, body without resourceType, id and meta, in the sender's property
    order. Both may be empty. A deleted version has neither. `formats.compose` makes the resource from them.
    """

    type: str
    id: str
    version: int
    updated: int  # microseconds since 1970 UTC, a multiple of 1000
    deleted: bool
    method: str  # POST | PUT | PATCH | DELETE: how this version came about
    meta: bytes
    body: bytes
    key: Any = None  # the engine's own handle of the current version; opaque
    memo: Memo | None = None

    @property
    def ref(self) -> str:
        return f"{self.type}/{self.id}"


@dataclass(frozen=True, slots=True)
class Change:
    """A new version of one resource.

    replaces: the current version this change was computed from (deleted versions count), None = there is none.
    index: entries by parameter code; empty for a deletion. unique: keys that no other live resource may hold.
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
    """What an interaction saw: inside the commit, before its changes, `where` must match exactly these ids.

    (If more than `len(ids)` match, or others, GuardChanged.)"""

    type: str
    where: Condition
    ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Record:
    """A plugin's private row; value None deletes it."""

    kind: str
    key: str
    value: bytes | None


@dataclass(frozen=True, slots=True)
class RecordGuard:
    """What was seen of a record: inside the commit, before its changes, it must have this value, None = not exist.

    The commit must write the record itself: so two with the same guard meet, on every engine."""

    kind: str
    key: str
    value: bytes | None
