"""https://hl7.org/fhir/R4/http.html#trules: identities, the order of processing, and all or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import Api, issue, patient
from support.bundles import bundle, observation, request, statuses, urn

SYSTEM = "urn:k"


def known(value: str = "6", **more: Any) -> dict[str, Any]:
    return patient(identifier=[{"system": SYSTEM, "value": value}], **more)


def places(answer: Any) -> list[str]:
    """The references of the response entries."""
    return [e["response"]["location"].split("/_history")[0] for e in answer.get_json()["entry"]]


# --- equal criteria -------------------------------------------------------------------------------

SPELLINGS = ["identifier=urn:k|6", "identifier=urn:k%7C6", "identifier=urn%3Ak%7c6", "identifier=urn:k|6&_format=json"]


@pytest.mark.parametrize("first", SPELLINGS)
@pytest.mark.parametrize("second", SPELLINGS)
def test_two_conditional_updates_of_one_resource_are_refused(api: Api, first: str, second: str) -> None:
    entries = [request("PUT", f"Patient?{criteria}", patient()) for criteria in (first, second)]
    answer = api.post("", bundle(*entries))
    assert answer.status_code == 400, answer.text
    assert issue(answer)["code"] == "duplicate"
    assert issue(answer)["expression"][-1] == "Bundle.entry[1].request.url"
    assert api.ids("Patient") == []


@pytest.mark.parametrize("criteria", SPELLINGS)
def test_equal_conditional_creates_make_one_resource_however_they_are_written(api: Api, criteria: str) -> None:
    entries = [
        request("POST", "Patient", patient(), ifNoneExist=given)
        for given in ("identifier=urn:k|6", criteria, f"Patient?{criteria}", f"?{criteria}")
    ]
    answer = api.post("", bundle(*entries))
    assert statuses(answer) == ["201", "200", "200", "200"]
    assert len(set(places(answer))) == len(api.ids("Patient")) == 1


def test_a_conditional_create_and_a_conditional_update_of_one_new_resource_are_refused(api: Api) -> None:
    answer = api.post(
        "",
        bundle(
            request("PUT", "Patient?identifier=urn:k|6", patient()),
            request("POST", "Patient", patient(), ifNoneExist="identifier=urn:k%7C6"),
        ),
    )
    assert answer.status_code == 400
    assert api.ids("Patient") == []


def test_a_conditional_create_of_what_a_conditional_update_replaces_names_it(api: Api) -> None:
    id = api.created(known())["id"]
    answer = api.post(
        "",
        bundle(
            request("POST", "Patient", patient(), ifNoneExist="identifier=urn:k|6"),
            request("PUT", "Patient?identifier=urn:k|6", known(active=True)),
        ),
    )
    assert statuses(answer) == ["200", "200"]
    assert api.ids("Patient") == [id]
    assert api.get(f"Patient/{id}").get_json()["active"]


@pytest.mark.parametrize(
    "criteria",
    [
        "identifier=urn:k|6",
        "identifier=6",
        "identifier=urn:k|5,urn:k|6",
        "identifier:not=urn:k|5",
        "family=Martin",
        "family:exact=Martin",
        "birthdate=1980-02-03",
        "birthdate=ge1980&birthdate=lt1981",
        "general-practitioner=Practitioner/p",
        "general-practitioner:identifier=urn:p|1",
        "active:missing=false",
    ],
)
def test_a_conditional_create_finds_what_an_earlier_entry_creates(api: Api, criteria: str) -> None:
    practitioner = {"reference": "Practitioner/p", "identifier": {"system": "urn:p", "value": "1"}}
    sent = known(birthDate="1980-02-03", active=True, generalPractitioner=[practitioner])
    answer = api.post(
        "", bundle(request("POST", "Patient", sent), request("POST", "Patient", patient("X"), ifNoneExist=criteria))
    )
    assert statuses(answer) == ["201", "200"], answer.text
    assert len(set(places(answer))) == 1


@pytest.mark.parametrize("criteria", ["identifier=urn:k|7", "family=Mart&family=x", "birthdate=1980", "_id=other"])
def test_a_conditional_create_does_not_find_other_resources_of_its_transaction(api: Api, criteria: str) -> None:
    answer = api.post(
        "", bundle(request("POST", "Patient", known()), request("POST", "Patient", known("7x"), ifNoneExist=criteria))
    )
    assert statuses(answer) == ["201", "201"], answer.text
    assert len(set(places(answer))) == 2


def test_criteria_that_match_two_new_resources_are_not_selective_enough(api: Api) -> None:
    entries = [request("POST", "Patient", known()), request("POST", "Patient", known())]
    answer = api.post("", bundle(*entries, request("POST", "Patient", known(), ifNoneExist="identifier=urn:k|6")))
    assert answer.status_code == 412
    assert issue(answer)["code"] == "multiple-matches"
    assert api.ids("Patient") == []


def test_criteria_that_match_a_stored_and_a_new_resource_are_not_selective_enough(api: Api) -> None:
    api.created(known())
    answer = api.post(
        "",
        bundle(
            request("POST", "Patient", known()),
            request("POST", "Patient", known(), ifNoneExist="identifier=urn:k|6"),
        ),
    )
    assert answer.status_code == 412


@pytest.mark.parametrize(
    "other",
    [
        request("POST", "Patient", known()),
        request("PUT", "Patient/a", known(id="a")),
        request("POST", "Patient", known(), ifNoneExist="identifier=urn:other|1"),
        request("PUT", "Patient?identifier=urn:other|1", known()),
    ],
    ids=["create", "update", "conditional create", "conditional update"],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_conditional_update_of_what_another_entry_writes_is_refused(
    api: Api, other: dict[str, Any], is_first: bool
) -> None:
    update = request("PUT", "Patient?identifier=urn:k|6", known(active=True))
    answer = api.post("", bundle(*((other, update) if is_first else (update, other))))
    assert answer.status_code == 400, answer.text
    assert issue(answer)["code"] == "duplicate"
    assert api.ids("Patient") == []


def test_many_conditional_entries_take_linear_time(api: Api) -> None:
    """Counts the evaluations of criteria on the resources of the transaction."""
    from fhirstore.interactions import pending

    seen = []
    evaluate = pending.satisfies

    def counting(*arguments: Any) -> bool:
        seen.append(arguments)
        return evaluate(*arguments)

    pending.satisfies = counting  # type: ignore[assignment]
    try:
        entries = [
            request("PUT", f"Patient?identifier=urn:k|{n}", known(str(n)))
            if n % 2
            else request("POST", "Patient", known(str(n)), ifNoneExist=f"identifier=urn:k|{n}")
            for n in range(60)
        ]
        assert set(statuses(api.post("", bundle(*entries)))) == {"201"}
    finally:
        pending.satisfies = evaluate
    assert len(seen) <= 60


# --- conditional references -----------------------------------------------------------------------


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(
    "target",
    [
        request("POST", "Patient", known()),
        request("PUT", "Patient/a", known(id="a")),
        request("PUT", "Patient?identifier=urn:k|6", known()),
        request("POST", "Patient", known(), ifNoneExist="identifier=urn:k|6"),
    ],
    ids=["create", "update", "conditional update", "conditional create"],
)
def test_a_conditional_reference_means_what_the_same_transaction_writes(
    api: Api, target: dict[str, Any], is_first: bool
) -> None:
    note = request("POST", "Observation", observation("Patient?identifier=urn:k|6"))
    answer = api.post("", bundle(*((note, target) if is_first else (target, note))))
    assert statuses(answer) == ["201", "201"], answer.text
    found = places(answer)
    observed, who = found if is_first else reversed(found)
    assert api.get(observed).get_json()["subject"]["reference"] == who


def test_a_conditional_reference_to_a_resource_that_loses_its_identifier_fails(api: Api) -> None:
    api.put("Patient/a", known(id="a"))
    note = request("POST", "Observation", observation("Patient?identifier=urn:k|6"))
    answer = api.post("", bundle(note, request("PUT", "Patient/a", known("7", id="a"))))
    assert answer.status_code == 412
    assert api.get("Patient/a").get_json()["meta"]["versionId"] == "1"


def test_a_conditional_reference_that_a_stored_and_a_new_resource_match_fails(api: Api) -> None:
    api.created(known())
    note = request("POST", "Observation", observation("Patient?identifier=urn:k|6"))
    answer = api.post("", bundle(note, request("POST", "Patient", known())))
    assert answer.status_code == 412
    assert issue(answer)["code"] == "multiple-matches"
    assert len(api.ids("Patient")) == 1


def test_a_conditional_reference_to_an_updated_resource_matches_it_once(api: Api) -> None:
    api.put("Patient/a", known(id="a"))
    note = request("POST", "Observation", observation("Patient?identifier=urn:k|6"))
    answer = api.post("", bundle(note, request("PUT", "Patient/a", known(id="a", active=True))))
    assert statuses(answer) == ["201", "200"]
    assert api.get(places(answer)[0]).get_json()["subject"]["reference"] == "Patient/a"


# --- GET entries ----------------------------------------------------------------------------------

FAILING = [
    ("Patient/none", 404),
    ("Patient/gone", 410),
    ("Patient/gone/_history/9", 404),
    ("patient/1", 404),
    ("Patient?birthdate=never", 400),
    ("Patient/none/_history", 404),
    ("Patient/kept/_history/2", 404),
    ("_history?_count=many", 400),
]


@pytest.mark.parametrize(("url", "status"), FAILING)
def test_a_get_that_fails_refuses_the_transaction(api: Api, url: str, status: int) -> None:
    api.put("Patient/gone", patient(id="gone"))
    api.delete("Patient/gone")
    api.put("Patient/kept", patient(id="kept"))
    answer = api.post("", bundle(request("GET", url), request("PUT", "Patient/a", patient(id="a"))))
    assert answer.status_code == status, answer.text
    assert "Bundle.entry[0]" in issue(answer)["expression"][0]
    assert api.get("Patient/a").status_code == 404


def test_a_read_of_what_the_transaction_deletes_refuses_it(api: Api) -> None:
    api.put("Patient/a", patient(id="a"))
    answer = api.post("", bundle(request("GET", "Patient/a"), request("DELETE", "Patient/a")))
    assert answer.status_code == 410
    assert api.get("Patient/a").status_code == 200


@pytest.mark.parametrize("url", ["Patient/a", "Patient/a/_history/1", "Patient/a/_history", "Patient?_id=a"])
def test_a_get_sees_what_its_transaction_writes(api: Api, url: str) -> None:
    answer = api.post("", bundle(request("GET", url), request("PUT", "Patient/a", patient("Neu", id="a"))))
    assert statuses(answer) == ["200", "201"], answer.text
    assert "Neu" in str(answer.get_json()["entry"][0]["resource"])


def test_an_earlier_version_of_what_the_transaction_deletes_can_be_read(api: Api) -> None:
    api.put("Patient/a", patient(id="a"))
    answer = api.post("", bundle(request("GET", "Patient/a/_history/1"), request("DELETE", "Patient/a")))
    assert statuses(answer) == ["200", "204"]


def test_a_transaction_of_reads_alone_executes_each_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from fhirstore.interactions.read import Read

    api.put("Patient/a", patient(id="a"))
    calls, execute = [], Read.execute
    monkeypatch.setattr(Read, "execute", lambda self, *given: (calls.append(self), execute(self, *given))[1])
    assert statuses(api.post("", bundle(request("GET", "Patient/a"), request("GET", "Patient/a")))) == ["200", "200"]
    assert len(calls) == 2


def test_a_transaction_without_entries_succeeds(api: Api) -> None:
    answer = api.post("", {"resourceType": "Bundle", "type": "transaction"})
    assert (answer.status_code, answer.get_json()["type"]) == (200, "transaction-response")


# --- conditions of entries ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("PUT", "Patient/a"),
        ("PUT", "Patient?identifier=urn:k|6"),
        ("DELETE", "Patient/a"),
        ("DELETE", "Patient?identifier=urn:k|6"),
    ],
)
@pytest.mark.parametrize(
    ("given", "passes"), [("*", False), ('W/"1"', False), ('W/"2", W/"1"', False), ('W/"2"', True)]
)
def test_if_none_match_of_a_write_refuses_an_existing_version(
    api: Api, kind: str, method: str, url: str, given: str, passes: bool
) -> None:
    api.put("Patient/a", known(id="a"))
    resource = None if method == "DELETE" else known(id="a", active=True)
    answer = api.post("", bundle(request(method, url, resource, ifNoneMatch=given), kind=kind))
    refused = answer.status_code == 412 if kind == "transaction" else statuses(answer) == ["412"]
    assert refused is not passes, answer.text
    assert api.get("Patient/a").status_code == (410 if passes and method == "DELETE" else 200)


def test_if_none_match_of_an_update_that_creates(api: Api) -> None:
    entry = request("PUT", "Patient/a", patient(id="a"), ifNoneMatch="*")
    assert statuses(api.post("", bundle(entry))) == ["201"]
    assert api.post("", bundle(entry)).status_code == 412


def test_criteria_of_another_type_are_refused(api: Api) -> None:
    answer = api.post("", bundle(request("POST", "Patient", patient(), ifNoneExist="Observation?code=x")))
    assert answer.status_code == 400
    assert "Bundle.entry[0].request.ifNoneExist" in issue(answer)["expression"]
    header = api.post("Patient", patient(), **{"If-None-Exist": "Observation?code=x"})
    assert (header.status_code, issue(header)["expression"]) == (400, ["http.If-None-Exist"])


def test_a_question_mark_in_a_value_of_criteria_is_kept(api: Api) -> None:
    for _ in range(2):
        answer = api.post("", bundle(request("POST", "Patient", known("a?b"), ifNoneExist="identifier=urn:k|a?b")))
    assert statuses(answer) == ["200"]


# --- retries --------------------------------------------------------------------------------------


def test_a_link_and_a_conditional_reference_to_one_new_resource_agree(api: Api) -> None:
    who = urn()
    answer = api.post(
        "",
        bundle(
            request("POST", "Observation", observation(who)),
            request("POST", "Observation", observation("Patient?identifier=urn:k|6")),
            request("POST", "Patient", known(), who, ifNoneExist="identifier=urn:k|6"),
        ),
    )
    *observed, patient_ref = places(answer)
    assert {api.get(one).get_json()["subject"]["reference"] for one in observed} == {patient_ref}
