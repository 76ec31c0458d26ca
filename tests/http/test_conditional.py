"""https://hl7.org/fhir/R4/http.html#ccreate, #cond-update, #3.1.0.7.1"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.api import Api, issue, patient, serving

INS = "urn:oid:1.2.3"


def known(value: str, **more: object) -> dict[str, object]:
    return patient(identifier=[{"system": INS, "value": value}], **more)


def test_a_conditional_create_creates_once(api: Api) -> None:
    first = api.post("Patient", known("1"), If_None_Exist=f"identifier={INS}|1")
    second = api.post("Patient", known("1"), If_None_Exist=f"identifier={INS}|1")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.get_json()["id"] == second.get_json()["id"]
    assert len(api.ids("Patient")) == 1


def test_a_conditional_create_with_several_matches_is_refused(api: Api) -> None:
    api.created(known("1"))
    api.created(known("1"))
    answer = api.post("Patient", known("1"), If_None_Exist=f"identifier={INS}|1")
    assert answer.status_code == 412
    assert issue(answer)["code"] == "multiple-matches"
    assert len(api.ids("Patient")) == 2


def test_a_conditional_update_creates_then_updates(api: Api) -> None:
    path = f"Patient?identifier={INS}%7C7"
    first = api.put(path, known("7"))
    second = api.put(path, known("7", active=True))
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.get_json()["id"] == first.get_json()["id"]
    assert second.headers["ETag"] == 'W/"2"'


def test_a_conditional_update_refuses_another_id_in_the_body(api: Api) -> None:
    api.put(f"Patient?identifier={INS}|7", known("7"))
    answer = api.put(f"Patient?identifier={INS}|7", known("7", id="other"))
    assert answer.status_code == 400
    assert issue(answer)["expression"] == ["Patient.id"]


def test_a_conditional_update_without_match_takes_the_clients_id(api: Api) -> None:
    answer = api.put(f"Patient?identifier={INS}|7", known("7", id="mine"))
    assert answer.status_code == 201
    assert answer.get_json()["id"] == "mine"


def test_a_conditional_update_with_several_matches_is_refused(api: Api) -> None:
    api.created(known("1"))
    api.created(known("1"))
    assert api.put(f"Patient?identifier={INS}|1", known("1", active=True)).status_code == 412


def test_conditional_criteria_must_be_understood_in_full(api: Api) -> None:
    for query in ("", "unknown=1", "identifier=", "_count=1"):
        answer = api.put(f"Patient?{query}", known("1"))
        assert answer.status_code == 400, query
        issue(answer)
    assert api.ids("Patient") == []


def test_a_conditional_delete_removes_the_match(api: Api) -> None:
    id = api.created(known("1"))["id"]
    assert api.delete(f"Patient?identifier={INS}|1").status_code == 204
    assert api.get(f"Patient/{id}").status_code == 410
    assert api.delete(f"Patient?identifier={INS}|1").status_code == 204


def test_if_match_works_with_conditional_updates(api: Api) -> None:
    path = f"Patient?identifier={INS}|1"
    api.put(path, known("1"))
    assert api.put(path, known("1", active=True), If_Match='W/"9"').status_code == 412
    assert api.put(path, known("1", active=True), If_Match='W/"1"').status_code == 200


@pytest.mark.parametrize("method", ["put", "delete"])
@pytest.mark.parametrize(
    ("header", "given", "passes"),
    [
        ("If-Match", 'W/"1"', True),
        ("If-Match", 'W/"9", W/"1"', True),
        ("If-Match", 'W/"9"', False),
        ("If-None-Match", "*", False),
        ("If-None-Match", 'W/"1"', False),
        ("If-None-Match", 'W/"9"', True),
    ],
)
def test_conditions_on_the_version_apply_to_the_match(
    api: Api, method: str, header: str, given: str, passes: bool
) -> None:
    sent = patient(identifier=[{"system": "urn:a", "value": "1"}])
    id = api.created(sent)["id"]
    url = "Patient?identifier=urn:a|1"
    answer = (
        api.delete(url, **{header: given})
        if method == "delete"
        else api.put(url, {**sent, "active": True}, **{header: given})
    )
    assert (answer.status_code != 412) is passes, answer.text
    assert api.get(f"Patient/{id}").status_code == (410 if passes and method == "delete" else 200)


def test_if_match_refuses_a_conditional_delete_that_matches_nothing(api: Api) -> None:
    assert api.delete("Patient?identifier=urn:a|1", **{"If-Match": 'W/"1"'}).status_code == 412


def test_unsafe_criteria_of_a_conditional_delete_are_refused(api: Api) -> None:
    api.created(patient())
    assert api.delete("Patient").status_code == 400
    assert len(api.ids("Patient")) == 1


def test_a_conditional_create_that_finds_a_match_says_where_it_is(api: Api) -> None:
    id = api.created(known("1"))["id"]
    answer = api.post("Patient", known("1"), If_None_Exist=f"identifier={INS}|1")
    assert answer.headers["Location"].endswith(f"/fhir/Patient/{id}/_history/1")


def test_if_none_exist_may_be_a_whole_url(api: Api) -> None:
    api.created(known("1"))
    answer = api.post("Patient", known("1"), If_None_Exist=f"Patient?identifier={INS}|1")
    assert answer.status_code == 200


def test_if_match_refuses_a_conditional_update_that_matches_nothing(api: Api) -> None:
    assert api.put(f"Patient?identifier={INS}|1", known("1"), If_Match='W/"1"').status_code == 412
    assert api.ids("Patient") == []


def test_a_conditional_update_does_not_replace_what_its_criteria_do_not_match(api: Api) -> None:
    api.put("Patient/mine", patient(id="mine"))
    answer = api.put(f"Patient?identifier={INS}|7", known("7", id="mine"))
    assert answer.status_code == 409
    assert issue(answer)["expression"] == ["Patient.id"]
    assert "identifier" not in api.get("Patient/mine").get_json()


def test_a_conditional_update_may_create_again_under_a_deleted_id(api: Api) -> None:
    api.put("Patient/mine", patient(id="mine"))
    api.delete("Patient/mine")
    answer = api.put(f"Patient?identifier={INS}|7", known("7", id="mine"))
    assert (answer.status_code, answer.headers["ETag"]) == (201, 'W/"3"')


def test_a_conditional_delete_with_several_matches_is_refused_where_it_may_delete_one(api: Api) -> None:
    for _ in range(2):
        api.created(known("1"))
    answer = api.delete(f"Patient?identifier={INS}|1")
    assert answer.status_code == 412
    assert issue(answer)["code"] == "multiple-matches"
    assert len(api.ids("Patient")) == 2


def test_a_conditional_delete_removes_all_matches_where_it_may(api: Api) -> None:
    for value in ("1", "1", "2"):
        api.created(known(value))
    several = serving(api, "Patient", conditional_delete="multiple")
    assert several.delete(f"Patient?identifier={INS}|1").status_code == 204
    assert len(api.ids("Patient")) == 1


def test_a_conditional_delete_has_a_limit(make_api: Callable[..., Api]) -> None:
    api = make_api(max_bundle_entries=2)
    for _ in range(3):
        api.created(known("1"))
    several = serving(api, "Patient", conditional_delete="multiple")
    answer = several.delete(f"Patient?identifier={INS}|1")
    assert answer.status_code == 412
    assert "max_bundle_entries" in issue(answer)["diagnostics"]
    assert len(api.ids("Patient")) == 3


@pytest.mark.parametrize(
    ("flag", "value", "method"),
    [
        ("conditional_create", False, "POST"),
        ("conditional_update", False, "PUT"),
        ("conditional_delete", "not-supported", "DELETE"),
    ],
)
def test_a_conditional_interaction_that_is_not_declared_is_refused(
    api: Api, flag: str, value: object, method: str
) -> None:
    served = serving(api, "Patient", **{flag: value})
    criteria = f"identifier={INS}|1"
    path, headers = ("Patient", {"If_None_Exist": criteria}) if method == "POST" else (f"Patient?{criteria}", {})
    answer = served.call(method, path, None if method == "DELETE" else known("1"), **headers)
    assert answer.status_code == 412
    assert issue(answer)["code"] == "not-supported"
