"""What is validated on a write: the resource as it will be stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, Template, issue, patient
from support.terms import catalog

from fhirstore.http.app import make_app
from fhirstore.interactions.server import Server
from fhirstore.validation.validator import ResourceValidator

STRICT = "http://example.org/StructureDefinition/strict"
CLAIMED = {"profile": [STRICT]}
Json = dict[str, Any]


def required(*paths: str) -> Json:
    """A profile of Patient that requires elements."""
    elements = [{"id": path, "path": path, "min": 1} for path in paths]
    return {
        "resourceType": "StructureDefinition",
        "url": STRICT,
        "name": "strict",
        "kind": "resource",
        "type": "Patient",
        "derivation": "constraint",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient",
        "differential": {"element": elements},
    }


@pytest.fixture
def strict(server: Server) -> Api:
    """A server with a profile that requires what the server assigns."""
    profile = required("Patient.id", "Patient.meta", "Patient.meta.versionId", "Patient.meta.lastUpdated")
    made = replace(server, validator=ResourceValidator(catalog([profile])))
    return Api(make_app(made), made)


@pytest.mark.parametrize("sent", [{}, {"id": "own"}, {"language": "fr"}], ids=["no id", "an id", "another element"])
def test_create_fulfils_a_profile_that_requires_what_the_server_assigns(strict: Api, sent: Json) -> None:
    answer = strict.post("Patient", patient(meta=CLAIMED, **sent))

    assert answer.status_code == 201, answer.text


def test_update_fulfils_it_too(strict: Api) -> None:
    for status in (201, 200):
        answer = strict.put("Patient/p", patient(id="p", meta=CLAIMED, gender="male" if status == 200 else "female"))
        assert answer.status_code == status, answer.text
    answer = strict.put(
        "Patient?identifier=urn:k%7C1", patient(meta=CLAIMED, identifier=[{"system": "urn:k", "value": "1"}])
    )
    assert answer.status_code == 201, answer.text


def test_entries_of_bundles_fulfil_it_too(strict: Api) -> None:
    entry = {"resource": patient(meta=CLAIMED), "request": {"method": "POST", "url": "Patient"}}
    for type in ("batch", "transaction"):
        answer = strict.post("", {"resourceType": "Bundle", "type": type, "entry": [entry]})
        assert [e["response"]["status"][:3] for e in answer.get_json()["entry"]] == ["201"], answer.text


def test_assigned_elements_are_not_stored_twice(strict: Api) -> None:
    stored = strict.created(patient(meta=CLAIMED))

    assert stored["meta"].keys() == {"versionId", "lastUpdated", "profile"}
    assert stored["meta"]["versionId"] == "1"


def test_other_required_elements_are_still_missed(server: Server) -> None:
    made = replace(server, validator=ResourceValidator(catalog([required("Patient.id", "Patient.birthDate")])))

    answer = Api(make_app(made), made).post("Patient", patient(meta=CLAIMED))

    assert answer.status_code == 422
    assert issue(answer)["expression"] == ["Patient.birthDate"]


@pytest.mark.parametrize("meta", [[], "x", {"lastUpdated": "yesterday"}, {"versionId": 1}])
def test_malformed_meta_is_refused_as_before(strict: Api, meta: Any) -> None:
    answer = strict.post("Patient", patient(meta=meta))

    assert answer.status_code == 422
    assert issue(answer)["expression"][0].startswith("Patient.meta")


@pytest.mark.parametrize(
    ("mode", "errors"),
    [(None, ["Patient.id", "Patient.meta.versionId", "Patient.meta.lastUpdated"]), ("create", [])],
)
def test_validate_checks_the_resource_as_it_is_unless_it_is_to_be_created(
    strict: Api, mode: str | None, errors: list[str]
) -> None:
    parameters: list[Json] = [
        {"name": "resource", "resource": patient(meta=CLAIMED)},
        {"name": "profile", "valueUri": STRICT},
    ]
    if mode is not None:
        parameters.append({"name": "mode", "valueCode": mode})

    answer = strict.post("Patient/$validate", {"resourceType": "Parameters", "parameter": parameters})

    found = [i["expression"][0] for i in answer.get_json()["issue"] if i["severity"] == "error"]
    assert found == errors


QUESTIONNAIRE = {
    "resourceType": "Questionnaire",
    "url": "http://example.org/Questionnaire/q",
    "status": "active",
    "item": [{"linkId": "1", "type": "string", "required": True}],
}
RESPONSE = {"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": QUESTIONNAIRE["url"]}
ANSWERED = RESPONSE | {"item": [{"linkId": "1", "answer": [{"valueString": "a"}]}]}


@pytest.mark.parametrize(("policy", "status"), [("off", 201), ("warn", 201), ("enforce", 422)])
def test_a_response_fits_its_stored_questionnaire_by_setting(
    template: Template, tmp_path: Path, policy: str, status: int
) -> None:
    api = template.fresh(tmp_path / "q.db", questionnaire_responses=policy)
    assert api.post("QuestionnaireResponse", RESPONSE).status_code == 201  # the questionnaire is unknown
    assert api.post("Questionnaire", QUESTIONNAIRE).status_code == 201

    answer = api.post("QuestionnaireResponse", RESPONSE)

    assert answer.status_code == status, answer.text
    assert api.post("QuestionnaireResponse", ANSWERED).status_code == 201


def test_validate_reports_a_response_that_does_not_fit(server: Server) -> None:
    api = Api(make_app(server), server)
    assert api.post("Questionnaire", QUESTIONNAIRE).status_code == 201

    def errors(response: Json) -> list[str]:
        found = api.post("QuestionnaireResponse/$validate", response).get_json()["issue"]
        return [i["code"] for i in found if i["severity"] == "error"]

    assert errors(RESPONSE) == ["required"]
    assert errors(ANSWERED) == []
