"""Regulator accounts over HTTP: the flow INT_R02, in the order in which the official test kit goes through it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from support.api import Api
from werkzeug.test import TestResponse

IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
PLATFORM = "urn:oid:1.2.250.1.213.3.6"
V2 = "http://interopsante.org/fhir/CodeSystem/fr-v2-0203"
REGULATOR = "https://interop.esante.gouv.fr/ig/fhir/sas/StructureDefinition/FrPractitionerRegul"
A, B = "3456780581/11242343", "3456780581/11242344"
U = "b6e39355-8a61-4556-b340-36f7b95fec6a"
MAIL = "sebastien.loridon@test.com"


def account(system: str = IDNPS, value: str = A, mail: str = MAIL, active: bool = True, **more: Any) -> dict[str, Any]:
    code = "IDNPS" if system == IDNPS else "INTRN"
    return {
        "resourceType": "Practitioner",
        "id": "example-regulator-1",
        "meta": {"source": PLATFORM, "profile": [REGULATOR]},
        "identifier": [{"type": {"coding": [{"system": V2, "code": code}]}, "system": system, "value": value}],
        "active": active,
        "name": [{"family": "Loridon", "given": ["Sébastien"]}],
        "telecom": [{"system": "email", "value": mail}],
        **more,
    }


def without(name: str, **more: Any) -> dict[str, Any]:
    body = account(**more)
    del body[name]
    return body


def put(api: Api, system: str, value: str, body: dict[str, Any], name: str = "identifier") -> TestResponse:
    return api.put(f"Practitioner?{name}={quote(f'{system}|{value}', safe='')}", body)


def new_id(answer: TestResponse) -> str:
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"].partition("/Practitioner/")[2].partition("/")[0]


def test_creation_answers_a_location_without_version_and_ignores_the_id(api: Api) -> None:
    answer = api.post("Practitioner", account())
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"http://localhost/fhir/Practitioner/{new_id(answer)}"
    assert new_id(answer) != "example-regulator-1"


def test_second_active_account_with_the_same_identifier_is_refused(api: Api) -> None:
    new_id(api.post("Practitioner", account(PLATFORM, U)))
    answer = api.post("Practitioner", account(PLATFORM, U, mail="other@test.com"))
    assert answer.status_code == 409
    assert U in answer.get_json()["issue"][0]["diagnostics"]


def test_mail_may_be_shared(api: Api) -> None:
    new_id(api.post("Practitioner", account()))
    new_id(api.post("Practitioner", account(PLATFORM, U)))


@pytest.mark.parametrize("name", ["identifier", "active", "name", "telecom"])
def test_what_an_account_needs_is_refused_when_missing(api: Api, name: str) -> None:
    assert api.post("Practitioner", without(name)).status_code == 422
    assert put(api, PLATFORM, U, without(name)).status_code == 422


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": [{"family": "Loridon"}]},
        {"name": [{"given": ["Anne"]}]},
        {"name": [{"family": "Loridon", "given": ["Anne", "Marie"]}]},
        {"telecom": [{"system": "phone", "value": "+33600000000"}]},
        {"identifier": [{"system": PLATFORM}]},
    ],
)
def test_refusals_say_what_is_wrong(api: Api, wrong: dict[str, Any]) -> None:
    answer = api.post("Practitioner", account(**wrong))
    assert answer.status_code == 422
    expressions = [e for i in answer.get_json()["issue"] for e in i.get("expression", ())]
    assert any(e.startswith(f"Practitioner.{next(iter(wrong))}") for e in expressions)


def test_update_by_identifier_keeps_the_id_and_ignores_the_one_in_the_body(api: Api) -> None:
    id = new_id(api.post("Practitioner", account()))
    answer = put(api, IDNPS, A, account(active=False))
    assert (answer.status_code, answer.headers["Location"]) == (200, f"http://localhost/fhir/Practitioner/{id}")
    assert api.get(f"Practitioner/{id}").get_json()["active"] is False
    assert put(api, IDNPS, A, account(active=True)).status_code == 200


def test_update_may_change_the_identifier(api: Api) -> None:
    id = new_id(api.post("Practitioner", account()))
    assert put(api, IDNPS, A, account(value=B)).status_code == 200
    assert api.get(f"Practitioner/{id}").get_json()["identifier"][0]["value"] == B


def test_update_of_an_unknown_account_creates_it_once(api: Api) -> None:
    id = new_id(put(api, PLATFORM, U, account(PLATFORM, U)))
    assert id != "example-regulator-1"
    assert put(api, PLATFORM, U, account(PLATFORM, U)).status_code == 200


def test_update_whose_criteria_name_no_account_creates_whatever_the_body_holds(api: Api) -> None:
    new_id(api.post("Practitioner", account(PLATFORM, U)))
    new_id(put(api, IDNPS, U, account(PLATFORM, A, mail=f"{U}{MAIL}")))


def test_identifier_of_a_disabled_account_can_be_taken_over(api: Api) -> None:
    new_id(put(api, IDNPS, A, account(active=False)))
    new_id(api.post("Practitioner", account(PLATFORM, U)))
    assert put(api, PLATFORM, U, account(IDNPS, A)).status_code == 200


def test_identifier_of_an_active_account_cannot_be_taken_over(api: Api) -> None:
    new_id(api.post("Practitioner", account()))
    new_id(api.post("Practitioner", account(PLATFORM, U)))
    assert put(api, PLATFORM, U, account(IDNPS, A)).status_code == 409


def test_of_several_accounts_the_active_one_is_meant(api: Api) -> None:
    new_id(put(api, IDNPS, A, account(active=False)))
    active = new_id(api.post("Practitioner", account()))
    answer = put(api, IDNPS, A, account(mail="new@test.com"))
    assert (answer.status_code, answer.headers["Location"].rpartition("/")[2]) == (200, active)


def test_identifier_may_be_spelt_with_a_capital(api: Api) -> None:
    id = new_id(api.post("Practitioner", account()))
    answer = put(api, IDNPS, A, account(), name="Identifier")
    assert (answer.status_code, answer.headers["Location"].rpartition("/")[2]) == (200, id)


def test_account_update_never_touches_a_practising_professional(api: Api) -> None:
    professional = {
        "resourceType": "Practitioner",
        "identifier": [{"system": IDNPS, "value": "810002673899"}],
        "name": [{"family": "Morvan"}],
    }
    id = new_id(api.post("Practitioner", professional))
    new_id(put(api, IDNPS, "810002673899", account(value="810002673899")))
    assert api.get(f"Practitioner/{id}").get_json()["name"] == [{"family": "Morvan"}]


def test_update_of_a_professional_never_touches_an_account(api: Api) -> None:
    regulator = new_id(api.post("Practitioner", account(value="810002673899")))
    professional = {"resourceType": "Practitioner", "identifier": [{"system": IDNPS, "value": "810002673899"}]}
    id = new_id(put(api, IDNPS, "810002673899", professional))
    assert id != regulator
    assert put(api, IDNPS, "810002673899", {**professional, "active": True}).status_code == 200
    assert api.get(f"Practitioner/{regulator}").get_json()["name"][0]["family"] == "Loridon"


def test_account_that_only_claims_its_profile_gets_its_source(api: Api) -> None:
    claimed = REGULATOR.replace("https://interop.esante.gouv.fr/ig/fhir/sas/", "http://interopsante.org/fhir/")
    answer = api.post("Practitioner", account(meta={"profile": [claimed]}), Prefer="return=OperationOutcome")
    assert ["Practitioner.meta.source"] in [i.get("expression") for i in answer.get_json()["issue"]]
    id = new_id(answer)
    assert api.get(f"Practitioner/{id}").get_json()["meta"]["source"] == PLATFORM
    assert put(api, IDNPS, A, account()).status_code == 200


def test_account_of_another_source_is_refused(api: Api) -> None:
    answer = api.post("Practitioner", account(meta={"source": "urn:oid:1.2.3", "profile": [REGULATOR]}))
    assert answer.status_code == 422
    assert answer.get_json()["issue"][0]["expression"] == ["Practitioner.meta.source"]


def test_account_update_with_other_criteria_is_refused(api: Api) -> None:
    answer = api.put("Practitioner?family=Loridon", account())
    assert answer.status_code == 400


@pytest.mark.parametrize("criteria", [A, f"{IDNPS}|", f"|{A}", f"{IDNPS}|{A},{U}", ""])
def test_account_update_by_half_an_identifier_is_refused(api: Api, criteria: str) -> None:
    new_id(api.post("Practitioner", account()))
    answer = api.put(f"Practitioner?identifier={quote(criteria, safe='')}", account(mail="new@test.com"))
    assert answer.status_code == 400
    assert "identifier=system|value" in answer.get_json()["issue"][0]["diagnostics"]
    assert len(api.ids("Practitioner?email=new@test.com")) == 0


def test_professionals_need_nothing_of_all_this(api: Api) -> None:
    answer = api.post("Practitioner", {"resourceType": "Practitioner", "active": True})
    assert answer.status_code == 201
    assert "/_history/" in answer.headers["Location"]
