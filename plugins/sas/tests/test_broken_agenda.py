"""What makes slots vanish from the view of the platform is said when it is written."""

from __future__ import annotations

from typing import Any

from support.api import Api
from support.bookings import slot

WITH_OUTCOME = {"Prefer": "return=OperationOutcome"}


def warnings(answer: Any) -> list[tuple[str, str]]:
    """(rule, diagnostics) of the warnings in an answer that succeeds."""
    assert answer.status_code in (200, 201), answer.text
    issues = [one for one in answer.get_json()["issue"] if one["severity"] == "warning"]
    return [(one["details"]["coding"][0]["code"], one["diagnostics"]) for one in issues]


def put(api: Api, type: str, **body: Any) -> None:
    assert api.put(f"{type}/1", {"resourceType": type, "id": "1", **body}).status_code == 201


def agenda(api: Api) -> None:
    put(api, "Practitioner", name=[{"family": "Martin"}])
    put(api, "PractitionerRole", practitioner={"reference": "Practitioner/1"})
    put(api, "Schedule", actor=[{"reference": "Practitioner/1"}, {"reference": "PractitionerRole/1"}])


def test_a_slot_without_its_schedule(api: Api) -> None:
    [(rule, text)] = warnings(api.put("Slot/s", slot("s"), **WITH_OUTCOME))
    assert rule == "referential-integrity"
    assert text.startswith("Slot/s refers to Schedule/1, which does not exist")
    agenda(api)
    assert warnings(api.put("Slot/s", slot("s"), **WITH_OUTCOME)) == []


def test_a_slot_that_ends_before_it_starts(api: Api) -> None:
    agenda(api)
    for end in ("2026-12-07T08:59:00.000+01:00", "2026-12-07T09:00:00.000+01:00", "2026-12-07T07:30:00Z"):
        [(rule, text)] = warnings(api.put("Slot/s", slot("s") | {"end": end}, **WITH_OUTCOME))
        assert (rule, text.startswith("Slot.end: The slot ends before it starts")) == ("slot-order", True)


def test_the_deletion_of_a_practitioner_with_schedules(api: Api) -> None:
    agenda(api)
    [(rule, text)] = warnings(api.delete("Practitioner/1", **WITH_OUTCOME))
    assert rule == "referential-integrity"
    assert "Schedule/1 (actor)" in text
    assert "PractitionerRole/1 (practitioner)" in text
