"""The official example queries, sent over HTTP to a server with the official example data: the answers are valid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, Template
from support.process import Process
from support.sas_kit import ACCEPT, SAS, SASFR
from support.shared import example, example_names, needs_examples

pytestmark = needs_examples

AGENDA = "_include=Slot:schedule&_include:iterate=Schedule:actor"
CPTS = "&_include=Slot:service-type-reference&_include:iterate=HealthcareService:organization"
IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
IDNST = "urn:oid:1.2.250.1.71.4.2.2"
WHO = "schedule.actor:Practitioner.identifier"
PLACES = "_revinclude=Slot:schedule&_include=Schedule:actor:Location&_include:iterate=Location:organization"
HAS = "_has:Slot:schedule:"
BUNDLES = {
    "PS": SASFR + "BundleAgregateur",
    "CPTS": SAS + "sas-cpts-bundle-aggregator",
    "SOS": SAS + "sas-sos-bundle-aggregator",
}
# The queries of SPEC §3 and §4 as they are written there, and how many slots they find.
QUERIES = {
    "PS, text": (
        "PS",
        f"Slot?{AGENDA}&start=ge2021-01-02T10:00:00&start=le2021-01-06T10:00:00&{WHO}={IDNPS}|810101288385, "
        f"{IDNPS}|800001288385,{IDNPS}|810106738385&status=free",
        0,
    ),
    "PS, self link": (
        "PS",
        f"Slot/?{AGENDA}&status=free&start=ge2021-11-04T14:19:35.760+00:00&start=le2021-11-06T23:59:59.999+00:00"
        f"&{WHO}={IDNPS}%7C810002673899,{IDNPS}%7C810100050075&_count=1000",
        5,
    ),
    "CPTS, text": (
        "CPTS",
        f"Slot?{AGENDA}{CPTS}&start=ge2024-06-12T16:20:00.000+02:00&start=le2024-06-15T16:20:00.000+02:00"
        f"&{WHO}={IDNPS}|810002909371,{IDNPS}|810001288385&status=free",
        2,
    ),
    "CPTS, self link": (
        "CPTS",
        f"Slot?{AGENDA}&start=ge2024-06-12T16:20:00.000+02:00&start=le2024-06-12T17:20:00.000+02:00"
        f"&{WHO}={IDNPS}|810002909371&status=free&_include=Slot:service-type-reference",
        2,
    ),
    "SOS, text": (
        "SOS",
        f"Schedule?{PLACES}&{HAS}start=ge2023-08-18T10:00:00+02:00&{HAS}start=le2023-08-20T09:00:00+02:00"
        f"&{HAS}status=free&actor:Location.organization.identifier={IDNST}7C334173748400020,{IDNST}%7C340426662900033",
        0,
    ),
    "SOS, self link": (
        "SOS",
        f"Schedule?{PLACES}&{HAS}start=ge2023-08-18T09:00:00+02:00&{HAS}start=le2023-08-20T08:00:00+02:00"
        f"&{HAS}status=free&actor:Location.organization.identifier={IDNST}%7C334173748400020,"
        f"{IDNST}%7C392080466300010&_count=1000",
        4,
    ),
}


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def editor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("official")
    store = () if request.param == "sqlite" else ("--store", request.getfixturevalue("replica").url(folder))
    server = Process(folder / "official.db", "--plugin", "sas", "--capability", "sas-editor", *store, workers=1)
    try:
        for name in example_names():
            resource = example(name)
            status, _, answer = server.call("PUT", f"{resource['resourceType']}/{resource['id']}", resource)
            assert status == 201, (name, answer)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def judge(sas_template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Our own validator: `$validate` of a server that has it on Bundle."""
    folder: Path = tmp_path_factory.mktemp("judge")
    api = sas_template.fresh(folder / "judge.db")
    yield api
    api.ctx.store.close()


@pytest.mark.parametrize("name", QUERIES)
def test_the_answer_is_valid_against_the_profile_of_its_bundle(editor: Process, judge: Api, name: str) -> None:
    mode, query, slots = QUERIES[name]
    status, headers, bundle = editor.call("GET", query.replace(" ", "%20"), headers=ACCEPT)
    assert (status, headers["Content-Type"].partition(";")[0]) == (200, "application/fhir+json")
    assert (bundle["total"], bundle["meta"]["profile"]) == (slots, [BUNDLES[mode]])
    found: list[dict[str, Any]] = judge.post(f"Bundle/$validate?profile={BUNDLES[mode]}", bundle).get_json()["issue"]
    assert [i for i in found if i["severity"] in ("error", "fatal")] == []


def test_the_validator_would_find_a_fault(editor: Process, judge: Api) -> None:
    _, query, _ = QUERIES["CPTS, text"]
    bundle = editor.call("GET", query, headers=ACCEPT)[2]
    for entry in bundle["entry"]:
        entry["resource"].pop("providedBy", None)
    found = judge.post(f"Bundle/$validate?profile={BUNDLES['CPTS']}", bundle).get_json()["issue"]
    assert [i for i in found if i["severity"] == "error"] != []
