"""Puts what the platform is to be told into the commit that gives rise to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fhirstore.plugins import Issue, PendingCommit, Record, Store, error
from fhirstore_sas import appointments
from fhirstore_sas.configuration import SasConfiguration
from fhirstore_sas.relay import outbox
from fhirstore_sas.relay.message import NO_APPOINTMENT, TOLD_AS, appointment_before, identifier_of, message_for
from fhirstore_sas.relay.outbox import Told

KEY = "The identifier"
RULE = "appointment-identifier"
STATUS_RULE = "appointment-status"


def is_on(configuration: SasConfiguration) -> bool:
    return configuration.has_relay


def unique_keys(appointment: dict[str, Any] | None) -> Iterator[str]:
    """The platform knows an appointment by its identifier alone: two with one would overwrite each other there. Raises
    422 for one that has none."""
    if appointment is not None and appointments.is_appointment(appointment):
        known = identifier_of(appointment)
        if known is None:
            text = "The platform knows an appointment by its identifier: one with system and value is needed."
            raise error(422, "required", text, "Appointment.identifier", rule=RULE)
        yield f"{KEY}|{known[0]}|{known[1]}"


def taken_in(issues: Iterable[Issue], appointment: dict[str, Any]) -> Iterator[Issue]:
    """The issues of an Appointment of the SAS that is being stored, where the relay tells the platform: the platform
    need not know its status, since the relay has another one for it."""
    status = appointment.get("status")
    for one in issues:
        if one.rule != STATUS_RULE or status not in (*TOLD_AS, *NO_APPOINTMENT):
            yield one
            continue
        told = TOLD_AS.get(status, "cancelled, if it knows the appointment")
        text = f"The platform does not handle the status {status}: it is told {told}."
        yield Issue("information", "informational", text, one.expression)


def tell(commit: PendingCommit, store: Store) -> None:
    """What the outbox gets for each Appointment of the SAS that the commit creates, changes or deletes. Raises 422 when
    one gets another identifier."""
    told: dict[str, Told] = {}
    live: set[str] = set()
    for write in commit.writes:
        message = message_for(write) if write.type == "Appointment" else None
        if message is None:
            continue
        before = appointment_before(write)
        known = None if before is None else identifier_of(before)
        if known is not None and known != identifier_of(message):
            text = (
                f"The platform knows this appointment by its identifier {known[0]}|{known[1]}, which it keeps: cancel "
                "it and make another appointment, or leave the identifier as it was."
            )
            raise error(422, "business-rule", text, "Appointment.identifier[0]", rule=RULE)
        one = Told(write.id, 1 if write.previous is None else write.previous.version + 1, message, known is None)
        is_live = appointments.is_appointment(write.resource)
        # A transaction may hand an identifier from one appointment to another: the end of the first is no news then.
        if is_live or one.unit not in live:
            told[one.unit] = one
        if is_live:
            live.add(one.unit)
    for made in outbox.news(store, list(told.values())) if told else ():
        if isinstance(made, Record):
            commit.records.append(made)
        else:
            commit.guards.append(made)
