"""The chain Slot → Schedule → Practitioner and PractitionerRole.

A slot is left out of an answer only where it is broken (SPEC §3.1); every other defect is sent as it is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol

import msgspec

from fhirstore_sas.json_node import local

log = logging.getLogger(__name__)

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


class _Reference(msgspec.Struct, frozen=True):
    reference: str = ""


class _Schedule(msgspec.Struct):
    actor: list[_Reference] = []


class _Slot(msgspec.Struct):
    schedule: _Reference = _Reference()


_schedules = msgspec.json.Decoder(_Schedule)
_slots = msgspec.json.Decoder(_Slot)


def unreachable_slots(slots: Iterable[Row], others: Iterable[Row]) -> frozenset[str]:
    """The slots ("Slot/1") of an answer whose schedule has no practitioner or no role there; they are logged.

    others: what came with the slots, of a search that includes `Slot:schedule` and `Schedule:actor`. Slots are looked
    at only where a chain is broken."""
    there = set()
    schedules = []
    for row in others:
        if row.type == "Schedule":
            schedules.append(row)
        elif row.type in ("Practitioner", "PractitionerRole"):
            there.add(f"{row.type}/{row.id}")
    broken = {f"Schedule/{row.id}": missing for row in schedules if (missing := _missing(row.body, there))}
    if not broken:
        return frozenset()
    lost: dict[str, list[str]] = {schedule: [] for schedule in broken}
    for row in slots:
        if row.type == "Slot" and (schedule := _schedule_of(row.body)) in lost:
            lost[schedule].append(f"Slot/{row.id}")
    for schedule, names in lost.items():
        _warnings.tell(schedule, broken[schedule], len(names))
    return frozenset(name for names in lost.values() for name in names)


def _missing(schedule: bytes, there: set[str]) -> str | None:
    """The type of which the schedule names nobody who is there; None where the chain is whole, or cannot be read."""
    named = _actors(schedule)
    if named is None:
        return None
    people, roles = named
    if there.isdisjoint(people):
        return "Practitioner"
    return "PractitionerRole" if there.isdisjoint(roles) else None


@lru_cache(maxsize=4096)
def _actors(schedule: bytes) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The practitioners and the roles that the body of a schedule names; None where it is no FHIR, stored with
    validation off."""
    try:
        found = [local(actor.reference) for actor in _schedules.decode(b"{" + schedule + b"}").actor]
    except msgspec.DecodeError:
        return None
    return (
        tuple(ref for ref in found if ref.startswith("Practitioner/")),
        tuple(ref for ref in found if ref.startswith("PractitionerRole/")),
    )


def _schedule_of(slot: bytes) -> str:
    try:
        return local(_slots.decode(b"{" + slot + b"}").schedule.reference)
    except msgspec.DecodeError:
        return ""


class _Throttle:
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


_warnings = _Throttle()


def includes_actors(includes: Iterable[tuple[str, str, str | None]]) -> bool:
    """Whether a search with these includes (source, parameter, target type) brings the whole chain."""
    given = set(includes)
    brought = {target for source, param, target in given if (source, param) == ("Schedule", "actor")}
    has_actors = None in brought or {"Practitioner", "PractitionerRole"} <= brought
    return has_actors and bool({("Slot", "schedule", None), ("Slot", "schedule", "Schedule")} & given)
