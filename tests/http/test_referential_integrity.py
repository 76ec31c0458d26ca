"""References to resources that do not exist, and deletions of resources that others refer to, at each level."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest
from support.api import Api, issue

Json = dict[str, Any]
MakeApi = Callable[..., Api]
WITH_OUTCOME = {"Prefer": "return=OperationOutcome"}
LOGGER = "fhirstore.interactions.referential_integrity"


def observation(*, subject: str = "Patient/1", id: str = "o", **more: Any) -> Json:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": subject},
        **more,
    }


def patient(id: str = "1") -> Json:
    return {"resourceType": "Patient", "id": id}


def put(api: Api, resource: Json, **headers: str) -> Any:
    return api.put(f"{resource['resourceType']}/{resource['id']}", resource, **headers)


def bundle(kind: str, *entries: Json | str) -> Json:
    """Entries: a resource to put, or the URL of one to delete."""
    return {
        "resourceType": "Bundle",
        "type": kind,
        "entry": [
            {"request": {"method": "DELETE", "url": one}}
            if isinstance(one, str)
            else {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
            for one in entries
        ],
    }


@pytest.fixture
def warning(make_api: MakeApi) -> Api:
    return make_api(referential_integrity="warn")


@pytest.fixture
def enforcing(make_api: MakeApi) -> Api:
    return make_api(referential_integrity="enforce")


# --- off ------------------------------------------------------------------------------------------------


def test_by_default_nothing_is_checked(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        answer = put(api, observation(), **WITH_OUTCOME)
        assert (answer.status_code, issue(answer)["severity"]) == (201, "information")
        put(api, patient())
        assert api.delete("Patient/1").status_code == 204
    assert caplog.records == []


# --- warn -----------------------------------------------------------------------------------------------


def test_a_missing_target_gives_a_warning_and_a_log_entry(warning: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        answer = put(warning, observation(), **WITH_OUTCOME)
    assert answer.status_code == 201
    found = issue(answer)
    assert (found["severity"], found["code"], found["expression"]) == ("warning", "not-found", ["Observation.subject"])
    assert found["details"]["coding"][0]["code"] == "referential-integrity"
    assert found["diagnostics"].startswith("Observation/o refers to Patient/1, which does not exist")
    assert warning.get("Observation/o").status_code == 200
    [record] = caplog.records
    assert "Observation/o refers to Patient/1" in record.getMessage()


def test_the_deletion_of_a_target_gives_a_warning_and_a_log_entry(
    warning: Api, caplog: pytest.LogCaptureFixture
) -> None:
    put(warning, patient())
    for n in range(5):
        put(warning, observation(id=f"o{n}"))
    with caplog.at_level(logging.WARNING, LOGGER):
        answer = warning.delete("Patient/1", **WITH_OUTCOME)
    assert answer.status_code == 200
    found = issue(answer)
    assert (found["severity"], found["code"]) == ("warning", "conflict")
    assert (
        "Patient/1 is deleted, but at least 5 resources refer to it, among them Observation/o" in found["diagnostics"]
    )
    assert warning.get("Patient/1").status_code == 410
    assert len(caplog.records) == 1


def test_what_is_whole_gives_no_warning(warning: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        put(warning, patient())
        assert issue(put(warning, observation(), **WITH_OUTCOME))["severity"] == "information"
        warning.delete("Observation/o")
        assert issue(warning.delete("Patient/1", **WITH_OUTCOME))["severity"] == "information"
    assert caplog.records == []


def test_validate_warns_alike(warning: Api) -> None:
    outcome = warning.post("Observation/$validate?mode=create", observation()).get_json()
    assert [i["severity"] for i in outcome["issue"] if "does not exist" in i["diagnostics"]] == ["warning"]


def test_the_entries_of_a_transaction_have_their_warnings(warning: Api) -> None:
    answer = warning.post("", bundle("transaction", patient(), observation(), observation(subject="Patient/2", id="p")))
    assert answer.status_code == 200, answer.text
    texts = [e["response"].get("outcome", {}).get("issue", []) for e in answer.get_json()["entry"]]
    assert [any("Patient/2" in i["diagnostics"] for i in one) for one in texts] == [False, False, True]


# --- enforce --------------------------------------------------------------------------------------------


def writes(api: Api, resource: Json) -> dict[str, Any]:
    """The answers of each way to write a resource."""
    type, id = resource["resourceType"], resource["id"]
    return {
        "create": api.post(type, {k: v for k, v in resource.items() if k != "id"}),
        "update": api.put(f"{type}/{id}", resource),
        "conditional": api.put(f"{type}?_id=none", {k: v for k, v in resource.items() if k != "id"}),
        "transaction": api.post("", bundle("transaction", resource)),
    }


def test_a_missing_target_refuses_every_kind_of_write(enforcing: Api) -> None:
    for way, answer in writes(enforcing, observation()).items():
        assert answer.status_code == 422, way
        assert (issue(answer)["severity"], issue(answer)["code"]) == ("error", "not-found")
    batch = enforcing.post("", bundle("batch", patient("2"), observation())).get_json()
    assert [e["response"]["status"][:3] for e in batch["entry"]] == ["201", "422"]
    assert enforcing.get("Observation?_summary=count").get_json()["total"] == 0


@pytest.mark.parametrize("subject", ["Patient/1", "Patient/1/_history/1"])
def test_an_existing_target_is_accepted(enforcing: Api, subject: str) -> None:
    put(enforcing, patient())
    assert put(enforcing, observation(subject=subject)).status_code == 201


def test_a_deleted_target_does_not_exist(enforcing: Api) -> None:
    put(enforcing, patient())
    enforcing.delete("Patient/1")
    assert put(enforcing, observation()).status_code == 422


def test_references_to_other_servers_and_logical_ones_are_not_checked(enforcing: Api) -> None:
    put(enforcing, patient())
    foreign = observation(
        id="f",
        performer=[
            {"reference": "https://other.example/fhir/Practitioner/1"},
            {"identifier": {"system": "urn:oid:1.2.3", "value": "x"}},
            {"reference": "#c"},
        ],
        contained=[{"resourceType": "Practitioner", "id": "c"}],
    )
    assert put(enforcing, foreign).status_code == 201


def test_absolute_references_to_this_server_are_checked(make_api: MakeApi) -> None:
    api = make_api(referential_integrity="enforce", base_url="https://here.example/fhir")
    answer = put(api, observation(subject="https://here.example/fhir/Patient/1"))
    assert (answer.status_code, issue(answer)["expression"]) == (422, ["Observation.subject"])
    put(api, patient())
    assert put(api, observation(subject="https://here.example/fhir/Patient/1")).status_code == 201


def test_every_missing_target_is_listed(enforcing: Api) -> None:
    put(enforcing, patient())
    answer = put(enforcing, observation(performer=[{"reference": "Practitioner/1"}, {"reference": "Practitioner/2"}]))
    expressions = {i["expression"][0] for i in answer.get_json()["issue"]}
    assert expressions == {"Observation.performer[0]", "Observation.performer[1]"}


def test_a_transaction_may_write_both_ends_in_any_order(enforcing: Api) -> None:
    assert enforcing.post("", bundle("transaction", observation(), patient())).status_code == 200
    assert enforcing.post("", bundle("transaction", "Patient/1", "Observation/o")).status_code == 200


def test_a_transaction_that_deletes_the_target_of_its_write_is_refused(enforcing: Api) -> None:
    put(enforcing, patient())
    answer = enforcing.post("", bundle("transaction", "Patient/1", observation()))
    assert answer.status_code in (409, 422)
    assert enforcing.get("Patient/1").status_code == 200


def test_resources_may_refer_to_themselves_and_to_one_another(enforcing: Api) -> None:
    members = [{"reference": "Observation/b"}, {"reference": "Observation/a"}]
    put(enforcing, patient())
    pair = [observation(id=id, hasMember=members) for id in ("a", "b")]
    assert enforcing.post("", bundle("transaction", *pair)).status_code == 200
    assert enforcing.delete("Observation/a").status_code == 409


def test_the_deletion_of_a_target_is_refused(enforcing: Api) -> None:
    put(enforcing, patient())
    put(enforcing, observation())
    for answer in (
        enforcing.delete("Patient/1"),
        enforcing.delete("Patient?_id=1"),
        enforcing.post("", bundle("transaction", "Patient/1")),
    ):
        assert (answer.status_code, issue(answer)["code"]) == (409, "conflict")
        assert "1 resource refers to it: Observation/o (" in issue(answer)["diagnostics"]
    assert enforcing.get("Patient/1").status_code == 200
    put(enforcing, patient("2"))
    put(enforcing, observation(subject="Patient/2"))
    assert enforcing.delete("Patient/1").status_code == 204


def test_a_transaction_may_move_the_reference_and_delete_the_target(enforcing: Api) -> None:
    for one in (patient(), patient("2"), observation()):
        put(enforcing, one)
    answer = enforcing.post("", bundle("transaction", observation(subject="Patient/2"), "Patient/1"))
    assert answer.status_code == 200, answer.text


def test_a_refusal_is_told_in_french(enforcing: Api) -> None:
    answer = put(enforcing, observation(), **{"Accept-Language": "fr"})
    assert issue(answer)["diagnostics"].startswith("Observation/o désigne Patient/1, qui n'existe pas sur ce serveur.")


def test_a_reference_and_the_deletion_of_its_target_never_both_succeed(enforcing: Api) -> None:
    """The guards of each commit see the other."""
    for n in range(10):
        put(enforcing, patient(f"r{n}"))
        statuses: dict[str, int] = {}
        start = Barrier(2)

        def write(n: int = n, statuses: dict[str, int] = statuses, start: Barrier = start) -> None:
            start.wait()
            statuses["write"] = put(enforcing, observation(id=f"r{n}", subject=f"Patient/r{n}")).status_code

        def delete(n: int = n, statuses: dict[str, int] = statuses, start: Barrier = start) -> None:
            start.wait()
            statuses["delete"] = enforcing.delete(f"Patient/r{n}").status_code

        threads = [Thread(target=one) for one in (write, delete)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert statuses in ({"write": 201, "delete": 409}, {"write": 422, "delete": 204}), statuses
