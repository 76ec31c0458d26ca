"""https://hl7.org/fhir/R4/http.html#trules: the rules of a transaction that do not depend on the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.api import Api, issue, patient, serving
from support.bundles import bundle, observation, request, statuses

from fhirstore.http.app import make_app

CRITERIA = "Patient?identifier=urn:a|1"


def known(**more: Any) -> dict[str, Any]:
    return patient(identifier=[{"system": "urn:a", "value": "1"}], **more)


@pytest.mark.parametrize(
    ("interaction", "entry"),
    [
        ("create", request("POST", "Patient", patient())),
        ("update", request("PUT", "Patient/a", patient(id="a"))),
        ("update", request("PUT", CRITERIA, known())),
        ("delete", request("DELETE", "Patient/a")),
        ("delete", request("DELETE", CRITERIA)),
    ],
    ids=["create", "update", "conditional update", "delete", "conditional delete"],
)
def test_an_entry_whose_interaction_is_not_served_refuses_the_transaction(
    api: Api, interaction: str, entry: dict[str, Any]
) -> None:
    served = api.ctx.registry.types["Patient"].interactions - {interaction}
    without = serving(api, "Patient", interactions=served)
    answer = without.post("", bundle(request("PUT", "Organization/o", {**ORGANIZATION}), entry))
    assert answer.status_code == 405
    assert issue(answer)["expression"] == ["Bundle.entry[1]"]
    assert f"The interaction {interaction} is not supported for Patient" in issue(answer)["diagnostics"]
    assert api.get("_history").get_json()["total"] == 0


ORGANIZATION = {"resourceType": "Organization", "id": "o", "name": "x"}


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_a_kind_of_bundle_that_is_not_served_is_refused(api: Api, kind: str) -> None:
    registry = replace(api.ctx.registry, interactions=api.ctx.registry.interactions - {kind})
    server = replace(api.ctx, registry=registry)
    answer = Api(make_app(server), server).post("", bundle(request("POST", "Patient", patient()), kind=kind))
    assert answer.status_code == 405
    assert issue(answer)["expression"] == ["Bundle.type"]
    assert api.ids("Patient") == []


def test_the_history_shows_deletions_before_creations_before_updates(api: Api) -> None:
    api.put("Patient/old", patient(id="old"))
    answer = api.post(
        "",
        bundle(
            request("PUT", "Patient/put", patient(id="put")),
            request("POST", "Patient", patient()),
            request("DELETE", "Patient/old"),
        ),
    )
    assert answer.status_code == 200, answer.text
    newest_first = api.get("_history?_count=3").get_json()["entry"]
    assert [entry["request"]["method"] for entry in newest_first] == ["PUT", "POST", "DELETE"]


def test_a_conditional_reference_to_a_type_that_is_not_served_is_refused(api: Api) -> None:
    answer = api.post("", bundle(request("POST", "Observation", observation("Nothing?identifier=urn:a|1"))))
    assert answer.status_code == 422
    assert issue(answer)["code"] == "not-found"
    assert "Nothing?identifier=urn:a|1" in issue(answer)["diagnostics"]
    assert api.ids("Observation") == []


def test_a_conditional_reference_whose_match_changes_before_the_commit_is_resolved_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.put("Patient/old", known(id="old"))
    commit, waiting = type(api.ctx.store).commit, [replace_match(api)]

    def interrupted(*arguments: Any, **named: Any) -> Any:
        if waiting:
            waiting.pop()()
        return commit(*arguments, **named)

    monkeypatch.setattr(type(api.ctx.store), "commit", interrupted)
    answer = api.post("", bundle(request("POST", "Observation", observation(CRITERIA))))
    assert statuses(answer) == ["201"]
    place = answer.get_json()["entry"][0]["response"]["location"]
    assert api.get(place).get_json()["subject"]["reference"] == "Patient/new"


def replace_match(api: Api) -> Callable[[], None]:
    def run() -> None:
        api.delete("Patient/old")
        api.put("Patient/new", known(id="new"))

    return run


def test_a_batch_answers_a_head_entry_like_a_get(api: Api) -> None:
    api.put("Patient/a", patient(id="a"))
    answer = api.post("", bundle(request("HEAD", "Patient/a"), request("HEAD", "Patient/b"), kind="batch"))
    assert statuses(answer) == ["200", "404"]
