"""Booking: an Appointment takes its Slots in the commit that stores it (SPEC §6; docs/sas/editor.md).

An appointment takes its slots while its status means that the time is or was used. If it is cancelled, entered in error
or deleted, its slots become free. https://hl7.org/fhir/R4/appointment.html, https://hl7.org/fhir/R4/slot.html.

Two appointments cannot take one slot, because both would replace the same version of the slot, and because each slot
has a unique key. A slot that an appointment takes is never stored as free, for example when an editor imports an agenda
again: the platform would show a slot that cannot be booked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fhirstore.plugins import (
    And,
    Condition,
    Guard,
    Ids,
    Issue,
    Message,
    Or,
    PendingCommit,
    Reference,
    Registry,
    ResourceReader,
    Stored,
    Token,
    Write,
    error,
    resource_of,
)
from fhirstore_sas.configuration import SasConfiguration

OPTION = "sas.booking"

TAKING = ("pending", "booked", "arrived", "checked-in", "fulfilled", "noshow")
"""Statuses that take slots. A patient who did not come has used the time; `proposed` and `waitlist` are not yet
booked."""
KEY = Message("The slot")
RULE = "appointment-slot"
_LOCAL = re.compile(r"Slot/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")

_WHOLE = re.compile(r"https?://\S+/" + _LOCAL.pattern)


def is_on(configuration: SasConfiguration, registry: Registry) -> bool:
    """Whether this deployment serves slots and appointments, and booking is on."""
    return configuration.booking and "Slot" in registry.types and "Appointment" in registry.types


def taken_slots(appointment: dict[str, Any] | None, base: str | None) -> dict[str, int]:
    """The ids of the local slots that an appointment takes -> their index in `slot`. base: of absolute URLs."""
    if appointment is None or appointment.get("status") not in TAKING:
        return {}
    found: dict[str, int] = {}
    slots = appointment.get("slot")
    for n, reference in enumerate(slots if isinstance(slots, list) else ()):
        text = reference.get("reference") if isinstance(reference, dict) else None
        if not isinstance(text, str):
            continue
        here = text[len(base) + 1 :] if base and text.startswith(base + "/") else text
        if local := _LOCAL.fullmatch(here):
            found.setdefault(local[1], n)
    return found


def external_slot_issues(write: Write, reader: ResourceReader) -> Iterator[Issue]:
    """Yields informations about slots with absolute URLs that may be local. If `base_url` is not set, this is not
    known."""
    slots = (write.resource or {}).get("slot")
    if write.base is not None or not isinstance(slots, list):
        return
    for n, reference in enumerate(slots):
        reference_text = reference.get("reference") if isinstance(reference, dict) else None
        found = _WHOLE.fullmatch(reference_text) if isinstance(reference_text, str) else None
        here = None if found is None else reader.read("Slot", found[1])
        if found is not None and here is not None:
            text = Message(
                "{reference_text} is treated as a slot of another server and is not booked. If it is "
                "a slot of this server, refer to it as Slot/{found}, or set base_url.",
                reference_text=reference_text,
                found=found[1],
            )
            yield Issue("information", "informational", text, (f"Appointment.slot[{n}]",), RULE)


def unique_keys(appointment: dict[str, Any] | None, base: str | None) -> Iterator[str]:
    """Two appointments must not take one slot."""
    for id in taken_slots(appointment, base):
        yield f"{KEY}|Slot/{id}"


def book(commit: PendingCommit, reader: ResourceReader, registry: Registry) -> None:
    """Adds the writes of slots: those that appointments of the commit take become busy, those that they release become
    free, and those that other appointments take stay busy. Raises FhirError if a slot cannot be booked."""
    after: dict[str, tuple[str, str]] = {}
    before: set[str] = set()
    for write in commit.writes:
        if write.type != "Appointment":
            continue
        previous = write.previous
        if previous is not None and not previous.deleted:
            before |= taken_slots(resource_of(previous), write.base).keys()
        for id, n in taken_slots(write.resource, write.base).items():
            where = f"Appointment.slot[{n}]"
            if id in after:
                text = Message("Two appointments of one transaction take Slot/{id}.", id=id)
                raise error(409, "duplicate", text, after[id][0], rule=RULE)
            after[id] = where, write.id
    for id, (where, _) in after.items():
        if id not in before:
            _book_slot(commit, reader, id, where)
    for id in before - after.keys():
        _release_slot(commit, reader, registry, id)
    _keep_busy(commit, reader, registry, {id: holder for id, (_, holder) in after.items()})


def _book_slot(commit: PendingCommit, reader: ResourceReader, id: str, where: str) -> None:
    current = reader.read("Slot", id)
    own = commit.written("Slot", id)
    slot = None if current is None else resource_of(current)
    if own is not None and own.resource is None:
        text = Message("The transaction deletes Slot/{id}, which the appointment takes.", id=id)
        raise error(409, "conflict", text, where, rule=RULE)
    if slot is None and own is None:
        text = Message(
            "Slot/{id} does not exist and cannot be booked. Refer to a slot of this server, or omit it.", id=id
        )
        raise error(422, "not-found", text, where, rule=RULE)
    if slot is not None and slot.get("status") != "free":
        text = Message(
            "Slot/{id} is {status}. Only a free slot can be booked. Choose another slot "
            "(Slot?status=free), or cancel the appointment that takes it.",
            id=id,
            status=slot.get("status"),
        )
        raise error(409, "conflict", text, where, rule=RULE)
    # If the client writes the slot in the same transaction, its status is kept: every status but free prevents booking.
    if own is None and slot is not None:
        commit.additional_writes.append(Write("update", "Slot", id, {**slot, "status": "busy"}, current))


def _release_slot(commit: PendingCommit, reader: ResourceReader, registry: Registry, id: str) -> None:
    """Makes a busy slot free. Slots with another status (busy-unavailable) and deleted slots are not changed."""
    if commit.written("Slot", id) is not None:
        return
    current = reader.read("Slot", id)
    if _is_busy(current):
        assert current is not None
        commit.additional_writes.append(
            Write("update", "Slot", id, {**resource_of(current), "status": "free"}, current)
        )
    elif _can_search(registry, "Slot", "status"):
        # This commit does not replace a version of the slot, so a guard detects a concurrent write that makes it busy.
        busy = And((Ids((id,)), Token("status", None, "busy")))
        commit.guards.append(Guard("Slot", busy, frozenset()))


def _keep_busy(commit: PendingCommit, reader: ResourceReader, registry: Registry, takers: dict[str, str]) -> None:
    """Stores slots as busy that the commit writes as free although an appointment takes them. takers: slot -> the
    appointment of this commit that takes it.

    New slots are not looked up, so the first import of an agenda costs nothing."""
    freed = {w.id: w for w in commit.writes if w.type == "Slot" and w.resource and w.resource.get("status") == "free"}
    holders = takers | _find_holders(commit, reader, registry, [w for w in freed.values() if w.id not in takers])
    for id, write in freed.items():
        if id in holders and write.resource is not None:
            busy = write.with_resource({**write.resource, "status": "busy"})
            busy.issues.append(_kept_busy(holders[id]))
            commit.additional_writes.append(busy)


def _find_holders(
    commit: PendingCommit, reader: ResourceReader, registry: Registry, slots: list[Write]
) -> dict[str, str]:
    """Slot -> the appointment that takes it and is not written by this commit."""
    known = {w.id: w for w in slots if w.previous is not None}
    if not known or not _can_search(registry, "Appointment", "slot", "status"):
        return {}
    rewritten = {w.id for w in commit.writes if w.type == "Appointment"}

    def read_holders() -> tuple[dict[str, str], Guard | None]:
        holders: dict[str, str] = {}
        for found in _appointments_with(reader, known):
            for id in taken_slots(resource_of(found), slots[0].base) if found.id not in rewritten else ():
                if id in known:
                    holders[id] = found.id
        # A commit that releases a busy slot replaces its version, as this commit does. For other slots, a guard detects
        # concurrent commits.
        unguarded = [id for id in holders if not _is_busy(known[id].previous)]
        if not unguarded:
            return holders, None
        seen = frozenset(one.id for one in reader.find("Appointment", _taking(unguarded)).entries)
        return holders, Guard("Appointment", _taking(unguarded), seen)

    holders, guard = reader.with_snapshot(read_holders)
    if guard is not None:
        commit.guards.append(guard)
    return holders


def _appointments_with(reader: ResourceReader, slots: Iterable[str]) -> Sequence[Stored]:
    """Appointments of any status that refer to one of the slots. Most slots have none, so they are counted first."""
    named = Reference("slot", tuple(f"Slot/{id}" for id in slots))
    return reader.find("Appointment", named).entries if reader.count("Appointment", named, 1) else ()


def _taking(slots: Iterable[str]) -> Condition:
    """The condition for appointments that take one of the slots."""
    statuses = Or(tuple(Token("status", None, status) for status in TAKING))
    return And((Reference("slot", tuple(f"Slot/{id}" for id in slots)), statuses))


def _can_search(registry: Registry, type: str, *params: str) -> bool:
    return all(param in registry.indexed_types.get(type, {}) for param in params)


def _is_busy(slot: Stored | None) -> bool:
    return slot is not None and not slot.deleted and resource_of(slot).get("status") == "busy"


def _kept_busy(holder: str) -> Issue:
    text = Message(
        "Slot.status: free was changed to busy, because Appointment/{holder} takes the slot. "
        "The slot becomes free when the appointment is cancelled (sas.booking=off turns this "
        "off).",
        holder=holder,
    )
    return Issue("information", "informational", text, ("Slot.status",))
