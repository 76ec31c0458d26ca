"""The chain Slot → Schedule → Practitioner and PractitionerRole.

A response leaves a slot out only if this chain is broken (SPEC §3.1). Resources with other defects are sent.
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
"""Seconds between two log entries about one schedule."""
_MAX_SCHEDULES = 10_000


class ResponseRow(Protocol):
    """A resource of a response. body: as in `Stored`."""

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


def unreachable_slots(slots: Iterable[ResponseRow], others: Iterable[ResponseRow]) -> frozenset[str]:
    """The slots ("Slot/1") whose schedule has no practitioner or no role in the response. They are logged.

    others: the included resources of a search with `Slot:schedule` and `Schedule:actor`. Slots are decoded only if a
    chain is broken."""
    actors = set()
    schedules = []
    for row in others:
        if row.type == "Schedule":
            schedules.append(row)
        elif row.type in ("Practitioner", "PractitionerRole"):
            actors.add(f"{row.type}/{row.id}")
    broken = {f"Schedule/{row.id}": missing for row in schedules if (missing := _missing(row.body, actors))}
    if not broken:
        return frozenset()
    lost: dict[str, list[str]] = {schedule: [] for schedule in broken}
    for row in slots:
        if row.type == "Slot" and (schedule := _schedule_of(row.body)) in lost:
            lost[schedule].append(f"Slot/{row.id}")
    for schedule, names in lost.items():
        _warnings.warn(schedule, broken[schedule], len(names))
    return frozenset(name for names in lost.values() for name in names)


def _missing(schedule: bytes, actors: set[str]) -> str | None:
    """The type of actor that is missing; None if the chain is complete or cannot be read."""
    named = _actors(schedule)
    if named is None:
        return None
    people, roles = named
    if actors.isdisjoint(people):
        return "Practitioner"
    return "PractitionerRole" if actors.isdisjoint(roles) else None


@lru_cache(maxsize=4096)
def _actors(schedule: bytes) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """(practitioners, roles) of the body of a schedule; None if it is not valid FHIR (stored with validation off)."""
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
    """Limits log entries about a schedule to one per `EVERY` seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._when: OrderedDict[str, float] = OrderedDict()

    def warn(self, schedule: str, missing: str, slots: int) -> None:
        now = time.monotonic()
        with self._lock:
            if now - self._when.get(schedule, -EVERY) < EVERY:
                return
            self._when[schedule] = now
            self._when.move_to_end(schedule)
            if len(self._when) > _MAX_SCHEDULES:
                self._when.popitem(last=False)
        log.warning(
            "slots are left out of SAS responses: %s refers to no %s (%d slots; see $sas-check)",
            schedule,
            missing,
            slots,
            extra={"schedule": schedule, "missing": missing, "slots": slots},
        )

    def reset(self) -> None:
        with self._lock:
            self._when.clear()


_warnings = _Throttle()


def includes_actors(includes: Iterable[tuple[str, str, str | None]]) -> bool:
    """Whether a search with these includes (source, parameter, target type) returns the complete chain."""
    found = set(includes)
    targets = {target for source, param, target in found if (source, param) == ("Schedule", "actor")}
    has_actors = None in targets or {"Practitioner", "PractitionerRole"} <= targets
    return has_actors and bool({("Slot", "schedule", None), ("Slot", "schedule", "Schedule")} & found)
