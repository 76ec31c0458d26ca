"""Puts what the platform is to be told into the commit that gives rise to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhirstore.errors import error
from fhirstore.plugins import Commit
from fhirstore_sas import appointments
from fhirstore_sas.relay import outbox
from fhirstore_sas.relay.message import appointment_before, identifier_of, message_for, message_of

KEY = "the identifier"


def is_on(options: Mapping[str, str]) -> bool:
    return bool(options.get("sas.relay_url"))


def unique_keys(appointment: dict[str, Any] | None) -> Iterator[str]:
    """The platform knows an appointment by its identifier alone: two with one would overwrite each other there."""
    if appointments.is_appointment(appointment) and appointment is not None:
        system, value = identifier_of(message_of(appointment))
        yield f"{KEY}|{system}|{value}"


def tell(commit: Commit) -> None:
    """A row of the outbox for each Appointment of the SAS that the commit creates, changes or deletes. Raises 422 when
    one gets another identifier."""
    for write in commit.writes:
        if write.type != "Appointment":
            continue
        message = message_for(write)
        if message is None:
            continue
        before = appointment_before(write)
        _refuse_other_identifier(before, message)
        version = 1 if write.previous is None else write.previous.version + 1
        commit.records.append(outbox.row(write.id, version, message, first=before is None))


def _refuse_other_identifier(before: dict[str, Any] | None, message: dict[str, Any]) -> None:
    if before is None:
        return
    known = identifier_of(message_of(before))
    if known != identifier_of(message):
        raise error(
            422,
            "business-rule",
            f"The platform knows this appointment by its identifier {known[0]}|{known[1]}, which it keeps: cancel it "
            "and make another appointment, or leave the identifier as it was.",
            "Appointment.identifier[0]",
        )
