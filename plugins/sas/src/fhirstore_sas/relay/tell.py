"""Puts what the platform is to be told into the commit that gives rise to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhirstore.errors import error
from fhirstore.plugins import Commit
from fhirstore_sas import appointments
from fhirstore_sas.relay import outbox
from fhirstore_sas.relay.message import appointment_before, identifier_of, message_for

KEY = "the identifier"


def is_on(options: Mapping[str, str]) -> bool:
    return bool(options.get("sas.relay_url"))


def unique_keys(appointment: dict[str, Any] | None) -> Iterator[str]:
    """The platform knows an appointment by its identifier alone: two with one would overwrite each other there. Raises
    422 for one that has none."""
    if appointment is not None and appointments.is_appointment(appointment):
        known = identifier_of(appointment)
        if known is None:
            text = "The platform knows an appointment by its identifier: one with system and value is needed."
            raise error(422, "required", text, "Appointment.identifier")
        yield f"{KEY}|{known[0]}|{known[1]}"


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
        known = None if before is None else identifier_of(before)
        if known is not None and known != identifier_of(message):
            text = (
                f"The platform knows this appointment by its identifier {known[0]}|{known[1]}, which it keeps: cancel "
                "it and make another appointment, or leave the identifier as it was."
            )
            raise error(422, "business-rule", text, "Appointment.identifier[0]")
        version = 1 if write.previous is None else write.previous.version + 1
        commit.records.append(outbox.row(write.id, version, message, first=known is None))
