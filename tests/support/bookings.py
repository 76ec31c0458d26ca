"""Slots, and Appointments that book them, in plain FHIR."""

from __future__ import annotations

from typing import Any


def slot(id: str, status: str = "free") -> dict[str, Any]:
    return {
        "resourceType": "Slot",
        "id": id,
        "schedule": {"reference": "Schedule/1"},
        "status": status,
        "start": "2026-12-07T09:00:00.000+01:00",
        "end": "2026-12-07T09:20:00.000+01:00",
    }


def appointment(*slots: str, status: str = "booked", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Appointment",
        "status": status,
        "slot": [{"reference": s if "/" in s else f"Slot/{s}"} for s in slots],
        "start": "2026-12-07T09:00:00.000+01:00",
        "end": "2026-12-07T09:20:00.000+01:00",
        "participant": [{"actor": {"display": "Dr Martin"}, "status": "accepted"}],
        **({"cancelationReason": {"text": "ill"}} if status == "cancelled" else {}),
        **more,
    }


IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
OPERATOR = "http://interopsante.org/fhir/StructureDefinition/FrAppointmentOperator"
EDITOR = "urn:oid:1.2.3.4"
_NATIONAL = {"coding": [{"system": "http://interopsante.org/fhir/CodeSystem/fr-v2-0203", "code": "IDNPS"}]}


def sas_appointment(value: str, **more: Any) -> dict[str, Any]:
    """An Appointment of INT_R03 with the identifier EDITOR|value."""
    return {
        "resourceType": "Appointment",
        "extension": [{"url": OPERATOR, "valueReference": national("810002673899")}],
        "identifier": [{"system": EDITOR, "value": value}],
        "status": "booked",
        "start": "2026-12-07T09:00:00.000+01:00",
        "end": "2026-12-07T09:20:00.000+01:00",
        "participant": [{"actor": national("810100050075"), "status": "accepted"}],
        **more,
    }


def national(value: str) -> dict[str, Any]:
    """A Reference to a professional by national identifier."""
    return {"identifier": {"type": _NATIONAL, "system": IDNPS, "value": value}}
