"""Booking: an Appointment takes the Slots it names, in the commit that stores it (SPEC §6; docs/sas/editor.md).

An appointment takes its slots while its status says that the time is or was used; cancelled, entered in error or
deleted it gives them back. `https://hl7.org/fhir/R4/appointment.html`, `https://hl7.org/fhir/R4/slot.html`.

Two things keep two appointments from one slot: the slot's version, which both would replace, and a unique key for each
slot, which holds even when somebody sets a slot free that an appointment still has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fhirstore.errors import error
from fhirstore.plugins import Commit, Option, Registry, Store, Write, resource_of

CHOICE = Option("booking", ("on", "off"))
OPTION = "sas.booking"

TAKING = ("pending", "booked", "arrived", "checked-in", "fulfilled", "noshow")
"""Who did not come has used the time all the same; `proposed` and `waitlist` are no appointments yet."""
KEY = "The slot"
RULE = "appointment-slot"
_LOCAL = re.compile(r"Slot/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")


def is_on(registry: Registry, options: Mapping[str, str]) -> bool:
    """Whether this deployment holds slots and wants them booked."""
    return "Slot" in registry.types and "Appointment" in registry.types and options.get(OPTION) != "off"


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


def unique_keys(appointment: dict[str, Any] | None, base: str | None) -> Iterator[str]:
    """No two appointments have one slot."""
    for id in taken(appointment, base):
        yield f"{KEY}|Slot/{id}"


def book(commit: Commit, store: Store) -> None:
    """Makes the slots busy that the appointments of the commit take, and those free that they give back."""
    after: dict[str, str] = {}
    before: set[str] = set()
    for write in commit.writes:
        if write.type != "Appointment":
            continue
        previous = write.previous
        if previous is not None and not previous.deleted:
            before |= taken(resource_of(previous), write.base).keys()
        for id, n in taken(write.resource, write.base).items():
            if id in after:
                text = f"Two appointments of one transaction take Slot/{id}."
                raise error(409, "duplicate", text, after[id], rule=RULE)
            after[id] = f"Appointment.slot[{n}]"
    for id, where in after.items():
        if id not in before:
            _take(commit, store, id, where)
    for id in before - after.keys():
        _give_back(commit, store, id)


def _take(commit: Commit, store: Store, id: str, where: str) -> None:
    current = store.read("Slot", id)
    own = commit.written("Slot", id)
    slot = None if current is None or current.deleted else resource_of(current)
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
    if own is not None and own.resource is not None:
        # The client may set the slot itself, in the same transaction; what is not free then is as good as busy.
        if own.resource.get("status") == "free":
            commit.further.append(own.anew({**own.resource, "status": "busy"}))
    elif slot is not None:
        commit.further.append(Write("update", "Slot", id, {**slot, "status": "busy"}, current))


def _give_back(commit: Commit, store: Store, id: str) -> None:
    """A slot that is busy becomes free; what somebody has made of it otherwise (busy-unavailable, deleted) stays."""
    current = store.read("Slot", id)
    if current is None or current.deleted or commit.written("Slot", id) is not None:
        return
    slot = resource_of(current)
    if slot.get("status") == "busy":
        commit.further.append(Write("update", "Slot", id, {**slot, "status": "free"}, current))
