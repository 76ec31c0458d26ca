"""Messages to the platform: an Appointment reduced to the elements of SPEC §6.2.

The resources of the platform contain no patient (SPEC §1), so the elements to send are listed, not those to leave out.
Local references have no meaning elsewhere: professionals are identified by their national identifiers.
"""

from __future__ import annotations

from typing import Any

from fhirstore.plugins import Write, resource_of
from fhirstore_sas import appointments
from fhirstore_sas.names import IDNPS_SYSTEM, OPERATOR, SAS, SAS_FR
from fhirstore_sas.profile_requirements import message_profile

_KEPT = (
    "status",
    "serviceCategory",
    "serviceType",
    "specialty",
    "appointmentType",
    "priority",
    "start",
    "end",
    "minutesDuration",
    "created",
)
_OPEN = ("pending", "booked", "arrived", "checked-in")
"""If an appointment is deleted in one of these states, the platform receives it as cancelled. Past appointments may be
deleted without a message."""
SENT_AS = {"arrived": "booked", "checked-in": "booked"}
"""The platform handles five statuses (SPEC §6.2). A patient who has arrived has not been seen yet, so the appointment
remains booked for the platform."""
NOT_SENT = ("proposed", "waitlist", "entered-in-error")
"""Statuses of appointments that do not exist, or not yet. The platform receives no message, or, if it knows the
appointment, that it is cancelled."""
_ADMITTER = {"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "ADM"}


def message_for(write: Write) -> dict[str, Any] | None:
    """The message that a write of an Appointment causes, or None. The written appointment has an identifier
    (`identifier_of`)."""
    before, after = appointment_before(write), write.resource
    if after is not None and appointments.is_appointment(after):
        if after.get("status") not in NOT_SENT:
            return message_of(after)
        if before is None or before.get("status") in NOT_SENT:
            return None
        return message_of({**after, "status": "cancelled"})
    if before is not None and before.get("status") in _OPEN and identifier_of(before) is not None:
        return message_of({**before, "status": "cancelled"})
    return None


def appointment_before(write: Write) -> dict[str, Any] | None:
    """The Appointment of the SAS that a write replaces or deletes, or None."""
    previous = write.previous
    if previous is None or previous.deleted:
        return None
    before = resource_of(previous)
    return before if appointments.is_appointment(before) else None


def message_of(appointment: dict[str, Any]) -> dict[str, Any]:
    """The message for the platform, without id: the platform assigns its own."""
    message: dict[str, Any] = {"resourceType": "Appointment", "meta": {"profile": [message_profile(appointment)]}}
    message["extension"] = [_extension(e) for e in _objects(appointment, "extension") if _is_for_platform(e)]
    identifier = _objects(appointment, "identifier")[0]
    message["identifier"] = [{k: v for k, v in identifier.items() if k in ("use", "type", "system", "value")}]
    message |= {name: appointment[name] for name in _KEPT if name in appointment}
    if isinstance(status := message.get("status"), str):
        message["status"] = SENT_AS.get(status, status)
    reason = appointment.get("cancelationReason")
    if message.get("status") == "cancelled" and isinstance(reason, dict) and reason.get("coding"):
        message["cancelationReason"] = {"coding": reason["coding"]}
    message["participant"] = _participants(appointment)
    return message


def identifier_of(appointment: dict[str, Any]) -> tuple[str, str] | None:
    """(system, value) of the identifier, of which the profiles require exactly one; None without one, which a
    deployment that does not enforce profiles may accept."""
    for one in _objects(appointment, "identifier")[:1]:
        system, value = one.get("system"), one.get("value")
        if isinstance(system, str) and isinstance(value, str) and system and value:
            return system, value
    return None


def _is_for_platform(extension: dict[str, Any]) -> bool:
    url = extension.get("url")
    return isinstance(url, str) and (url == OPERATOR or url.startswith((SAS, SAS_FR)))


def _extension(one: dict[str, Any]) -> dict[str, Any]:
    reference = one.get("valueReference")
    return one if not isinstance(reference, dict) else {**one, "valueReference": _named(reference)}


def _participants(appointment: dict[str, Any]) -> list[dict[str, Any]]:
    """Professionals with a national identifier, and participants without an actor. Others, such as the patient, are
    left out. If none remains, a participant of type ADM is added (SPEC §6.2, SOS)."""
    found = []
    for one in _objects(appointment, "participant"):
        kept = {k: v for k, v in one.items() if k in ("type", "required", "status", "period")}
        actor = one.get("actor")
        identifier = actor.get("identifier") if isinstance(actor, dict) else None
        if isinstance(actor, dict) and isinstance(identifier, dict) and identifier.get("system") == IDNPS_SYSTEM:
            kept["actor"] = _named(actor)
        elif actor is not None or "type" not in kept:
            continue
        found.append(kept)
    return found or [{"type": [{"coding": [_ADMITTER]}], "status": "needs-action"}]


def _named(reference: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in reference.items() if k in ("type", "identifier", "display")}


def _objects(resource: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = resource.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
