"""Appointments that vendors send to the platform (INT_R03), SPEC §6."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhirstore.plugins import Issue, Message
from fhirstore_sas.names import APPOINTMENT_PROFILES, OPERATOR, profile_names

STATUSES = ("booked", "fulfilled", "noshow", "cancelled", "pending")
"""Statuses that the platform accepts (SPEC §6.2)."""


def is_appointment(resource: dict[str, Any] | None) -> bool:
    """Whether the resource is an Appointment of the SAS: it has the operator extension or claims one of its
    profiles."""
    if resource is None or resource.get("resourceType") != "Appointment":
        return False
    return bool(_operators(resource)) or not APPOINTMENT_PROFILES.isdisjoint(profile_names(resource))


def has_no_named_practitioner(resource: dict[str, Any]) -> bool:
    """Whether no participant has an actor, as in appointments with SOS Médecins (SPEC §6.2)."""
    found = resource.get("participant")
    participants = found if isinstance(found, list) else []
    return bool(participants) and not any(isinstance(p, dict) and "actor" in p for p in participants)


def check(resource: dict[str, Any]) -> Iterator[Issue]:
    """Yields issues for elements that both profiles require (SPEC §6.2)."""
    identifiers = resource.get("identifier")
    if not isinstance(identifiers, list) or len(identifiers) != 1:
        yield _missing("identifier", Message("exactly one identifier"))
    elif not (isinstance(identifiers[0], dict) and {"system", "value"} <= identifiers[0].keys()):
        yield _missing("identifier[0]", Message("an identifier with system and value"))
    if resource.get("status") not in STATUSES:
        yield _missing(
            "status", Message("one of the statuses that the platform accepts: {statuses}", statuses=", ".join(STATUSES))
        )
    for name in ("start", "end"):
        if name not in resource:
            yield _missing(name, Message("{name}, an instant", name=name))
    if not _operators(resource):
        yield _missing("extension", Message("the extension {operator}, which names the regulator", operator=OPERATOR))
    if not resource.get("participant"):
        yield _missing("participant", Message("a participant"))


def _operators(resource: dict[str, Any]) -> list[dict[str, Any]]:
    found = resource.get("extension")
    return [e for e in found if isinstance(e, dict) and e.get("url") == OPERATOR] if isinstance(found, list) else []


def _missing(path: str, what: str) -> Issue:
    rule = "appointment-" + path.partition("[")[0]
    return Issue(
        "error",
        "business-rule",
        Message("An appointment of the SAS needs {what}.", what=what),
        (f"Appointment.{path}",),
        rule,
    )
