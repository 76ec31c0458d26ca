"""Appointments that vendors send to the platform (INT_R03), SPEC §6."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhirstore.plugins import Issue
from fhirstore_sas.names import APPOINTMENT_PROFILES, OPERATOR, profile_names

STATUSES = ("booked", "fulfilled", "noshow", "cancelled", "pending")
"""Those that the platform handles (SPEC §6.2)."""


def is_appointment(resource: dict[str, Any] | None) -> bool:
    """The body is an Appointment of the SAS: it names its operator or claims one of the two profiles."""
    if resource is None or resource.get("resourceType") != "Appointment":
        return False
    return bool(_operators(resource)) or not APPOINTMENT_PROFILES.isdisjoint(profile_names(resource))


def names_no_practitioner(resource: dict[str, Any]) -> bool:
    """No participant is a practitioner known by name: so an appointment with SOS Médecins looks (SPEC §6.2)."""
    found = resource.get("participant")
    participants = found if isinstance(found, list) else []
    return bool(participants) and not any(isinstance(p, dict) and "actor" in p for p in participants)


def check(resource: dict[str, Any]) -> Iterator[Issue]:
    """What both profiles ask for (SPEC §6.2)."""
    identifiers = resource.get("identifier")
    if not isinstance(identifiers, list) or len(identifiers) != 1:
        yield _missing("identifier", "exactly one identifier")
    elif not (isinstance(identifiers[0], dict) and {"system", "value"} <= identifiers[0].keys()):
        yield _missing("identifier[0]", "an identifier with system and value")
    if resource.get("status") not in STATUSES:
        yield _missing("status", f"one of the statuses that the platform handles: {', '.join(STATUSES)}")
    for name in ("start", "end"):
        if name not in resource:
            yield _missing(name, f"{name}, an instant")
    if not _operators(resource):
        yield _missing("extension", f"the extension {OPERATOR}, which names the regulator")
    if not resource.get("participant"):
        yield _missing("participant", "a participant")


def _operators(resource: dict[str, Any]) -> list[dict[str, Any]]:
    found = resource.get("extension")
    return [e for e in found if isinstance(e, dict) and e.get("url") == OPERATOR] if isinstance(found, list) else []


def _missing(path: str, what: str) -> Issue:
    rule = "appointment-" + path.partition("[")[0]
    return Issue("error", "business-rule", f"An appointment of the SAS needs {what}.", (f"Appointment.{path}",), rule)
