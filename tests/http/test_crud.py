"""https://hl7.org/fhir/R4/http.html: read, vread, create, update, delete."""

from __future__ import annotations

import re
import time
import uuid
from typing import Any

import pytest
from support.api import Api, issue, patient, serving


def test_a_created_resource_is_read_back_as_sent_with_its_version(api: Api) -> None:
    answer = api.post("Patient", patient(meta={"tag": [{"code": "x"}]}))
    assert answer.status_code == 201
    stored = answer.get_json()
    assert answer.headers["Location"] == f"http://localhost/fhir/Patient/{stored['id']}/_history/1"
    assert answer.headers["ETag"] == 'W/"1"'
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", answer.headers["Last-Modified"])
    read = api.get(f"Patient/{stored['id']}")
    assert read.status_code == 200
    assert read.headers["Content-Type"] == "application/fhir+json;charset=utf-8"
    assert read.get_json() == stored
    assert stored["meta"].pop("versionId") == "1"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stored["meta"].pop("lastUpdated"))
    del stored["id"]
    assert stored == patient(meta={"tag": [{"code": "x"}]})


def test_the_id_of_a_created_resource_is_the_servers(api: Api) -> None:
    assert api.post("Patient", patient(id="mine")).get_json()["id"] != "mine"


def test_decimals_and_property_order_are_kept(api: Api) -> None:
    body = (
        b'{"resourceType":"Observation","valueQuantity":{"value":1.50,"unit":"mm"},"status":"final",'
        b'"code":{"text":"x"}}'
    )
    id = api.post("Observation", body).get_json()["id"]
    text = api.get(f"Observation/{id}").text
    assert '"value":1.50' in text
    assert text.index("valueQuantity") < text.index("status")


def test_an_update_makes_a_new_version_and_keeps_the_old_one(api: Api) -> None:
    one = api.created(patient("Martin"))
    two = api.put(f"Patient/{one['id']}", {**one, "name": [{"family": "Petit"}]})
    assert two.status_code == 200
    assert two.headers["ETag"] == 'W/"2"'
    assert two.headers["Location"].endswith("/_history/2")
    assert api.get(f"Patient/{one['id']}/_history/1").get_json()["name"][0]["family"] == "Martin"
    assert api.get(f"Patient/{one['id']}/_history/2").get_json()["name"][0]["family"] == "Petit"


def test_an_update_that_changes_nothing_makes_no_new_version(api: Api) -> None:
    one = api.created(patient())
    again = api.put(f"Patient/{one['id']}", one)
    assert again.status_code == 200
    assert again.headers["ETag"] == 'W/"1"'


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tag", [{"system": "urn:t", "code": "new"}]),
        ("security", [{"system": "urn:s", "code": "R"}]),
        ("profile", ["http://hl7.org/fhir/StructureDefinition/Patient"]),
        ("source", "urn:source"),
        ("extension", [{"url": "http://example.org/e", "valueString": "x"}]),
    ],
)
def test_an_update_of_meta_alone_makes_a_new_version(api: Api, name: str, value: Any) -> None:
    api.put("Patient/a", patient(id="a"))
    added = api.put("Patient/a", patient(id="a", meta={name: value}))
    assert (added.status_code, added.headers["ETag"]) == (200, 'W/"2"')
    assert api.get("Patient/a").get_json()["meta"][name] == value

    removed = api.put("Patient/a", patient(id="a"))
    assert removed.headers["ETag"] == 'W/"3"'
    assert name not in api.get("Patient/a").get_json()["meta"]


def test_version_and_time_in_the_meta_of_an_update_do_not_count(api: Api) -> None:
    api.put("Patient/a", patient(id="a"))
    sent = patient(id="a", meta={"versionId": "7", "lastUpdated": "2001-01-01T00:00:00Z"})
    assert api.put("Patient/a", sent).headers["ETag"] == 'W/"1"'


def test_an_update_creates_under_the_clients_id(api: Api) -> None:
    answer = api.put("Patient/my-id.1", patient(id="my-id.1"))
    assert answer.status_code == 201
    assert api.get("Patient/my-id.1").status_code == 200


