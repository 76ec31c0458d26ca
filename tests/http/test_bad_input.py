"""Whatever comes in: a 4xx OperationOutcome that says where and what would be right, and nothing stored."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from support.any_request import AnyRequest, environ_of
from support.api import Api, issue, patient, serving
from werkzeug.test import run_wsgi_app


def refused(api: Api, answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, (answer.status_code, answer.text[:300])
    first = issue(answer)
    assert "Traceback" not in answer.text
    assert api.get("_history").get_json()["total"] == 0
    assert api.get("Patient").status_code == 200  # the server is alive
    return first


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"Patient"',
        b'{"resourceType":"Patient","resourceType":"Patient"}',
        b'{"resourceType":"Patient","active":NaN}',
        b'{"resourceType":"Patient","active":true,}',
        b"\xff\xfe{}",
        b'{"resourceType":"Patient","name":[{"family":"\\ud800"}]}',
        b'{"resourceType":"Patient","multipleBirthInteger":' + b"9" * 5000 + b"}",
        random.Random(1).randbytes(1024 * 1024),
    ],
)
def test_what_is_not_json_is_refused(api: Api, body: bytes) -> None:
    refused(api, api.post("Patient", body), 400)


def test_the_place_of_a_json_error_is_told(api: Api) -> None:
    first = refused(api, api.post("Patient", b'{\n  "resourceType": "Patient",\n  oops\n}'), 400)
    assert "line 3" in first["diagnostics"]


def test_deep_nesting_is_refused(api: Api) -> None:
    first = refused(
        api, api.post("Patient", b'{"resourceType":"Patient","extension":' + b"[" * 1000 + b"]" * 1000 + b"}"), 422
    )
    assert "max_nesting" in first["diagnostics"]


def test_nesting_inside_strings_does_not_count(api: Api) -> None:
    assert api.post("Patient", patient("[" * 500 + '"' + "{" * 500)).status_code == 201


def test_bodies_beyond_the_limit_are_refused(make_api: Any) -> None:
    api = make_api(max_body_bytes=1000)
    first = refused(api, api.post("Patient", json.dumps(patient("x" * 2000))), 413)
    assert "max_body_bytes" in first["diagnostics"]


def test_another_type_than_the_urls_is_refused(api: Api) -> None:
    first = refused(api, api.post("Patient", {"resourceType": "Observation"}), 400)
    assert first["expression"] == ["Patient.resourceType"]
    refused(api, api.post("Patient", {"name": []}), 400)


def test_another_id_than_the_urls_is_refused(api: Api) -> None:
    first = refused(api, api.put("Patient/a", patient(id="b")), 400)
    assert first["expression"] == ["Patient.id"]
    refused(api, api.put("Patient/a", patient()), 400)


@pytest.mark.parametrize("id", ["a" * 65, "a_b", "a%20b", "%C3%A9", "a$b", "%00"])
def test_ids_out_of_form_are_refused(api: Api, id: str) -> None:
    answer = api.put(f"Patient/{id}", patient(id=id))
    refused(api, answer, 400)


def test_nul_characters_are_refused(api: Api) -> None:
    first = refused(api, api.post("Patient", patient("a\x00b")), 422)
    assert first["expression"] == ["Patient.name[0].family"]


def test_invalid_resources_are_refused_with_their_place(api: Api) -> None:
    answer = api.post("Patient", patient(birthDate="2023-02-30", gender="m", nonsense=1))
    refused(api, answer, 422)
    places = {e for i in answer.get_json()["issue"] for e in i["expression"]}
    assert {"Patient.birthDate", "Patient.gender", "Patient.nonsense"} <= places


def test_validation_can_warn_instead(make_api: Any) -> None:
    api = make_api(validation="warn")
    answer = api.post("Patient", patient(gender="m"), Prefer="return=OperationOutcome")
    assert answer.status_code == 201
    assert answer.get_json()["issue"][0]["severity"] == "warning"


def test_validation_can_be_off(make_api: Any) -> None:
    api = make_api(validation="off")
    assert api.post("Patient", patient(gender="m")).status_code == 201


@pytest.mark.parametrize(
    "query",
    [
        "birthdate=yesterday",
        "birthdate=2023-02-30",
        "birthdate=ge",
        "birthdate=xx2020",
        "_lastUpdated=1",
        "family:nonsense=x",
        "gender:exact=x",
        "_sort=nonsense&_total=no",
        "_count=-1",
        "_count=many",
        "_summary=maybe",
        "_page=abc",
        "_page=%00%ff",
        "name=%ff",
        "general-practitioner:Slot=1",
        "_has:Observation=1",
        "_has:Observation:patient=1",
        "_has:Nothing:patient:code=1",
        "general-practitioner.nonsense=1",
        "active:missing=maybe",
    ],
)
def test_bad_searches_are_refused(api: Api, query: str) -> None:
    answer = api.get(f"Patient?{query}")
    assert answer.status_code == 400, answer.text
    issue(answer)


@pytest.mark.parametrize("query", ["nonsense=1", "_nonsense=1", "name.given=1", "_sort=nonsense", "_include=Nothing:x"])
def test_unknown_parameters_are_refused_under_strict_handling(api: Api, query: str) -> None:
    answer = api.get(f"Patient?{query}", Prefer="handling=strict")
    assert answer.status_code == 400, answer.text
    issue(answer)


def test_unknown_parameters_are_told_and_left_out_of_the_self_link_otherwise(api: Api) -> None:
    id = api.created(patient())["id"]
    answer = api.get("Patient?nonsense=1&family=martin").get_json()
    assert [e["search"]["mode"] for e in answer["entry"]] == ["match", "outcome"]
    assert answer["entry"][0]["resource"]["id"] == id
    assert "nonsense" in answer["entry"][1]["resource"]["issue"][0]["diagnostics"]
    assert "nonsense" not in answer["link"][0]["url"]
    assert answer["total"] == 1


HOSTILE = [
    "'; DROP TABLE docs; --",
    '" OR 1=1',
    "%",
    "_",
    "*",
    "$where",
    '{"$gt":""}',
    "a' OR 'a'='a",
    "\\",
    "\x1fx",
    "a,b\\,c|d",
    "[",
    "(((",
    "é",
    "😀",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "name",
    [
        "family",
        "family:exact",
        "family:contains",
        "identifier",
        "gender",
        "_id",
        "organization",
        "_profile",
        "_tag",
        "organization.name",
    ],
)
def test_operators_of_database_languages_are_just_text(api: Api, name: str, text: str) -> None:
    from urllib.parse import quote

    id = api.created(patient("Zyg", gender="female"))["id"]
    answer = api.get(f"Patient?{name}={quote(text)}")
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 200:
        assert "entry" not in answer.get_json()
    assert api.ids("Patient") == [id]


def test_paths_that_are_no_resource_are_404(api: Api) -> None:
    for path in (
        "/",
        "/fhir/Patient/1/_history/1/2",
        "/fhirx",
        "/fhir/patient",
        "/fhir/Patient/1/$nonsense",
    ):
        answer = api.get(path)
        assert answer.status_code == 404, path
        issue(answer)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/fhir/Patient/_search", 415), ("PUT", "/fhir/Patient/a", 400), ("GET", "/jobs", 200)],
)
def test_a_query_string_with_bytes_that_are_not_utf_8_is_no_internal_error(
    api: Api, method: str, path: str, status: int
) -> None:
    request = AnyRequest(method, f"{path}?a=\xff", [("Content-Type", "application/fhir+json")], b"{}")
    _, answered, _ = run_wsgi_app(api.app, environ_of(request), buffered=True)
    assert answered.startswith(str(status))


def test_an_unknown_type_is_404_and_an_undeclared_interaction_405(api: Api) -> None:
    unknown = api.get("patient/1")
    assert unknown.status_code == 404
    assert "'patient' is not a FHIR R4 resource type. Names are case-sensitive" in issue(unknown)["diagnostics"]
    interactions = api.ctx.registry.types["Patient"].interactions - {"read"}
    undeclared = serving(api, "Patient", interactions=interactions).get("Patient/1")
    assert undeclared.status_code == 405
    assert "The interaction read is not supported for Patient" in issue(undeclared)["diagnostics"]


def test_methods_that_are_not_possible_are_405(api: Api) -> None:
    answer = api.call("PATCH", "Patient/1", {})
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]
    issue(answer)


def test_internal_errors_carry_an_id_that_the_log_has_too(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(type(api.ctx.store), "read", broken)
    answer = api.get("Patient/1")
    assert answer.status_code == 500
    text = issue(answer)["diagnostics"]
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    id = next(word for word in text.replace(".", " ").split() if len(word) == 32)
    assert id in caplog.text


@pytest.mark.parametrize("headers", [{}, {"Prefer": "handling=strict"}])
def test_what_was_sent_is_not_repeated_without_end(api: Api, headers: dict[str, str]) -> None:
    for query in (f"{'x' * 50_000}=1", f"{'x' * 50_000}=", f"{'general-practitioner.' * 3000}x=1"):
        answer = api.get(f"Patient?{query}", **headers)
        assert answer.status_code in (200, 400, 422)
        assert len(answer.data) < 5000
    first = refused(api, api.post("Patient", {"resourceType": "x" * 50_000}), 400)
    assert len(first["diagnostics"]) == 2000
    assert first["diagnostics"].endswith("x…")
