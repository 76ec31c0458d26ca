"""https://hl7.org/fhir/R4/http.html#transaction"""

from __future__ import annotations

from typing import Any

import pytest
from support.api import Api, issue, patient
from support.bundles import bundle, observation, request, statuses, urn

from fhirstore.store.errors import (
    StoreError,
    TimedOut,
    TooComplex,
    TooLarge,
    Unavailable,
)


def test_the_url_of_an_entry_may_be_absolute(api: Api) -> None:
    for kind in ("batch", "transaction"):
        entry = request("PUT", f"http://localhost/fhir/Patient/{kind}", patient(id=kind))
        assert statuses(api.post("", bundle(entry, kind=kind))) == ["201"]


def test_a_transaction_is_stored_whole_or_not_at_all(api: Api) -> None:
    answer = api.post(
        "", bundle(request("POST", "Patient", patient()), request("POST", "Patient", patient(gender="x")))
    )
    assert answer.status_code == 422
    assert issue(answer)["expression"] == ["Bundle.entry[1].resource.gender"]
    assert api.ids("Patient") == []


def test_a_transaction_runs_delete_post_put_get_whatever_the_order(api: Api) -> None:
    api.put("Patient/old", patient(id="old"))
    answer = api.post(
        "",
        bundle(
            request("GET", "Patient?family=neu"),
            request("PUT", "Patient/put", patient("Neu", id="put")),
            request("POST", "Patient", patient("Neu")),
            request("DELETE", "Patient/old"),
        ),
    )
    assert answer.status_code == 200, answer.text
    assert statuses(answer) == ["200", "201", "201", "204"]
    assert len(answer.get_json()["entry"][0]["resource"]["entry"]) == 2
    assert api.get("Patient/old").status_code == 410


def test_conditional_creates_and_updates_in_a_transaction(api: Api) -> None:
    id = api.created(patient(identifier=[{"system": "urn:a", "value": "1"}]))["id"]
    who = urn()
    answer = api.post(
        "",
        bundle(
            request("POST", "Patient", patient(), who, ifNoneExist="identifier=urn:a|1"),
            request("PUT", "Patient?identifier=urn:a|2", patient(identifier=[{"system": "urn:a", "value": "2"}])),
            request("POST", "Observation", observation(who)),
        ),
    )
    assert statuses(answer) == ["200", "201", "201"]
    entries = answer.get_json()["entry"]
    assert api.get(entries[2]["response"]["location"]).get_json()["subject"]["reference"] == f"Patient/{id}"


def test_the_same_if_none_exist_twice_in_a_transaction_creates_once(api: Api) -> None:
    entry = request(
        "POST", "Patient", patient(identifier=[{"system": "urn:a", "value": "1"}]), ifNoneExist="identifier=urn:a|1"
    )
    answer = api.post("", bundle(entry, {**entry, "resource": dict(entry["resource"])}))
    assert statuses(answer) == ["201", "200"]
    assert len(api.ids("Patient")) == 1


def test_a_transaction_that_changes_a_resource_twice_is_refused(api: Api) -> None:
    answer = api.post(
        "", bundle(request("PUT", "Patient/a", patient(id="a")), request("PUT", "Patient/a", patient(id="a")))
    )
    assert answer.status_code == 400
    assert api.get("Patient/a").status_code == 404


def test_a_deleted_id_may_be_created_again_in_a_bundle(api: Api) -> None:
    api.put("Patient/a", patient(id="a"))
    api.delete("Patient/a")
    answer = api.post("", bundle(request("PUT", "Patient/a", patient(id="a"))))
    assert statuses(answer) == ["201"]
    assert api.get("Patient/a").get_json()["meta"]["versionId"] == "3"


def test_what_the_transaction_deletes_does_not_match_its_criteria(api: Api) -> None:
    api.put("Patient/a", patient(id="a", identifier=[{"system": "urn:a", "value": "1"}]))
    answer = api.post(
        "",
        bundle(
            request("DELETE", "Patient/a"),
            request(
                "POST",
                "Patient",
                patient(identifier=[{"system": "urn:a", "value": "1"}]),
                ifNoneExist="identifier=urn:a|1",
            ),
        ),
    )
    assert statuses(answer) == ["204", "201"]
    assert len(api.ids("Patient")) == 1


