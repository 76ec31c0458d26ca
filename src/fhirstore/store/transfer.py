"""What a store can do beside serving: give all it holds to another one, and take the place of another one.

`fhirstore migrate` copies a store with these calls, version by version, whatever the two engines are. All engines
answer the same contract tests (tests/contract/test_transfer.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fhirstore.model.indexing import IndexEntries
from fhirstore.model.stored import Change, Record, Stored
from fhirstore.store.errors import StoreError
from fhirstore.store.protocol import Store

UNFINISHED, UNFINISHED_KEY = "fhirstore.migration", "state"
"""Kind and key of the record that a store holds while a migration into it is not finished; such a store is not
served."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version as one store gives it to another.

    stored: its key is None unless it is the current version of a live resource. at: where `versions` goes on behind
    it (JSON-able, opaque). unique: the keys it holds. index: its entries, which no store gives and the taker needs
    for what is live."""

    stored: Stored
    at: list[Any]
    unique: tuple[str, ...] = ()
    index: IndexEntries | None = None


def replacing(version: Version) -> Change:
    """The change that made this version."""
    stored = version.stored
    replaces = stored.version - 1 if stored.version > 1 else None
    return Change(
        stored.type, stored.id, replaces, stored.method, stored.meta, stored.body, version.index, version.unique,
        stored.deleted,
    )  # fmt: skip


class TooOld(StoreError):
    """A version is older than what the store that it is restored into holds already."""

    def __init__(self, stored: Stored):
        super().__init__(f"version {stored.version} of {stored.ref} is older than what the store holds")


class Transferable(Store, Protocol):
    """A store that can be copied, and that can become a copy."""

    def exists(self) -> bool:
        """Whether there is a store of a format that this version knows; changes nothing. What follows below (but for
        `restore`), `secret`, `records`, `history`, `read` and `close` need no `open` then.
        Raises StartupError for what is something else, or cannot be reached."""
        ...

    def versions(self, after: list[Any] | None = None) -> Iterator[Version]:
        """Every version there is behind `after`, the oldest first, in the order of commits. Many are not held in
        memory at once."""
        ...

    def record_kinds(self) -> list[str]:
        """The kinds of which there are records, in order."""
        ...

    def restore(self, versions: Sequence[Version], records: Sequence[Record] = ()) -> None:
        """Stores versions with the numbers, dates, methods and keys that they have, and records; all or nothing,
        durably. They come as `versions` gives them: behind all that was committed before, and each behind the one
        that it replaces. A unique key that another resource holds goes over to the one that comes later.

        Raises VersionConflict where the version before is not there, TooOld, TooLarge, Unavailable."""
        ...

    def set_secret(self, secret: bytes) -> None:
        """Makes these 32 bytes the store's secret, so that page tokens of the store they come from are good here."""
        ...
