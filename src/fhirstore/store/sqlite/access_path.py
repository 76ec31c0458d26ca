"""How the rows of a condition are enumerated. `plan` chooses access paths and `compile` turns them into SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fhirstore.model.conditions import Condition
from fhirstore.store.sqlite.layout import NumberedCompound, SqliteLayout


@dataclass(frozen=True, slots=True)
class AccessPath:
    """Enumerates the rows of `driver`, or the rows of a compound index bounded by `members` (for its first columns, in
    order), and checks `rest` for each.

    weak: the first member of the compound index has many rows itself."""

    driver: Condition | None
    rest: tuple[Condition, ...]
    compound: NumberedCompound | None = None
    members: tuple[Condition, ...] = ()
    weak: bool = False


class AccessPaths(Protocol):
    """The choices of one search."""

    @property
    def layout(self) -> SqliteLayout: ...

    def access_path(self, type: str, where: Condition) -> AccessPath | None:
        """How to enumerate the resources of the type that satisfy the condition. None: check all of them."""
        ...

    def listed(self, where: Condition) -> list[int] | None:
        """The row ids that satisfy the condition if the planner has read them already, in the same transaction."""
        ...
