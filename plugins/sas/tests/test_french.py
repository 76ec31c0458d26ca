"""The French texts of the plugin's issues, as the catalogue has them."""

from __future__ import annotations

import pytest
from support.api import Api


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
