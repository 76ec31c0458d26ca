"""The request alone decides what a SAS search is."""

from __future__ import annotations

import pytest

from fhirstore_sas.searches import CPTS, PS, SOS, Mode, search_mode

WHO = ("schedule.actor:Practitioner.identifier", "urn:oid:1.2.250.1.71.4.2.1|810002673899")
CPTS_INCLUDE = ("_include", "Slot:service-type-reference")
PLACE = ("actor:Location.organization.identifier", "urn:oid:1.2.250.1.71.4.2.2|334173748400020")
HAS = ("_has:Slot:schedule:status", "free")


@pytest.mark.parametrize(
    ("type", "params", "mode"),
    [
        ("Slot", [WHO], PS),
        ("Slot", [("_include", "Slot:schedule"), ("_include:iterate", "Schedule:actor"), WHO], PS),
        ("Slot", [WHO, CPTS_INCLUDE], CPTS),
        ("Slot", [CPTS_INCLUDE, ("_include", "Slot:schedule"), WHO], CPTS),
        ("Slot", [WHO, ("_include", " Slot:service-type-reference ")], CPTS),
        ("Slot", [WHO, ("_include:iterate", "HealthcareService:organization")], PS),
        ("Slot", [WHO, ("_include:iterate", "Slot:service-type-reference")], PS),
        ("Slot", [(WHO[0], "  ")], PS),
        ("Schedule", [(PLACE[0], ""), HAS], SOS),
        ("Slot", [CPTS_INCLUDE], None),
        ("Slot", [("schedule.actor:Practitioner.name", "Morvan")], None),
        ("Slot", [("schedule.actor.identifier", WHO[1])], None),
        ("Slot", [PLACE, HAS], None),
        ("Schedule", [PLACE, HAS], SOS),
        ("Schedule", [PLACE, ("_has:Slot:schedule:start", "ge2026-01-01")], SOS),
        ("Schedule", [PLACE], None),
        ("Schedule", [HAS], None),
        ("Schedule", [WHO], None),
        ("Practitioner", [WHO], None),
        ("Slot", [], None),
    ],
)
def test_mode_follows_from_type_and_parameters(type: str, params: list[tuple[str, str]], mode: Mode | None) -> None:
    assert search_mode(type, params) is mode


def test_every_mode_stamps_slots_and_schedules() -> None:
    assert all({"Slot", "Schedule"} <= mode.profiles.keys() for mode in (PS, CPTS, SOS))
