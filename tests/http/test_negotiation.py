"""Media types, charset, _format, CORS, health: https://hl7.org/fhir/R4/http.html#mime-type"""

from __future__ import annotations

from typing import Any

import pytest
from support.api import Api, issue, patient


@pytest.mark.parametrize(
    "media",
    [
        "application/fhir+json",
        "application/json+fhir",
        "application/json",
        "text/json",
        "application/fhir+json;charset=utf-8",
        "application/fhir+json; charset=UTF-8; fhirVersion=4.0",
        "*/*",
        "application/*",
        "text/html, application/fhir+json;q=0.9",
    ],
)
def test_json_is_served_under_all_its_names(api: Api, media: str) -> None:
    answer = api.get("Patient", Accept=media)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/fhir+json")


@pytest.mark.parametrize(
    "media", ["text/html", "application/fhir+xml", "application/fhir+json;fhirVersion=3.0", "application/json;q=0"]
)
def test_other_answers_are_not_acceptable(api: Api, media: str) -> None:
    answer = api.get("Patient", Accept=media)
    assert answer.status_code == 406
    assert "application/fhir+json" in issue(answer)["diagnostics"]


@pytest.mark.parametrize("format", ["json", "application/fhir+json", "application/fhir%2Bjson", "application/json"])
def test_format_wins_over_accept(api: Api, format: str) -> None:
    assert api.get(f"Patient?_format={format}", Accept="text/html").status_code == 200


def test_unknown_formats_are_not_acceptable(api: Api) -> None:
    assert api.get("Patient?_format=turtle").status_code == 406


@pytest.mark.parametrize(
    "media",
    ["application/json", "application/json+fhir; charset=utf-8", "text/json", "application/fhir+json;fhirVersion=4.0"],
)
def test_bodies_are_taken_under_all_names(api: Api, media: str) -> None:
    assert api.post("Patient", patient(), Content_Type=media).status_code == 201


@pytest.mark.parametrize(
    "media",
    [
        "text/plain",
        "application/fhir+xml",
        "application/fhir+json;charset=latin-1",
        "application/fhir+json;fhirVersion=5.0",
    ],
)
def test_other_bodies_are_refused(api: Api, media: str) -> None:
    answer = api.post("Patient", patient(), Content_Type=media)
    assert answer.status_code == 415
    issue(answer)


@pytest.mark.parametrize("given", ["gzip", "GZIP", "deflate", "br", "x-unknown", "identity, gzip"])
def test_bodies_in_a_content_encoding_are_refused(api: Api, given: str) -> None:
    body = patient(id="a")
    transaction = {"resourceType": "Bundle", "type": "transaction", "entry": []}
    for answer in (
        api.put("Patient/a", body, **{"Content-Encoding": given}),
        api.post("Patient", body, **{"Content-Encoding": given}),
        api.post("", transaction, **{"Content-Encoding": given}),
        api.post("Patient/$validate", body, **{"Content-Encoding": given}),
        api.app.test_client().post(
            "/fhir/Patient/_search", data={"active": "true"}, headers={"Content-Encoding": given}
        ),
    ):
        assert answer.status_code == 415, answer.text
        assert issue(answer)["expression"] == ["http.Content-Encoding"]
    assert api.ids("Patient") == []


@pytest.mark.parametrize("given", ["identity", "Identity ", ""])
def test_bodies_without_a_content_encoding_are_accepted(api: Api, given: str) -> None:
    assert api.put("Patient/a", patient(id="a"), **{"Content-Encoding": given}).status_code == 201


def test_cors_is_off_until_set(api: Api) -> None:
    assert "Access-Control-Allow-Origin" not in api.get("Patient", Origin="https://app.example").headers


def test_cors_allows_the_origins_of_the_setting(make_api: Any) -> None:
    api = make_api(cors_origins=("https://app.example",))
    assert (
        api.get("Patient", Origin="https://app.example").headers["Access-Control-Allow-Origin"] == "https://app.example"
    )
    assert "Access-Control-Allow-Origin" not in api.get("Patient", Origin="https://evil.example").headers
    ahead = api.call(
        "OPTIONS",
        "Patient",
        Origin="https://app.example",
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="content-type",
    )
    assert "POST" in ahead.headers["Access-Control-Allow-Methods"]
    assert ahead.headers["Access-Control-Allow-Headers"] == "content-type"


def test_health_reports_liveness_and_readiness(api: Api) -> None:
    assert api.get("/health/live").status_code == 200
    assert api.get("/health/ready").status_code == 200


def test_metadata_is_the_effective_statement(api: Api) -> None:
    statement = api.get("metadata").get_json()
    assert statement["resourceType"] == "CapabilityStatement"
    assert statement["fhirVersion"] == "4.0.1"
    assert statement["implementation"]["url"] == "http://localhost/fhir"
    assert {r["type"] for r in statement["rest"][0]["resource"]} >= {"Patient", "Slot", "Observation"}


def test_the_base_url_of_the_setting_is_used_in_links(make_api: Any) -> None:
    api = make_api(base_url="https://fhir.example.org/r4/")
    assert api.post("Patient", patient()).headers["Location"].startswith("https://fhir.example.org/r4/Patient/")


def test_a_slash_at_the_end_does_no_harm(api: Api) -> None:
    assert api.get("Patient/").status_code == 200
    assert api.get("metadata/").status_code == 200
