"""The types that `fhirstore migrate` copies from one store to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fhirstore.model.indexing import IndexEntries
from fhirstore.model.stored import Change, Stored

UNFINISHED, UNFINISHED_KEY = "fhirstore.migration", "state"
"""Kind and key of the record that marks an unfinished migration. The server refuses to serve such a store."""


@dataclass(frozen=True, slots=True)
class TransferredVersion:
    """One version in a copy from one store to another.

    stored: the version; its key is None unless it is the current version of a live resource. at: the position after
    which `versions` continues (JSON-compatible, opaque). unique: the unique keys of a current version. index: its
    index entries. `versions` leaves them out; `restore` needs them for live resources."""

    stored: Stored
    at: list[Any]
    unique: tuple[str, ...] = ()
    index: IndexEntries | None = None


def change_of(version: TransferredVersion) -> Change:
    """Returns the change that creates this version."""
    stored = version.stored
    replaces = stored.version - 1 if stored.version > 1 else None
    return Change(
        stored.type, stored.id, replaces, stored.method, stored.meta, stored.body, version.index, version.unique,
        stored.deleted,
    )  # fmt: skip
