"""The official examples: stored and read back unchanged, and found by the official queries."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.api import Api
from support.shared import example, example_names, needs_examples

from fhirstore.plugins import ProfileRequirement

pytestmark = needs_examples

# Elements that the base specification itself forbids; the dossier names them (SPEC.md §20).
FAULTY: frozenset[str] = frozenset()

PS = "Bundle-ExampleBundlePSIndiv.json"
CPTS = (
    "Slot?_include=Slot:schedule&_include:iterate=Schedule:actor&_include=Slot:service-type-reference"
    "&_include:iterate=HealthcareService:organization&start=ge2024-06-12T16:20:00.000+02:00"
    "&start=le2024-06-15T16:20:00.000+02:00&schedule.actor:Practitioner.identifier="
    "urn:oid:1.2.250.1.71.4.2.1|810002909371,urn:oid:1.2.250.1.71.4.2.1|810001288385&status=free"
)


def exact(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def load(api: Api, *but: str) -> None:
    for name in example_names():
        if name not in but:
            resource = example(name)
            answer = api.put(f"{resource['resourceType']}/{resource['id']}", resource)
            assert answer.status_code == 201, (name, answer.text)


@pytest.mark.parametrize("name", example_names())
def test_an_official_example_comes_back_as_it_was_sent(shared_sas: Api, name: str) -> None:
    sent = example(name)
    path = f"{sent['resourceType']}/{sent['id']}"
    answer = shared_sas.put(path, json.dumps(sent))
    assert answer.status_code == (422 if name in FAULTY else 201), answer.text
    if name in FAULTY:
        return
    back = exact(shared_sas.get(path).text)
    assert back["meta"].pop("versionId") == "1"
    assert back["meta"].pop("lastUpdated")
    if not back["meta"]:
        del back["meta"]
    assert back == exact(json.dumps(sent))


def found(answer: Any) -> set[tuple[str, str]]:
    return {(e["resource"]["resourceType"], e["resource"]["id"]) for e in answer.get("entry", [])}


@pytest.mark.parametrize(
    ("bundle", "query", "left_out"),
    [
        (PS, None, ("Slot-ExampleSlotPSIndiv5.json",)),  # it came with 1.2.0, matches, and is not in the Bundle
        ("Bundle-ExampleBundleCPTS1.json", CPTS, ("Slot-ExampleSlotCPTS2.json",)),
        ("Bundle-ExampleBundleCPTS2.json", CPTS, ("Slot-ExampleSlotCPTS1.json",)),
    ],
)
def test_an_official_query_gives_the_resources_of_its_bundle(
    sas: Api, bundle: str, query: str | None, left_out: tuple[str, ...]
) -> None:
    load(sas, *left_out)
    official = example(bundle)
    query = query or "Slot?" + urlsplit(official["link"][0]["url"]).query
    answer = sas.get(query, Accept="application/json+fhir").get_json()
    assert found(answer) == found(official)
    assert len(answer["entry"]) == len(official["entry"])
    assert answer["total"] == official["total"]
    assert answer["meta"]["profile"] == official["meta"]["profile"]
    slots = {e["resource"]["id"]: e["resource"] for e in answer["entry"] if e["search"]["mode"] == "match"}
    for entry in official["entry"]:
        wanted = entry["resource"]
        if wanted["resourceType"] == "Slot":
            given = slots[wanted["id"]]
            assert given.pop("meta")["profile"] == wanted["meta"]["profile"]
            assert given == {k: v for k, v in wanted.items() if k != "meta"}


SOS = "Bundle-ExampleBundleAgregateurSOS.json"


@pytest.mark.parametrize(
    ("bundle", "query"),
    [(PS, None), ("Bundle-ExampleBundleCPTS1.json", CPTS), (SOS, None)],
    ids=["PS", "CPTS", "SOS"],
)
def test_the_answer_to_an_official_query_conforms_to_the_profile_of_its_bundle(
    sas: Api, bundle: str, query: str | None
) -> None:
    """Specialties as text alone are warnings here (SPEC §20, no. 12)."""
    load(sas)
    official = example(bundle)
    type = "Schedule" if bundle == SOS else "Slot"
    answer = sas.get(query or f"{type}?" + urlsplit(official["link"][0]["url"]).query).get_json()
    assert found(answer) >= found(official)
    demand = ProfileRequirement(official["meta"]["profile"][0], "asked", "enforce", text_only_severity="warning")
    assert [i for i in sas.ctx.validator.validate(answer, [demand]) if i.is_error] == []


def test_the_first_query_of_the_guide_finds_nothing_in_its_window(sas: Api) -> None:
    load(sas)
    answer = sas.get(
        "Slot?_include=Slot:schedule&_include:iterate=Schedule:actor&start=ge2021-01-02T10:00:00"
        "&start=le2021-01-06T10:00:00&schedule.actor:Practitioner.identifier="
        "urn:oid:1.2.250.1.71.4.2.1|810101288385,%20urn:oid:1.2.250.1.71.4.2.1|800001288385,"
        "urn:oid:1.2.250.1.71.4.2.1|810106738385&status=free"
    ).get_json()
    assert answer["total"] == 0
    assert "entry" not in answer
    assert len(answer["link"]) == 1
