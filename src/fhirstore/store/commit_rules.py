"""Checks of commits and pages of histories that all engines share."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fhirstore.model.stored import Change, Guard, RecordGuard, Stored
from fhirstore.store.errors import GuardChanged, VersionConflict
from fhirstore.store.protocol import ResultPage


def check_distinct(changes: Sequence[Change]) -> None:
    """Raises ValueError if a resource occurs twice."""
    if len({(change.type, change.id) for change in changes}) < len(changes):
        raise ValueError("a resource occurs twice in one commit")


def check_guard(guard: Guard, ids: Collection[str]) -> None:
    """ids: up to len(guard.ids) + 1 ids that match now. Raises GuardChanged if the guard saw others."""
    if set(ids) != guard.ids:
        raise GuardChanged(guard)


def check_record_guard(guard: RecordGuard, value: bytes | None) -> None:
    """value: the current value of the record, None if it does not exist. Raises GuardChanged if the guard saw another
    one."""
    if value != guard.value:
        raise GuardChanged(guard)


def next_version(change: Change, actual: int | None) -> int:
    """Returns the number of the new version. actual: the newest version of the resource, None if it never existed.
    Raises VersionConflict."""
    if actual != change.replaces:
        raise VersionConflict(change.type, change.id, change.replaces, actual)
    return 1 if actual is None else actual + 1


def history_page(entries: list[Stored], limit: int | None) -> ResultPage:
    """Returns a page of the history of a type or of all. entries: up to limit + 1 of them."""
    if limit is None or len(entries) <= limit:
        return ResultPage(entries, None)
    last = entries[limit - 1]
    return ResultPage(entries[:limit], [last.updated, last.type, last.id, last.version])


def resource_history_page(entries: list[Stored], limit: int | None) -> ResultPage:
    """Returns a page of the history of one resource. entries: up to limit + 1 of them."""
    if limit is None or len(entries) <= limit:
        return ResultPage(entries, None)
    return ResultPage(entries[:limit], [entries[limit - 1].version])


def no_such_version(type: str, id: str, version: int) -> ValueError:
    """The error for a page of a history that starts after a version that does not exist."""
    return ValueError(f"{type}/{id} has no version {version}")