def test_if_match_refuses_a_stale_version_and_changes_nothing(api: Api) -> None:
    one = api.created(patient())
    path = f"Patient/{one['id']}"
    assert api.put(path, {**one, "active": True}, If_Match='W/"1"').status_code == 200
    stale = api.put(path, {**one, "active": False}, If_Match='W/"1"')
    assert stale.status_code == 412
    assert "2" in issue(stale)["diagnostics"]
    assert api.get(path).get_json()["active"] is True


def test_if_match_on_what_does_not_exist_is_refused(api: Api) -> None:
    assert api.put("Patient/none", patient(id="none"), If_Match='W/"1"').status_code == 412
    assert api.get("Patient/none").status_code == 404


@pytest.mark.parametrize("given", ['W/"9", W/"2"', 'W/"2", W/"9"', 'W/"9",W/"8" , W/"2"', '"9", "2"'])
def test_if_match_accepts_any_version_of_its_list(api: Api, given: str) -> None:
    api.put("Patient/a", patient(id="a"))
    api.put("Patient/a", patient(id="a", active=True))
    assert api.put("Patient/a", patient(id="a", active=False), **{"If-Match": given}).status_code == 200


@pytest.mark.parametrize("given", ['W/"9", W/"1"', 'W/"9"', 'W/"1", W/"22"'])
def test_if_match_refuses_a_list_without_the_current_version(api: Api, given: str) -> None:
    api.put("Patient/a", patient(id="a"))
    api.put("Patient/a", patient(id="a", active=True))
    answer = api.put("Patient/a", patient(id="a"), **{"If-Match": given})
    assert (answer.status_code, issue(answer)["expression"]) == (412, ["http.If-Match"])


def test_an_update_with_if_none_match_creates_only(api: Api) -> None:
    """https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2"""
    created = api.put("Patient/a", patient(id="a"), **{"If-None-Match": "*"})
    assert created.status_code == 201
    again = api.put("Patient/a", patient(id="a", active=True), **{"If-None-Match": "*"})
    assert (again.status_code, issue(again)["expression"]) == (412, ["http.If-None-Match"])
    assert "active" not in api.get("Patient/a").get_json()
    api.delete("Patient/a")
    assert api.put("Patient/a", patient(id="a"), **{"If-None-Match": "*"}).status_code == 201


@pytest.mark.parametrize(("given", "status"), [('W/"1"', 412), ('W/"7", W/"1"', 412), ('W/"2"', 200)])
def test_an_update_with_if_none_match_refuses_these_versions(api: Api, given: str, status: int) -> None:
    api.put("Patient/a", patient(id="a"))
    answer = api.put("Patient/a", patient(id="a", active=True), **{"If-None-Match": given})
    assert answer.status_code == status


def test_a_deletion_with_if_none_match_refuses_these_versions(api: Api) -> None:
    api.put("Patient/a", patient(id="a"))
    assert api.delete("Patient/a", **{"If-None-Match": 'W/"1"'}).status_code == 412
    assert api.delete("Patient/a", **{"If-None-Match": "*"}).status_code == 412
    assert api.delete("Patient/a", **{"If-None-Match": 'W/"2"'}).status_code == 204


def test_if_match_accepts_any_version_as_an_asterisk(api: Api) -> None:
    api.put("Patient/a", patient(id="a"))
    assert api.put("Patient/a", patient(id="a", active=True), If_Match="*").status_code == 200
    assert api.put("Patient/none", patient(id="none"), If_Match="*").status_code == 412


@pytest.mark.parametrize("version", ['W/"1"', 'W/"2"', "*"])
def test_if_match_on_a_deleted_resource_is_refused(api: Api, version: str) -> None:
    api.put("Patient/a", patient(id="a"))
    api.delete("Patient/a")
    assert api.put("Patient/a", patient(id="a"), If_Match=version).status_code == 412
    assert api.get("Patient/a").status_code == 410


