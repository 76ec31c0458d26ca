"""The French texts of the plugin's issues, as the catalogue has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.api import Api

import fhirstore_sas
from fhirstore_sas.check import english, french
from fhirstore_sas.rules.profile_rules import PROFILE_RULES

CATALOGUE = Path(fhirstore_sas.__file__).with_name("fr.txt")


def pairs() -> dict[str, str]:
    lines = [line for line in CATALOGUE.read_text("utf-8").splitlines() if line[:2] in ("> ", "+ ", "< ")]
    assert [line[0] == "<" for line in lines] == [False, True] * (len(lines) // 2)
    return {one[2:]: other[2:] for one, other in zip(lines[::2], lines[1::2], strict=True)}


def test_the_rules_on_writes_are_there_in_the_words_of_the_check() -> None:
    known = pairs()
    for rule in {duty.rule for duties in PROFILE_RULES.values() for duty in duties} | {"reference-resolves"}:
        (what, remedy), (quoi, remede) = english.RULES[rule], french.RULES[rule]
        assert known[f"{what} ({{0}}). {remedy}"] == f"{quoi} ({{0}}). {remede}", rule
        assert known[f"{what}. {remedy}"] == f"{quoi}. {remede}", rule


def told(api: Api, body: dict[str, object]) -> list[str]:
    answer = api.post(str(body["resourceType"]), body, **{"Accept-Language": "fr-FR, fr;q=0.9", "Prefer": TOLD})
    return [issue["diagnostics"] for issue in answer.get_json()["issue"]]


TOLD = "return=OperationOutcome"
SLOT: dict[str, object] = {
    "resourceType": "Slot",
    "schedule": {"reference": "Schedule/s"},
    "status": "free",
    "start": "2026-12-07T08:00:00Z",
    "end": "2026-12-07T09:20:00.000+01:00",
}
ACCOUNT: dict[str, object] = {
    "resourceType": "Practitioner",
    "meta": {"source": "urn:oid:1.2.250.1.213.3.6"},
    "active": True,
}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            SLOT | {"meta": {"profile": ["http://sas.fr/fhir/StructureDefinition/FrSlotAgregateur"]}},
            "Slot.comment : Le créneau n'a pas de page de prise de rendez-vous",
        ),
        (SLOT, "Slot.start : 2026-12-07T08:00:00Z a été converti avec millisecondes et décalage horaire"),
        (ACCOUNT, "Un compte de régulateur doit avoir un nom avec family et given."),
    ],
    ids=["rule", "correction", "account"],
)
def test_issues_are_told_in_french_to_who_prefers_it(api: Api, body: dict[str, object], text: str) -> None:
    assert any(one.startswith(text) for one in told(api, body)), told(api, body)