def test_if_match_in_a_transaction(api: Api) -> None:
    api.put("Patient/a", patient(id="a"))
    stale = api.post(
        "",
        bundle(
            request("PUT", "Patient/a", patient(id="a", active=True), ifMatch='W/"9"'),
            request("POST", "Patient", patient()),
        ),
    )
    assert stale.status_code == 412
    assert api.ids("Patient") == ["a"]


CONDITIONAL = "Patient?identifier=urn:a|1"


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize(("method", "url"), [("PUT", "Patient/a"), ("DELETE", "Patient/a"), ("PUT", CONDITIONAL)])
def test_if_match_of_an_entry_names_the_version_that_it_replaces(api: Api, kind: str, method: str, url: str) -> None:
    sent = patient(id="a", identifier=[{"system": "urn:a", "value": "1"}])
    api.put("Patient/a", sent)
    resource = None if method == "DELETE" else {**sent, "active": True}

    stale = api.post("", bundle(request(method, url, resource, ifMatch='W/"9"'), kind=kind))
    assert (stale.status_code, statuses(stale)) == (200, ["412"]) if kind == "batch" else stale.status_code == 412
    assert "active" not in api.get("Patient/a").get_json()

    current = api.post("", bundle(request(method, url, resource, ifMatch='W/"1"'), kind=kind))
    assert statuses(current) == ["204" if method == "DELETE" else "200"]


def test_if_none_exist_of_a_batch_entry(api: Api) -> None:
    id = api.created(patient(identifier=[{"system": "urn:a", "value": "1"}]))["id"]
    entry = request("POST", "Patient", patient(), ifNoneExist="identifier=urn:a|1")
    answer = api.post("", bundle(entry, kind="batch"))
    assert statuses(answer) == ["200"]
    assert answer.get_json()["entry"][0]["response"]["location"] == f"Patient/{id}/_history/1"


def test_conditional_writes_of_a_batch(api: Api) -> None:
    sent = patient(identifier=[{"system": "urn:a", "value": "1"}])
    answer = api.post("", bundle(*(request("PUT", CONDITIONAL, sent), request("DELETE", CONDITIONAL)), kind="batch"))
    assert statuses(answer) == ["201", "204"]
    assert api.ids("Patient") == []


@pytest.mark.parametrize("deleted", ["PUT", "reference"])
def test_criteria_do_not_match_what_the_transaction_deletes(api: Api, deleted: str) -> None:
    api.put("Patient/a", patient(id="a", identifier=[{"system": "urn:a", "value": "1"}]))
    entry = (
        request("PUT", CONDITIONAL, patient(identifier=[{"system": "urn:a", "value": "1"}]))
        if deleted == "PUT"
        else request("POST", "Observation", observation(CONDITIONAL))
    )
    answer = api.post("", bundle(request("DELETE", "Patient/a"), entry))
    if deleted == "reference":
        assert answer.status_code == 412
        assert api.get("Patient/a").status_code == 200
    else:
        assert statuses(answer) == ["204", "201"]
        assert api.get("Patient/a").status_code == 410


def test_the_second_of_equal_conditional_creates_names_the_resource_of_the_first(api: Api) -> None:
    entry = request("POST", "Patient", patient(), ifNoneExist="identifier=urn:a|1")
    answer = api.post("", bundle(entry, entry))
    first, second = (e["response"]["location"] for e in answer.get_json()["entry"])
    assert first == second


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_a_read_of_a_bundle_returns_nothing_that_the_client_has_already(api: Api, kind: str) -> None:
    created = api.put("Patient/a", patient(id="a"))
    modified = created.headers["Last-Modified"]
    conditions = [
        {"ifNoneMatch": 'W/"1"'},
        {"ifNoneMatch": 'W/"2"'},
        {"ifModifiedSince": modified},
        {"ifModifiedSince": "Mon, 01 Jan 2001 00:00:00 GMT"},
    ]
    answer = api.post("", bundle(*(request("GET", "Patient/a", **one) for one in conditions), kind=kind))
    assert statuses(answer) == ["304", "200", "304", "200"]
    assert ["resource" in entry for entry in answer.get_json()["entry"]] == [False, True, False, True]


def test_a_minimal_answer_to_a_bundle_has_no_resources(api: Api) -> None:
    answer = api.post("", bundle(request("POST", "Patient", patient())), Prefer="return=minimal")
    assert "resource" not in answer.get_json()["entry"][0]


