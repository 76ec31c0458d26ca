"""The errors that engines raise. After each of them, nothing of the commit is stored."""

from __future__ import annotations

from fhirstore.model.stored import Guard, RecordGuard, Stored


class StoreError(Exception):
    """Base class of the errors that engines raise."""


class VersionConflict(StoreError):
    """The current version of the resource is not the version that the change replaces.

    expected: the version that the change replaces. actual: the current version. Both are None if the resource does
    not exist."""

    def __init__(self, type: str, id: str, expected: int | None, actual: int | None):
        super().__init__(f"{type}/{id}: expected version {expected}, found {actual}")
        self.type, self.id, self.expected, self.actual = type, id, expected, actual


class DuplicateKey(StoreError):
    """Another live resource, `owner` ("Type/id"), owns a unique key of the resource (type, id)."""

    def __init__(self, key: str, type: str, id: str, owner: str):
        super().__init__(f"{owner} owns {key}")
        self.key, self.type, self.id, self.owner = key, type, id, owner


class GuardChanged(StoreError):
    """A guard does not match the current state. The caller reads again and retries."""

    def __init__(self, guard: Guard | RecordGuard):
        if isinstance(guard, RecordGuard):
            super().__init__(f"record {guard.key} has changed")
        else:
            super().__init__(f"the matching {guard.type} resources have changed")
        self.guard = guard


class Unavailable(StoreError):
    """The store cannot answer now: a lock timed out, or there is no primary. Retry after some seconds."""


class SnapshotLost(Unavailable):
    """The database dropped the snapshot of a `snapshot()` block. Repeat the whole block, see `with_snapshot`."""


class TimedOut(StoreError):
    """A search exceeded the time limit of the store."""


class TooComplex(StoreError):
    """The search is nested too deeply for the engine."""


class TooLarge(StoreError):
    """The resource and its index entries exceed the size limit of the engine."""


class VersionOutOfOrder(StoreError):
    """A restored version is older than the newest version in the store."""

    def __init__(self, stored: Stored):
        super().__init__(f"version {stored.version} of {stored.ref} is older than the newest version in the store")
