"""Enqueues messages to the platform in the commit that causes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fhirstore.plugins import Issue, Message, PendingCommit, PluginJobs, error
from fhirstore_sas import appointments
from fhirstore_sas.relay.message import NOT_SENT, SENT_AS, appointment_before, identifier_of, message_for
from fhirstore_sas.relay.outbox import OutboxMessage, outbox_records

KEY = Message("The identifier")
RULE = "appointment-identifier"
STATUS_RULE = "appointment-status"


def unique_keys(appointment: dict[str, Any] | None) -> Iterator[str]:
    """The identifier of an Appointment of the SAS: two appointments with one identifier would overwrite each other on
    the platform. Raises 422 if it has none."""
    if appointment is not None and appointments.is_appointment(appointment):
        known = identifier_of(appointment)
        if known is None:
            text = Message("The platform identifies an appointment by its identifier. Add one with system and value.")
            raise error(422, "required", text, "Appointment.identifier", rule=RULE)
        yield f"{KEY}|{known[0]}|{known[1]}"


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


def notify(commit: PendingCommit, jobs: PluginJobs) -> None:
    """Adds messages for the Appointments of the SAS that the commit creates, changes or deletes. Raises 422 if an
    Appointment gets another identifier."""
    messages: dict[str, OutboxMessage] = {}
    live: set[str] = set()
    for write in commit.writes:
        message = message_for(write) if write.type == "Appointment" else None
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
        is_live = appointments.is_appointment(write.resource)
        # A transaction may move an identifier from one appointment to another: the end of the first is not sent then.
        if is_live or one.key not in live:
            messages[one.key] = one
        if is_live:
            live.add(one.key)
    if messages:
        commit.add(*outbox_records(jobs, list(messages.values())))