def test_a_delete_with_if_match_removes_that_version_only(api: Api) -> None:
    api.put("Patient/a", patient(id="a"))
    api.put("Patient/a", patient(id="a", active=True))
    stale = api.delete("Patient/a", If_Match='W/"1"')
    assert stale.status_code == 412
    assert issue(stale)["code"] == "conflict"
    assert api.get("Patient/a").status_code == 200
    assert api.delete("Patient/a", If_Match='W/"2"').status_code == 204
    assert api.get("Patient/a").status_code == 410


def test_the_ids_of_new_resources_begin_with_their_time(api: Api) -> None:
    """UUIDv7, https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-7: the first 48 bits are milliseconds."""
    entry = {"resource": patient(), "request": {"method": "POST", "url": "Patient"}}
    before = time.time_ns() // 1_000_000
    ids = [api.created(patient())["id"], api.post("Patient", patient(), If_None_Exist="family=x").get_json()["id"]]
    ids.append(api.put("Patient?family=x", patient()).get_json()["id"])
    for kind in ("batch", "transaction"):
        answer = api.post("", {"resourceType": "Bundle", "type": kind, "entry": [entry]})
        ids.append(answer.get_json()["entry"][0]["response"]["location"].split("/")[1])
    after = time.time_ns() // 1_000_000

    times = [uuid.UUID(id).int >> 80 for id in ids]
    assert times == sorted(times)
    assert before <= times[0]
    assert times[-1] <= after
    assert {uuid.UUID(id).version for id in ids} == {7}


def test_a_deleted_resource_is_gone_and_its_history_stays(api: Api) -> None:
    id = api.created(patient())["id"]
    answer = api.delete(f"Patient/{id}")
    assert answer.status_code == 204
    assert answer.data == b""
    assert answer.headers["ETag"] == 'W/"2"'
    gone = api.get(f"Patient/{id}")
    assert gone.status_code == 410
    assert issue(gone)["code"] == "deleted"
    assert api.get(f"Patient/{id}/_history/1").status_code == 200
    assert api.get(f"Patient/{id}/_history/2").status_code == 410
    assert api.ids("Patient") == []


def test_deleting_twice_or_what_never_was_succeeds(api: Api) -> None:
    id = api.created(patient())["id"]
    assert [api.delete(f"Patient/{id}").status_code for _ in range(2)] == [204, 204]
    assert api.delete("Patient/never").status_code == 204
    assert api.get(f"Patient/{id}/_history").get_json()["total"] == 2


def test_a_deleted_id_can_be_used_again_and_its_versions_go_on(api: Api) -> None:
    api.put("Patient/a", patient(id="a"))
    api.delete("Patient/a")
    again = api.put("Patient/a", patient(id="a"))
    assert again.status_code == 201
    assert again.headers["ETag"] == 'W/"3"'


@pytest.mark.parametrize(
    ("preference", "status", "type"),
    [("minimal", 201, None), ("representation", 201, "Patient"), ("OperationOutcome", 201, "OperationOutcome")],
)
def test_prefer_return_decides_what_comes_back(api: Api, preference: str, status: int, type: str | None) -> None:
    answer = api.post("Patient", patient(), Prefer=f"return={preference}")
    assert answer.status_code == status
    assert "Location" in answer.headers
    assert (answer.get_json()["resourceType"] if type else answer.data) == (type or b"")


def test_reads_are_conditional(api: Api) -> None:
    one = api.post("Patient", patient())
    path = f"Patient/{one.get_json()['id']}"
    assert api.get(path, If_None_Match='W/"1"').status_code == 304
    assert api.get(path, If_None_Match='W/"0", W/"1"').status_code == 304
    assert api.get(path, If_None_Match='W/"2"').status_code == 200
    assert api.get(path, If_Modified_Since=one.headers["Last-Modified"]).status_code == 304
    assert api.get(path, If_Modified_Since="Mon, 01 Jan 2001 00:00:00 GMT").status_code == 200


@pytest.mark.parametrize(
    "date",
    [
        "nonsense",
        "",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2001 00:00:00 +99999999999999999999",
        "Fri, 31 Dec 9999 23:59:59 +9999",
    ],
)
def test_an_invalid_if_modified_since_is_ignored(api: Api, date: str) -> None:
    api.put("Patient/a", patient(id="a"))
    assert api.get("Patient/a", If_Modified_Since=date).status_code == 200


