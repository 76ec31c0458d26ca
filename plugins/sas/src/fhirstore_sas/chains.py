"""The chain Slot → Schedule → Practitioner and PractitionerRole.

A slot is left out of an answer only where it is broken (SPEC §3.1); every other defect is sent as it is.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Protocol

log = logging.getLogger(__name__)

_ACTOR = re.compile(rb'"reference":"((?:Practitioner|PractitionerRole)/[A-Za-z0-9\-.]+)')
_SCHEDULE = re.compile(rb'"schedule":\{[^{}]*"reference":"(Schedule/[A-Za-z0-9\-.]+)')
EVERY = 600.0
"""Seconds between two lines of the log about one schedule."""
_TOLD_AT_MOST = 10_000


class Row(Protocol):
    """A resource of an answer, stored or about to be sent; its body as in `Stored`."""

    @property
    def type(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def body(self) -> bytes: ...


def lost_slots(rows: Sequence[Row]) -> frozenset[str]:
    """The slots ("Slot/1") of an answer whose schedule has no practitioner or no role there; they are logged.

    rows: all that the search found, of one that includes `Slot:schedule` and `Schedule:actor`. Only where a chain is
    broken are slots looked at."""
    there = {f"{row.type}/{row.id}" for row in rows if row.type in ("Practitioner", "PractitionerRole")}
    broken = {}
    for row in rows:
        if row.type == "Schedule":
            missing = _missing(row.body, there)
            if missing:
                broken[f"Schedule/{row.id}"] = missing
    if not broken:
        return frozenset()
    lost: dict[str, list[str]] = {schedule: [] for schedule in broken}
    for row in rows:
        if row.type == "Slot":
            found = _SCHEDULE.search(row.body)
            schedule = found.group(1).decode() if found else ""
            if schedule in lost:
                lost[schedule].append(f"Slot/{row.id}")
    for schedule, slots in lost.items():
        _told.tell(schedule, broken[schedule], len(slots))
    return frozenset(slot for slots in lost.values() for slot in slots)


def _missing(schedule: bytes, there: set[str]) -> str | None:
    """The type of which the schedule names nobody who is there; None where the chain is whole."""
    people, roles = actors(schedule)
    if there.isdisjoint(people):
        return "Practitioner"
    return "PractitionerRole" if there.isdisjoint(roles) else None


@lru_cache(maxsize=4096)
def actors(schedule: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The practitioners and the roles that the body of a schedule names."""
    found = [ref.decode() for ref in _ACTOR.findall(schedule)]
    return (
        tuple(ref for ref in found if ref.startswith("Practitioner/")),
        tuple(ref for ref in found if ref.startswith("PractitionerRole/")),
    )


class _Told:
    """Says the same of a schedule once in a while only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._when: OrderedDict[str, float] = OrderedDict()

    def tell(self, schedule: str, missing: str, slots: int) -> None:
        now = time.monotonic()
        with self._lock:
            if now - self._when.get(schedule, -EVERY) < EVERY:
                return
            self._when[schedule] = now
            self._when.move_to_end(schedule)
            if len(self._when) > _TOLD_AT_MOST:
                self._when.popitem(last=False)
        log.warning(
            "slots are left out of SAS answers: %s leads to no %s (%d slots; $sas-check tells more)",
            schedule,
            missing,
            slots,
            extra={"schedule": schedule, "missing": missing, "slots": slots},
        )

    def forget(self) -> None:
        with self._lock:
            self._when.clear()


_told = _Told()


def includes_actors(includes: Iterable[tuple[str, str, str | None]]) -> bool:
    """Whether a search with these includes (source, parameter, target type) brings the whole chain."""
    given = set(includes)
    brought = {target for source, param, target in given if (source, param) == ("Schedule", "actor")}
    has_actors = None in brought or {"Practitioner", "PractitionerRole"} <= brought
    return has_actors and bool({("Slot", "schedule", None), ("Slot", "schedule", "Schedule")} & given)
