"""Slots, and Appointments that take them, as plain FHIR."""

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