def test_if_none_match_counts_more_than_if_modified_since(api: Api) -> None:
    api.put("Patient/a", patient(id="a"))
    changed = api.put("Patient/a", patient(id="a", active=True))
    since = {"If_Modified_Since": changed.headers["Last-Modified"]}
    assert api.get("Patient/a", If_None_Match='W/"1"', **since).status_code == 200
    assert api.get("Patient/a", If_None_Match="*").status_code == 304


def test_not_modified_names_the_version(api: Api) -> None:
    api.put("Patient/a", patient(id="a"))
    answer = api.get("Patient/a", If_None_Match='W/"1"')
    assert (answer.status_code, answer.data) == (304, b"")
    assert answer.headers["ETag"] == 'W/"1"'


def test_a_deletion_can_be_answered_with_an_outcome(api: Api) -> None:
    api.put("Patient/a", patient(id="a"))
    answer = api.delete("Patient/a", Prefer="return=OperationOutcome")
    assert (answer.status_code, answer.get_json()["resourceType"]) == (200, "OperationOutcome")
    assert answer.headers["ETag"] == 'W/"2"'


def test_a_deleted_resource_names_the_version_of_its_deletion(api: Api) -> None:
    api.put("Patient/a", patient(id="a"))
    api.delete("Patient/a")
    assert api.get("Patient/a").headers["ETag"] == 'W/"2"'


def test_where_the_server_gives_ids_an_update_creates_nothing(api: Api) -> None:
    served = serving(api, "Patient", update_create=False)
    assert served.put("Patient/a", patient(id="a")).status_code == 405
    assert served.get("Patient/a").status_code == 404
    api.put("Patient/a", patient(id="a"))
    assert served.put("Patient/a", patient(id="a", active=True)).status_code == 200


def test_head_gives_the_headers_without_the_body(api: Api) -> None:
    id = api.created(patient())["id"]
    answer = api.call("HEAD", f"Patient/{id}")
    assert answer.status_code == 200
    assert answer.headers["ETag"] == 'W/"1"'
    assert answer.data == b""


def test_options_names_the_methods(api: Api) -> None:
    answer = api.call("OPTIONS", "Patient/1")
    assert answer.status_code == 200
    assert {"GET", "PUT", "DELETE"} <= set(answer.headers["Allow"].split(", "))


@pytest.mark.parametrize(
    "path", ["Patient/none", "Patient/none/_history/1", "Patient/none/_history", "Nothing/1", "Slot/1/2/3"]
)
def test_what_does_not_exist_is_404(api: Api, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    issue(answer)


@pytest.mark.parametrize("vid", ["0", "-1", "abc", "9" * 40, "2"])
def test_unknown_versions_are_404(api: Api, vid: str) -> None:
    id = api.created(patient())["id"]
    assert api.get(f"Patient/{id}/_history/{vid}").status_code == 404


def test_summary_and_elements_cut_a_read_down(api: Api) -> None:
    id = api.created(
        patient(active=True, text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'})
    )["id"]
    text = api.get(f"Patient/{id}?_summary=text").get_json()
    assert set(text) == {"resourceType", "id", "meta", "text"}
    elements = api.get(f"Patient/{id}?_elements=active").get_json()
    assert set(elements) == {"resourceType", "id", "meta", "active"}
    assert elements["meta"]["tag"][0]["code"] == "SUBSETTED"


def test_pretty_answers_hold_the_same(api: Api) -> None:
    one = api.created(patient())
    pretty = api.get(f"Patient/{one['id']}?_pretty=true")
    assert pretty.text.count("\n") > 5
    assert pretty.get_json() == one


@pytest.mark.parametrize("meta", [{"tag": 5}, {"tag": [5]}, 5])
def test_elements_of_what_was_stored_unchecked_are_cut_all_the_same(make_api: Any, meta: Any) -> None:
    api = make_api(validation="off")
    id = api.created(patient(active=True, meta=meta))["id"]
    assert api.get(f"Patient/{id}?_elements=active").get_json()["active"] is True
    assert api.get("Patient?_elements=active").status_code == 200
