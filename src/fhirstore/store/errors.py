"""What an engine raises. After any of these errors nothing of the commit is stored."""

from __future__ import annotations

from fhirstore.model.stored import Guard, RecordGuard


class StoreError(Exception):
    """Base of what an engine raises. After any of them nothing of the commit is stored."""


class VersionConflict(StoreError):
    """The current version of (type, id) is not the one that the change replaces. actual: None = there is none."""

    def __init__(self, type: str, id: str, expected: int | None, actual: int | None):
        super().__init__(f"{type}/{id}: expected version {expected}, found {actual}")
        self.type, self.id, self.expected, self.actual = type, id, expected, actual


class DuplicateKey(StoreError):
    """A unique key of (type, id) is held by another live resource, `holder` ("Type/id")."""

    def __init__(self, key: str, type: str, id: str, holder: str):
        super().__init__(f"{key} is held by {holder}")
        self.key, self.type, self.id, self.holder = key, type, id, holder


class GuardChanged(StoreError):
    """A guard no longer holds: the interaction must look again."""

    def __init__(self, guard: Guard | RecordGuard):
        if isinstance(guard, RecordGuard):
            super().__init__(f"the record {guard.key} has changed")
        else:
            super().__init__(f"the resources that match on {guard.type} have changed")
        self.guard = guard


class Unavailable(StoreError):
    """The store cannot answer now (locked too long, no primary…); the client may retry after some seconds."""


class StateLost(Unavailable):
    """The state that was being read is gone (an election, a snapshot grown too old); from the start it can be read."""


class TimedOut(StoreError):
    """A search took longer than the store's time limit."""


class TooComplex(StoreError):
    """The search is nested deeper than the engine can express."""


class TooLarge(StoreError):
    """The resource with its index entries is larger than the engine can hold."""
