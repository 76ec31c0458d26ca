"""The response to a SAS search: profiles are set, entries are reduced, and slots are counted (SPEC §3.1, §3.3, §3.4,
§4).

The response leaves a slot out only if the chain Slot → Schedule → Practitioner and PractitionerRole is broken (SPEC
§3.1). Resources with other defects are sent.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from typing import Protocol

import msgspec

from fhirstore.plugins import (
    ResourceView,
    SearchEntry,
    Stored,
    ViewedResponse,
)
from fhirstore_sas import response_entries
from fhirstore_sas.response_entries import is_account_meta, slot_meta, stamped
from fhirstore_sas.rules import local
from fhirstore_sas.searches import CPTS, SOS, SasSearch

log = logging.getLogger(__name__)

EVERY = 600.0
"""Seconds between two log entries about one schedule."""
_MAX_SCHEDULES = 10_000
_REFERENCE = re.compile(rb'"reference":"([A-Za-z]+/[A-Za-z0-9\-.]+)')


def make_view(search: SasSearch) -> ResourceView:
    """The view of a SAS search. Its entries depend on the mode alone, except those of practitioners with several
    national identifiers."""
    return ResourceView(f"sas-{search.mode.name}", partial(_show, search), partial(_finish, search))


def _show(search: SasSearch, entry: SearchEntry) -> bool:
    """Sets the profile and reduces the entry; False if the response must not contain it."""
    mode = search.mode
    profile = mode.profiles.get(entry.type)
    if profile is None:
        return False
    if entry.type == "Slot":
        meta = slot_meta(entry.meta, profile, mode.hidden)
        if meta is None:
            return False
        entry.meta = meta
        entry.body = (response_entries.slot_for_cpts if mode is CPTS else response_entries.slot)(entry.body)
        return True
    if entry.type == "Practitioner" and is_account_meta(entry.meta):
        return False
    entry.meta = stamped(entry.meta, profile)
    entry.body = _reduced(entry, search)
    return True


def _finish(search: SasSearch, response: ViewedResponse) -> None:
    """Counts the slots. Leaves out unreachable slots, resources that only they and hidden slots refer to, and all
    entries of a search that asks for the total."""
    unreachable = unreachable_slots(response.matches, response.includes) if search.whole else frozenset()
    # SOS searches match schedules, the others match slots.
    slots = [one for one in response.includes if one.type == "Slot"] if search.mode is SOS else response.matches
    response.total = len(slots) - len(unreachable)
    response.profile = search.mode.bundle
    if search.counting:
        response.left_out.update(one.ref for one in (*response.matches, *response.includes))
    elif hidden := unreachable.union(one.ref for one in response.hidden if one.type == "Slot"):
        response.left_out |= _needed_only_by(hidden, [*response.matches, *response.includes, *response.hidden])


def _reduced(entry: SearchEntry, search: SasSearch) -> bytes:
    """The body of an entry that is not a slot. A body that is not valid FHIR (stored with validation off) is
    unchanged."""
    body = entry.body
    try:
        match entry.type:
            case "Practitioner":
                reduced, entry.varies = response_entries.practitioner(body, search.requested)
                return reduced
            case "PractitionerRole":
                return response_entries.practitioner_role(body)
            case "Organization":
                return (
                    response_entries.cpts_organization(body)
                    if search.mode is CPTS
                    else response_entries.sos_organization(body)
                )
            case "Location":
                return response_entries.sos_location(body)
    except msgspec.ValidationError:
        pass
    return body


def _needed_only_by(hidden: frozenset[str], resources: Iterable[Stored]) -> set[str]:
    """The resources that only hidden slots refer to, directly or indirectly."""
    links = {one.ref: [ref.decode() for ref in _REFERENCE.findall(one.body)] for one in resources}
    needed = _reached({ref for ref in links if ref.startswith("Slot/")} - hidden, links)
    return _reached(hidden, links) - needed


def _reached(starts: Iterable[str], links: Mapping[str, list[str]]) -> set[str]:
    """The entries that are reachable from these by references, themselves included."""
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        ref = waiting.pop()
        if ref not in found:
            found.add(ref)
            waiting += [target for target in links.get(ref, ()) if target in links]
    return found


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
