"""OperationDefinitions of the plugin: `$sas-check`."""

from __future__ import annotations

from typing import Any

from differential import Json

DEFINITION = "urn:fhirstore:OperationDefinition:sas-check"


def _in(name: str, type: str, max: str, documentation: str) -> Json:
    return {"name": name, "use": "in", "min": 0, "max": max, "documentation": documentation, "type": type}


def _out(name: str, type: str | None, min: int, max: str, documentation: str, **more: Any) -> Json:
    found = {"name": name, "use": "out", "min": min, "max": max, "documentation": documentation}
    return found | ({"type": type} if type else {}) | more


def _part(name: str, type: str, min: int, documentation: str) -> Json:
    return {"name": name, "use": "out", "min": min, "max": "1", "documentation": documentation, "type": type}


FINDING = [
    _part("rule", "code", 1, "The rule that is broken; docs/sas/check.md explains them."),
    _part("severity", "code", 1, "error | warning"),
    _part("left-out", "boolean", 1, "Whether the slots concerned are left out of the answers."),
    _part("resource", "Reference", 1, "What is to be mended."),
    _part("expression", "string", 0, "Where in the resource (FHIRPath)."),
    _part("slots", "integer", 1, "How many of the slots examined it concerns."),
    _part("diagnostics", "string", 1, "What is wrong, and what would be right."),
]


def resources() -> list[dict[str, Any]]:
    """All OperationDefinitions of the package."""
    return [
        {
            "resourceType": "OperationDefinition",
            "id": "sas-check",
            "url": DEFINITION,
            "name": "SASCheck",
            "title": "Which slots the platform is not shown, and what is wrong with the others",
            "status": "active",
            "kind": "operation",
            "description": "Looks at the free slots of a window, in the order of their ids, so many in a call. A slot "
            "is left out of the answers where its chain to practitioner and role (SOS: place and association) is "
            "broken or its labels hide it; every other defect is sent as it is.",
            "affectsState": False,
            "code": "sas-check",
            "resource": ["Slot"],
            "system": True,
            "type": True,
            "instance": False,
            "parameter": [
                _in("practitioner", "string", "*", "National ids, with or without prefix, or system|value."),
                _in("schedule", "string", "*", "Ids of schedules, or Schedule/id."),
                _in("start", "instant", "1", "Slots that start then or later; now if not given."),
                _in("end", "instant", "1", "Slots that start then or before; three days after start if not given."),
                _in("count", "positiveInt", "1", "How many slots to look at, 500 if not given, 5000 at most."),
                _in("after", "string", "1", "The next of an earlier answer: goes on there."),
                _out("start", "instant", 1, "1", "Begin of the window."),
                _out("end", "instant", 1, "1", "End of the window."),
                _out("examined", "integer", 1, "1", "How many slots were looked at."),
                _out("left-out", "integer", 1, "1", "How many of these the platform is not shown."),
                _out("finding", None, 0, "*", "Each fault once: what leaves slots out first.", part=FINDING),
                _out("next", "string", 0, "1", "There are more slots: give it as after, all else unchanged."),
            ],
        }
    ]
