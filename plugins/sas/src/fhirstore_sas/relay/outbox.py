"""The outbox: messages about Appointments to the platform, enqueued in the commit that causes them.

A message is an Appointment reduced to the elements of SPEC §6.2. The resources of the platform contain no patient (SPEC
§1), so the elements to send are listed, not those to leave out. Local references have no meaning elsewhere:
professionals are identified by their national identifiers (`references`). An appointment that the message cannot
represent is refused.

The key of a message is the identifier of the appointment, since the platform knows appointments by it: if two
appointments have had one identifier after each other, a message about the earlier one must not overtake one about the
later. A message contains the whole state, so only the latest one is delivered. docs/adr/0014.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from fhirstore.plugins import (
    FhirError,
    Issue,
    Message,
    PendingCommit,
    PluginJobs,
    Record,
    RecordGuard,
    ResourceReader,
    Write,
    error,
    resource_of,
)
from fhirstore_sas.names import IDNPS_SYSTEM, OPERATOR, SAS, SAS_FR
from fhirstore_sas.profile_requirements import SOS_APPOINTMENT, is_appointment, message_profile, objects
from fhirstore_sas.relay.references import PARTICIPANT_RULE, LocalReferences, Lookup, find_resource, nothing

QUEUE = "sas-relay"
KEY = Message("The identifier")
RULE = "appointment-identifier"
STATUS_RULE = "appointment-status"
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


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """A message about a version of an Appointment. is_new: the platform was not sent an earlier state of it."""

    appointment: str
    version: int
    message: dict[str, Any]
    is_new: bool

    @property
    def key(self) -> str:
        return key_of(identifier_of(self.message) or ("", ""))


def unique_key(appointment: dict[str, Any]) -> str:
    """The identifier of an Appointment of the SAS: two appointments with one identifier would overwrite each other on
    the platform. Raises 422 if it has none."""
    known = identifier_of(appointment)
    if known is None:
        text = Message("The platform identifies an appointment by its identifier. Add one with system and value.")
        raise error(422, "required", text, "Appointment.identifier", rule=RULE)
    return f"{KEY}|{known[0]}|{known[1]}"


def adjust_issues(issues: Iterable[Issue], appointment: dict[str, Any]) -> Iterator[Issue]:
    """The issues of an Appointment of the SAS that is being stored: a status that the platform does not handle is no
    error, since the relay sends another one."""
    status = appointment.get("status")
    for one in issues:
        if one.rule != STATUS_RULE or status not in (*SENT_AS, *NOT_SENT):
            yield one
            continue
        sent = SENT_AS.get(status, Message("cancelled, if it knows the appointment"))
        text = Message(
            "The platform does not handle the status {status}. It receives {sent}.", status=status, sent=sent
        )
        yield Issue("information", "informational", text, one.expression)


def notify(commit: PendingCommit, jobs: PluginJobs, reader: ResourceReader) -> None:
    """Adds messages for the Appointments of the SAS that the commit creates, changes or deletes. Raises 422 if an
    Appointment gets another identifier, or if the message cannot represent it."""
    messages: dict[str, OutboxMessage] = {}
    live: set[str] = set()
    lookup = partial(find_resource, reader, commit)
    for write in commit.writes:
        message = message_for(write, lookup, jobs) if write.type == "Appointment" else None
        if message is None:
            continue
        before = appointment_before(write)
        known = None if before is None else identifier_of(before)
        if known is not None and known != identifier_of(message):
            text = Message(
                "The platform identifies this appointment by {known}|{known_2}, which cannot change. "
                "Keep the identifier, or cancel the appointment and create another one.",
                known=known[0],
                known_2=known[1],
            )
            raise error(422, "business-rule", text, "Appointment.identifier[0]", rule=RULE)
        version = 1 if write.previous is None else write.previous.version + 1
        one = OutboxMessage(write.id, version, message, known is None)
        is_live = is_appointment(write.resource)
        # A transaction may move an identifier from one appointment to another: the end of the first is not sent then.
        if is_live or one.key not in live:
            messages[one.key] = one
        if is_live:
            live.add(one.key)
    if messages:
        commit.add(*outbox_records(jobs, list(messages.values())))


def message_for(write: Write, lookup: Lookup = nothing, jobs: PluginJobs | None = None) -> dict[str, Any] | None:
    """The message that a write of an Appointment causes, or None. The written appointment has an identifier
    (`identifier_of`).

    jobs: have the last message, which names the participants of a cancelled appointment if their resources are deleted.
    Raises FhirError 422 if the message cannot represent the appointment."""
    before, after = appointment_before(write), write.resource
    if after is not None and is_appointment(after):
        if after.get("status") not in (*NOT_SENT, "cancelled"):
            return message_of(after, lookup, write.base)
        if after.get("status") == "cancelled" or (before is not None and before.get("status") not in NOT_SENT):
            return _cancellation(after, write, lookup, jobs)
    elif before is not None and before.get("status") in _OPEN and identifier_of(before) is not None:
        return _cancellation(before, write, lookup, jobs)
    return None


def _cancellation(appointment: dict[str, Any], write: Write, lookup: Lookup, jobs: PluginJobs | None) -> dict[str, Any]:
    cancelled = {**appointment, "status": "cancelled"}
    try:
        return message_of(cancelled, lookup, write.base)
    except FhirError:
        known = identifier_of(cancelled)
        last = jobs.get(QUEUE, key_of(known)) if jobs is not None and known is not None else None
        if last is None:
            raise
        return {**last.payload["message"], "status": "cancelled"}


def appointment_before(write: Write) -> dict[str, Any] | None:
    """The Appointment of the SAS that a write replaces or deletes, or None."""
    previous = write.previous
    if previous is None or previous.deleted:
        return None
    before = resource_of(previous)
    return before if is_appointment(before) else None


def message_of(appointment: dict[str, Any], lookup: Lookup = nothing, base: str | None = None) -> dict[str, Any]:
    """The message for the platform, without id: the platform assigns its own.

    lookup: finds the resources of local references. base: of absolute URLs of this server. Raises FhirError 422 if the
    message cannot represent the appointment."""
    _refuse_modifiers(appointment, "Appointment")
    profile = message_profile(appointment)
    extensions, identifiers = objects(appointment, "extension"), objects(appointment, "identifier")
    references = partial(LocalReferences, appointment, lookup, base)
    message: dict[str, Any] = {"resourceType": "Appointment", "meta": {"profile": [profile]}}
    message["extension"] = [_extension(one, n, references) for n, one in enumerate(extensions) if _is_for_platform(one)]
    message["identifier"] = [
        {k: v for k, v in identifiers[0].items() if k in ("use", "type", "system", "value", "period")}
    ]
    message |= {name: appointment[name] for name in _KEPT if name in appointment}
    if isinstance(status := message.get("status"), str):
        message["status"] = SENT_AS.get(status, status)
    reason = appointment.get("cancelationReason")
    if message.get("status") == "cancelled" and isinstance(reason, dict) and reason.get("coding"):
        message["cancelationReason"] = {"coding": reason["coding"]}
    message["participant"] = _participants(appointment, references) or _unnamed_participants(appointment, references)
    return message


def identifier_of(appointment: dict[str, Any]) -> tuple[str, str] | None:
    """(system, value) of the identifier, of which the profiles require exactly one; None without one, which a
    deployment that does not enforce profiles may accept."""
    found = appointment.get("identifier")
    one = found[0] if isinstance(found, list) and found else None
    system, value = (one.get("system"), one.get("value")) if isinstance(one, dict) else (None, None)
    return (system, value) if isinstance(system, str) and isinstance(value, str) and system and value else None


def _is_for_platform(extension: dict[str, Any]) -> bool:
    url = extension.get("url")
    return isinstance(url, str) and (url == OPERATOR or url.startswith((SAS, SAS_FR)))


def _extension(one: dict[str, Any], n: int, references: Callable[[], LocalReferences]) -> dict[str, Any]:
    reference = one.get("valueReference")
    if not isinstance(reference, dict):
        return one
    if isinstance(reference.get("identifier"), dict):
        return {**one, "valueReference": _named(reference)}
    return {**one, "valueReference": references().regulator(reference, f"Appointment.extension[{n}].valueReference")}


def _participants(appointment: dict[str, Any], references: Callable[[], LocalReferences]) -> list[dict[str, Any]]:
    """Professionals by national identifier, and participants without an actor. Others, such as the patient, are left
    out. Raises FhirError 422 for a professional who cannot be named."""
    found = []
    items = appointment.get("participant")
    for n, one in enumerate(items if isinstance(items, list) else ()):
        if not isinstance(one, dict):
            continue
        kept = {k: v for k, v in one.items() if k in ("type", "required", "status", "period")}
        actor = one.get("actor")
        identifier = actor.get("identifier") if isinstance(actor, dict) else None
        where = f"Appointment.participant[{n}]"
        if isinstance(actor, dict) and isinstance(identifier, dict) and identifier.get("system") == IDNPS_SYSTEM:
            kept["actor"] = _named(actor)
        elif isinstance(actor, dict) and references().is_professional(actor):
            kept["actor"] = references().professional(actor, f"{where}.actor")
            if any(kept["actor"]["identifier"] == other.get("actor", {}).get("identifier") for other in found):
                continue  # a role of the same practitioner
        elif actor is not None or "type" not in kept:
            continue
        _refuse_modifiers(one, where)
        found.append(kept)
    return found


def _unnamed_participants(
    appointment: dict[str, Any], references: Callable[[], LocalReferences]
) -> list[dict[str, Any]]:
    """The participants of a message about an appointment that names none for the platform: the practitioners of its
    slots, or with SOS Médecins a participant of type ADM (SPEC §6.2). Raises FhirError 422 if there are none."""
    status = "needs-action" if appointment.get("status") == "pending" else "accepted"
    found = [{"actor": actor, "status": status} for actor in references().of_slots()]
    if found:
        return found
    if message_profile(appointment) == SOS_APPOINTMENT:
        return [{"type": [{"coding": [_ADMITTER]}], "status": "needs-action"}]
    text = Message(
        "No participant is a practitioner whom the platform knows. Add one with a national identifier (system "
        "{system}), or a reference to a Practitioner that has one. With SOS Médecins, a participant of type ADM "
        "suffices.",
        system=IDNPS_SYSTEM,
    )
    raise error(422, "business-rule", text, "Appointment.participant", rule=PARTICIPANT_RULE)


def _refuse_modifiers(element: dict[str, Any], where: str) -> None:
    """Raises FhirError 422 for elements that change the meaning of others, because the message does not contain them:
    https://hl7.org/fhir/R4/extensibility.html#modifierExtension."""
    for name in ("modifierExtension", "implicitRules"):
        if name in element:
            text = Message(
                "The platform does not receive {name}, which changes the meaning of the appointment. Remove it.",
                name=name,
            )
            raise error(422, "not-supported", text, f"{where}.{name}", rule="appointment-modifier")


def _named(reference: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in reference.items() if k in ("type", "identifier", "display")}


def key_of(identifier: tuple[str, str]) -> str:
    """The key of an identifier (system, value): `system|value`, with a backslash before each "|" of the system."""
    system, value = identifier
    escaped = system.replace("\\", "\\\\").replace("|", "\\|")
    return f"{escaped}|{value}"


def outbox_records(jobs: PluginJobs, messages: Collection[OutboxMessage]) -> Iterator[Record | RecordGuard]:
    """Records and guards of the commit that causes the messages, each of another key."""
    payloads = {
        one.key: {
            "appointment": one.appointment, "version": one.version, "message": one.message, "is_new": one.is_new
        }
        for one in messages
    }  # fmt: skip
    return jobs.enqueue(QUEUE, payloads)
