"""Booking: an Appointment takes the Slots it names, in the commit that stores it (SPEC §6; docs/sas/editor.md).

An appointment takes its slots while its status says that the time is or was used; cancelled, entered in error or
deleted it gives them back. `https://hl7.org/fhir/R4/appointment.html`, `https://hl7.org/fhir/R4/slot.html`.

Two things keep two appointments from one slot: the slot's version, which both would replace, and a unique key for each
slot. A slot that an appointment has is never free: whoever writes it so, as an editor does who imports an agenda once
more, has it stored as busy, since the platform would show a slot that nobody can have.
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
    Or,
    PendingCommit,
    PluginContext,
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
"""Who did not come has used the time all the same; `proposed` and `waitlist` are no appointments yet."""
KEY = "The slot"
RULE = "appointment-slot"
_LOCAL = re.compile(r"Slot/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")

_WHOLE = re.compile(r"https?://\S+/" + _LOCAL.pattern)


def is_on(context: PluginContext) -> bool:
    """Whether this deployment holds slots and wants them booked."""
    types = context.registry.types
    return "Slot" in types and "Appointment" in types and context.configuration(SasConfiguration).booking


def taken(appointment: dict[str, Any] | None, base: str | None) -> dict[str, int]:
    """The ids of the local slots that an appointment takes, each with its place in `slot`. base: of absolute URLs."""
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


def notes(write: Write, reader: ResourceReader) -> Iterator[Issue]:
    """Informations about slots that are named by a whole URL and may be ours: where each request has a base of its own,
    nobody can tell."""
    slots = (write.resource or {}).get("slot")
    if write.base is not None or not isinstance(slots, list):
        return
    for n, reference in enumerate(slots):
        text = reference.get("reference") if isinstance(reference, dict) else None
        found = _WHOLE.fullmatch(text) if isinstance(text, str) else None
        here = None if found is None else reader.read("Slot", found[1])
        if found is not None and here is not None:
            said = (
                f"{text} is taken for a slot of another server and not booked. Name it as Slot/{found[1]} if it is of "
                "this one, or set base_url."
            )
            yield Issue("information", "informational", said, (f"Appointment.slot[{n}]",), RULE)


def unique_keys(appointment: dict[str, Any] | None, base: str | None) -> Iterator[str]:
    """No two appointments have one slot."""
    for id in taken(appointment, base):
        yield f"{KEY}|Slot/{id}"


def book(commit: PendingCommit, reader: ResourceReader, registry: Registry) -> None:
    """Makes the slots busy that the appointments of the commit take, and those free that they give back; keeps those
    busy that others have."""
    after: dict[str, tuple[str, str]] = {}
    before: set[str] = set()
    for write in commit.writes:
        if write.type != "Appointment":
            continue
        previous = write.previous
        if previous is not None and not previous.deleted:
            before |= taken(resource_of(previous), write.base).keys()
        for id, n in taken(write.resource, write.base).items():
            where = f"Appointment.slot[{n}]"
            if id in after:
                text = f"Two appointments of one transaction take Slot/{id}."
                raise error(409, "duplicate", text, after[id][0], rule=RULE)
            after[id] = where, write.id
    for id, (where, _) in after.items():
        if id not in before:
            _take(commit, reader, id, where)
    for id in before - after.keys():
        _give_back(commit, reader, registry, id)
    _keep(commit, reader, registry, {id: holder for id, (_, holder) in after.items()})


def _take(commit: PendingCommit, reader: ResourceReader, id: str, where: str) -> None:
    current = reader.read("Slot", id)
    own = commit.written("Slot", id)
    slot = None if current is None else resource_of(current)
    if own is not None and own.resource is None:
        text = f"The transaction deletes Slot/{id}, which the appointment takes."
        raise error(409, "conflict", text, where, rule=RULE)
    if slot is None and own is None:
        text = f"Slot/{id} is not here, so it cannot be booked: name a slot of this server, or none."
        raise error(422, "not-found", text, where, rule=RULE)
    if slot is not None and slot.get("status") != "free":
        text = (
            f"Slot/{id} is {slot.get('status')}: only a free slot can be booked. Choose another one "
            f"(Slot?status=free), or cancel the appointment that has it."
        )
        raise error(409, "conflict", text, where, rule=RULE)
    # What the client makes of the slot in the same transaction stays: what is not free then is as good as busy.
    if own is None and slot is not None:
        commit.additional_writes.append(Write("update", "Slot", id, {**slot, "status": "busy"}, current))


def _give_back(commit: PendingCommit, reader: ResourceReader, registry: Registry, id: str) -> None:
    """A slot that is busy becomes free; what somebody has made of it otherwise (busy-unavailable, deleted) stays."""
    if commit.written("Slot", id) is not None:
        return
    current = reader.read("Slot", id)
    if _is_busy(current):
        assert current is not None
        commit.additional_writes.append(
            Write("update", "Slot", id, {**resource_of(current), "status": "free"}, current)
        )
    elif _can_search(registry, "Slot", "status"):
        # This commit changes no version of the slot, so somebody who makes it busy for us just now must be met.
        busy = And((Ids((id,)), Token("status", None, "busy")))
        commit.guards.append(Guard("Slot", busy, frozenset()))


def _keep(commit: PendingCommit, reader: ResourceReader, registry: Registry, takers: dict[str, str]) -> None:
    """Slots that the commit writes as free, and an appointment has, are stored as busy. takers: by slot, the
    appointment of this commit that has it.

    Nobody has a slot that never was, so the first import of an agenda costs nothing."""
    freed = {w.id: w for w in commit.writes if w.type == "Slot" and w.resource and w.resource.get("status") == "free"}
    holders = takers | _holders(commit, reader, registry, [w for w in freed.values() if w.id not in takers])
    for id, write in freed.items():
        if id in holders and write.resource is not None:
            busy = write.with_resource({**write.resource, "status": "busy"})
            busy.issues.append(_note(holders[id]))
            commit.additional_writes.append(busy)


def _holders(commit: PendingCommit, reader: ResourceReader, registry: Registry, slots: list[Write]) -> dict[str, str]:
    """By slot, the appointment that has it and is not written by this commit."""
    known = {w.id: w for w in slots if w.previous is not None}
    if not known or not _can_search(registry, "Appointment", "slot", "status"):
        return {}
    rewritten = {w.id for w in commit.writes if w.type == "Appointment"}

    def look() -> tuple[dict[str, str], Guard | None]:
        holders: dict[str, str] = {}
        for found in _naming(reader, known):
            for id in taken(resource_of(found), slots[0].base) if found.id not in rewritten else ():
                if id in known:
                    holders[id] = found.id
        # Who gives back a slot that is busy replaces its version, as this commit does; else only a guard makes them
        # meet.
        unmet = [id for id in holders if not _is_busy(known[id].previous)]
        if not unmet:
            return holders, None
        seen = frozenset(one.id for one in reader.find("Appointment", _having(unmet)).entries)
        return holders, Guard("Appointment", _having(unmet), seen)

    holders, guard = reader.with_snapshot(look)
    if guard is not None:
        commit.guards.append(guard)
    return holders


def _naming(reader: ResourceReader, slots: Iterable[str]) -> Sequence[Stored]:
    """Appointments that name one of the slots, whatever their status: most slots have none, and that costs less to
    know."""
    named = Reference("slot", tuple(f"Slot/{id}" for id in slots))
    return reader.find("Appointment", named).entries if reader.count("Appointment", named, 1) else ()


def _having(slots: Iterable[str]) -> Condition:
    """Appointments that have one of the slots."""
    statuses = Or(tuple(Token("status", None, status) for status in TAKING))
    return And((Reference("slot", tuple(f"Slot/{id}" for id in slots)), statuses))


def _can_search(registry: Registry, type: str, *params: str) -> bool:
    return all(param in registry.indexed_types.get(type, {}) for param in params)


def _is_busy(slot: Stored | None) -> bool:
    return slot is not None and not slot.deleted and resource_of(slot).get("status") == "busy"


def _note(holder: str) -> Issue:
    text = (
        f"Slot.status: free was written as busy, since Appointment/{holder} has the slot, which becomes free when that "
        f"is cancelled ({OPTION}=off leaves it as it is)."
    )
    return Issue("information", "informational", text, ("Slot.status",))
