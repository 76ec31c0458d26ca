"""Writes that a concurrent writer interrupts between their look at the store and their commit.

Each runs again on the store as it then is, from the request as it was sent:
https://hl7.org/fhir/R4/http.html#concurrency.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.api import Api, issue, patient

from fhirstore.http.app import make_app

SYSTEM = "urn:oid:1.2.3"
CRITERIA = f"identifier={SYSTEM}|1"
Interrupt = Callable[[Callable[[], Any]], None]


def known(**more: Any) -> dict[str, Any]:
    return patient(identifier=[{"system": SYSTEM, "value": "1"}], **more)


def bundle(kind: str, *entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


@pytest.fixture
def interrupt(api: Api, monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    """interrupt(writer): the writer runs just before the next commit of this store."""
    kind = type(api.ctx.store)
    commit = kind.commit
    waiting: list[Callable[[], Any]] = []

    def interrupted(*arguments: Any, **named: Any) -> Any:
        if waiting:
            waiting.pop()()
        return commit(*arguments, **named)

    monkeypatch.setattr(kind, "commit", interrupted)
    return waiting.append


def conditional_put(api: Api, form: str, resource: dict[str, Any]) -> int:
    """Replaces the Patient that matches CRITERIA, by a request of this form. Returns the status."""
    if form == "request":
        return api.put(f"Patient?{CRITERIA}", resource).status_code
    entry = {"resource": resource, "request": {"method": "PUT", "url": f"Patient?{CRITERIA}"}}
    answer = api.post("", bundle(form, entry))
    if answer.status_code != 200:
        return answer.status_code
    return int(answer.get_json()["entry"][0]["response"]["status"][:3])


@pytest.mark.parametrize("form", ["request", "batch", "transaction"])
def test_a_conditional_update_whose_match_is_replaced_meanwhile_updates_the_new_match(
    api: Api, interrupt: Interrupt, form: str
) -> None:
    """The first attempt gives the resource the id of the old match; the second must not take it for the client's."""
    api.put("Patient/old", known(id="old"))

    def replace_match() -> None:
        api.delete("Patient/old")
        api.put("Patient/new", known(id="new"))

    interrupt(replace_match)
    assert conditional_put(api, form, known(active=True)) == 200

    read = api.get("Patient/new").get_json()
    assert (read["active"], read["meta"]["versionId"]) == (True, "2")
    assert api.ids("Patient") == ["new"]


@pytest.mark.parametrize("form", ["request", "batch", "transaction"])
def test_a_conditional_update_whose_match_is_deleted_meanwhile_creates(
    api: Api, interrupt: Interrupt, form: str
) -> None:
    """The new resource has an id of its own, not the id that the first attempt gave it."""
    api.put("Patient/old", known(id="old"))
    interrupt(lambda: api.delete("Patient/old"))
    assert conditional_put(api, form, known(active=True)) == 201
    assert api.get("Patient/old").status_code == 410
    assert len(api.ids("Patient")) == 1


def test_a_conditional_update_finds_what_is_created_meanwhile(api: Api, interrupt: Interrupt) -> None:
    interrupt(lambda: api.put("Patient/first", known(id="first")))
    assert conditional_put(api, "request", known(active=True)) == 200
    assert api.ids("Patient") == ["first"]


def test_a_conditional_create_finds_what_is_created_meanwhile(api: Api, interrupt: Interrupt) -> None:
    interrupt(lambda: api.put("Patient/first", known(id="first")))
    answer = api.post("Patient", known(), If_None_Exist=CRITERIA)
    assert (answer.status_code, answer.get_json()["id"]) == (200, "first")
    assert api.ids("Patient") == ["first"]


def test_a_conditional_delete_refuses_what_becomes_ambiguous_meanwhile(api: Api, interrupt: Interrupt) -> None:
    api.put("Patient/a", known(id="a"))
    interrupt(lambda: api.put("Patient/b", known(id="b")))
    assert api.delete(f"Patient?{CRITERIA}").status_code == 412
    assert sorted(api.ids("Patient")) == ["a", "b"]


def test_a_conditional_reference_refers_to_the_match_of_the_commit(api: Api, interrupt: Interrupt) -> None:
    api.put("Patient/old", known(id="old"))

    def replace_match() -> None:
        api.put("Patient/old", patient(id="old"))
        api.put("Patient/new", known(id="new"))

    interrupt(replace_match)
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient?{CRITERIA}"},
    }
    entry = {"resource": observation, "request": {"method": "POST", "url": "Observation"}}
    answer = api.post("", bundle("transaction", entry))
    location = answer.get_json()["entry"][0]["response"]["location"]
    assert api.get(location).get_json()["subject"]["reference"] == "Patient/new"


def test_an_update_with_if_match_is_refused_if_the_version_is_replaced_meanwhile(
    api: Api, interrupt: Interrupt
) -> None:
    api.put("Patient/a", patient(id="a"))
    interrupt(lambda: api.put("Patient/a", patient(id="a", gender="female")))
    answer = api.put("Patient/a", patient(id="a", active=True), If_Match='W/"1"')
    assert answer.status_code == 412
    assert "active" not in api.get("Patient/a").get_json()


def test_a_write_that_others_keep_interrupting_is_refused(api: Api) -> None:
    impatient = replace(api.ctx, settings=replace(api.ctx.settings, write_timeout_s=0))
    client = Api(make_app(impatient), impatient)
    api.put("Patient/a", patient(id="a"))
    commit, kind, n = type(api.ctx.store).commit, type(api.ctx.store), 0

    def overtaken(*arguments: Any, **named: Any) -> Any:
        nonlocal n
        n += 1
        with pytest.MonkeyPatch.context() as undisturbed:
            undisturbed.setattr(kind, "commit", commit)
            api.put("Patient/a", patient(str(n), id="a"))
        return commit(*arguments, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kind, "commit", overtaken)
        answer = client.put("Patient/a", patient(id="a", active=True))
    assert answer.status_code == 409
    assert issue(answer)["code"] == "conflict"
    assert "active" not in api.get("Patient/a").get_json()
