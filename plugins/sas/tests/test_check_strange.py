"""The checks stand whatever an endpoint sends: no answer makes them fail, and every report can be written."""

from __future__ import annotations

import copy
import json
import random
from datetime import datetime
from typing import Any

import httpx
import pytest
from support.fuzz import STRANGE

from fhirstore_sas import demo_data
from fhirstore_sas.check.client import EndpointClient
from fhirstore_sas.check.languages import LANGUAGES
from fhirstore_sas.check.model import Exchange
from fhirstore_sas.check.queries import PARIS, PlatformSearch, plain, window
from fhirstore_sas.check.reports import FORMATS
from fhirstore_sas.check.response import parse_response
from fhirstore_sas.check.response_rules import CHECKS
from fhirstore_sas.check.run import CheckPlan, run
from fhirstore_sas.rules import Fault
from fhirstore_sas.searches import CPTS, PS, SOS, Mode
from fhirstore_sas.value_formats import is_web_address

NOW = datetime(2026, 10, 24, 8, tzinfo=PARIS)
CASES = 700


def bundle_of_each(mode: Mode) -> dict[str, Any]:
    """A Bundle with one of everything."""
    kinds = {r["resourceType"]: r for r in demo_data.resources(NOW.date())}
    url = "https://x.example/fhir"
    entries = [
        {"fullUrl": f"{url}/{t}/{r['id']}", "resource": r, "search": {"mode": "match"}} for t, r in kinds.items()
    ]
    return {"resourceType": "Bundle", "type": "searchset", "total": 1, "link": [{"relation": "self"}], "entry": entries}


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of all parts."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [(value, key) for key in keys] + [found for key in keys for found in places(value[key])]


@pytest.mark.parametrize("mode", [PS, CPTS, SOS], ids=lambda m: m.name)
def test_no_answer_makes_a_check_fail(mode: Mode) -> None:
    rng = random.Random(f"sas-check-{mode.name}")
    search = PlatformSearch(mode, ("899900000001",), *window(NOW))
    good, strange = bundle_of_each(mode), [*STRANGE, "http://[", "https://", "+", [1], {"coding": [None]}]
    for _ in range(CASES):
        bundle = copy.deepcopy(good)
        for _ in range(rng.randint(1, 3)):
            container, key = rng.choice(places(bundle))
            container[key] = copy.deepcopy(rng.choice(strange))
        exchange = Exchange("GET", "https://x.example/fhir/" + plain(search), status=200, text=json.dumps(bundle))
        answer = parse_response(search, exchange)
        for check in CHECKS if answer is not None else ():
            assert all(isinstance(fault, Fault) and str(fault) for fault in check.run(answer))


@pytest.mark.parametrize(
    "body",
    ["", "null", "[]", "7", '"x"', "{}", "[" * 9000, '{"a":' * 500 + "1" + "}" * 500, "<html>\ud83d", "{"],
    ids=range(10),
)
@pytest.mark.parametrize("status", [200, 302, 500])
def test_an_endpoint_that_speaks_no_fhir_gives_findings_and_reports(status: int, body: str) -> None:
    content = body.encode("utf-8", "surrogatepass")
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=content))
    with EndpointClient("http://x.example/fhir", transport=transport) as client:
        plan = CheckPlan((PS, SOS), ("899900000001",), ("399900000000112",), with_accounts=True)
        report = run(client, plan, lambda *_: [], NOW)
    assert {"metadata", "search-answered"} <= {finding.rule.id for finding in report.findings}
    assert all(FORMATS[format](report, texts) for format in FORMATS for texts in LANGUAGES.values())


@pytest.mark.parametrize("text", ["", "x", "http://[", "https://", "ftp://x.example", "//x.example"])
def test_what_is_no_web_address(text: str) -> None:
    assert not is_web_address(text)