def test_a_batch_answers_each_entry_on_its_own(api: Api) -> None:
    answer = api.post(
        "",
        bundle(
            request("POST", "Patient", patient()),
            request("POST", "Patient", patient(gender="x")),
            request("GET", "Patient/none"),
            request("GET", "Patient"),
            request("GET", "metadata"),
            kind="batch",
        ),
    )
    assert answer.status_code == 200
    assert answer.get_json()["type"] == "batch-response"
    assert statuses(answer) == ["201", "422", "404", "200", "200"]
    assert answer.get_json()["entry"][1]["response"]["outcome"]["issue"][0]["severity"] == "error"


def test_representations_come_back_when_preferred(api: Api) -> None:
    body = bundle(request("POST", "Patient", patient()))
    assert "resource" not in api.post("", body).get_json()["entry"][0]
    full = api.post("", body, Prefer="return=representation").get_json()["entry"][0]
    assert full["resource"]["name"][0]["family"] == "Martin"


def test_what_is_no_batch_is_refused(api: Api) -> None:
    for body in (
        patient(),
        bundle(kind="collection"),
        bundle({"resource": patient()}),
        bundle(request("PURGE", "Patient/1")),
        bundle(request("POST", "Patient")),
        {"resourceType": "Bundle", "type": "batch", "entry": {}},
        bundle(request("POST", "Patient/1/2/3", patient())),
    ):
        answer = api.post("", body)
        assert answer.status_code == 400, body
        issue(answer)


def test_a_bundle_with_too_many_entries_is_refused(make_api: Any) -> None:
    api = make_api(max_bundle_entries=2)
    answer = api.post("", bundle(*[request("POST", "Patient", patient()) for _ in range(3)]))
    assert answer.status_code == 422
    assert "max_bundle_entries" in issue(answer)["diagnostics"]
    assert api.ids("Patient") == []


def test_a_write_entry_without_a_resource_is_refused_whatever_its_url(api: Api) -> None:
    for method, url in (("POST", "_search"), ("POST", "Patient/_search"), ("PUT", "Patient/_search")):
        answer = api.post("", bundle(request(method, url)))
        assert answer.status_code == 400, (url, answer.text)
        assert issue(answer)["expression"][0].startswith("Bundle.entry[0]")
        (entry,) = api.post("", bundle(request(method, url), kind="batch")).get_json()["entry"]
        assert entry["response"]["status"] == "400"
        assert entry["response"]["outcome"]["issue"][0]["expression"][0].startswith("Bundle.entry[0]")


def test_an_id_that_is_no_string_is_refused_in_a_conditional_update(make_api: Any) -> None:
    api = make_api(validation="off")
    answer = api.put("Patient?identifier=urn:a|1", patient(id=5))
    assert answer.status_code == 400
    assert issue(answer)["expression"] == ["Patient.id"]
    assert api.ids("Patient") == []


@pytest.mark.parametrize(
    ("problem", "status"),
    [(Unavailable("busy"), 503), (TimedOut("late"), 503), (TooComplex("deep"), 422), (TooLarge("big"), 413)],
)
def test_a_refusal_of_the_store_has_its_status(
    api: Api, monkeypatch: pytest.MonkeyPatch, problem: StoreError, status: int
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise problem

    monkeypatch.setattr(type(api.ctx.store), "commit", fail)
    answer = api.post("Patient", patient())
    assert answer.status_code == status
    assert ("Retry-After" in answer.headers) == (status == 503)
    issue(answer)
    batch = api.post("", bundle(request("POST", "Patient", patient()), request("GET", "Patient"), kind="batch"))
    assert statuses(batch) == [str(status), "200"]


def test_the_same_criteria_twice_that_match_several_are_refused_for_both_entries(api: Api) -> None:
    for _ in range(2):
        api.created(patient(identifier=[{"system": "urn:a", "value": "1"}]))
    entry = request("POST", "Patient", patient(), ifNoneExist="identifier=urn:a|1")

    answer = api.post("", bundle(entry, entry))

    assert answer.status_code == 412
    assert [i["expression"] for i in answer.get_json()["issue"]] == [["Bundle.entry[0]"], ["Bundle.entry[1]"]]
