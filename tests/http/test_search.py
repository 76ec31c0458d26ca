"""Searches as a client sees them: https://hl7.org/fhir/R4/search.html (rules of parameter types: tests/search)."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from support.api import Api, patient


@pytest.fixture
def ward(api: Api) -> Api:
    """Two patients with a practitioner each, and observations."""
    api.put("Organization/o", {"resourceType": "Organization", "id": "o", "name": "Clinique"})
    for n, family in enumerate(("Martin", "Mártinez", "Petit")):
        api.put(
            f"Practitioner/dr{n}", {"resourceType": "Practitioner", "id": f"dr{n}", "name": [{"family": f"Doc{n}"}]}
        )
        api.put(
            f"Patient/p{n}",
            patient(
                family,
                id=f"p{n}",
                gender="female" if n else "male",
                birthDate=f"19{50 + n}-03-01",
                generalPractitioner=[{"reference": f"Practitioner/dr{n}"}],
                managingOrganization={"reference": "Organization/o"},
            ),
        )
        for k in range(2):
            api.put(
                f"Observation/p{n}o{k}",
                {
                    "resourceType": "Observation",
                    "id": f"p{n}o{k}",
                    "status": "final",
                    "code": {"coding": [{"system": "http://loinc.org", "code": f"c{k}"}]},
                    "subject": {"reference": f"Patient/p{n}"},
                    "effectiveDateTime": f"2024-0{k + 1}-01T10:00:00+01:00",
                    "valueQuantity": {"value": 10 * n + k, "system": "http://unitsofmeasure.org", "code": "mm"},
                },
            )
    return api


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Patient?family=martin", {"p0", "p1"}),
        ("Patient?family:exact=Martin", {"p0"}),
        ("Patient?family:contains=ETI", {"p2"}),
        ("Patient?gender=female&birthdate=ge1952", {"p2"}),
        ("Patient?gender:not=male", {"p1", "p2"}),
        ("Patient?birthdate=1950-03,1952", {"p0", "p2"}),
        ("Patient?_id=p0,p2,none", {"p0", "p2"}),
        ("Patient?general-practitioner=Practitioner/dr1", {"p1"}),
        ("Patient?general-practitioner:Practitioner=dr1", {"p1"}),
        ("Patient?general-practitioner:Practitioner.family=doc2", {"p2"}),
        ("Patient?general-practitioner=http://localhost/fhir/Practitioner/dr1", {"p1"}),
        ("Patient?general-practitioner=http://elsewhere/fhir/Practitioner/dr1", set()),
        ("Patient?organization.name=clin&family=petit", {"p2"}),
        ("Patient?death-date:missing=true&gender=male", {"p0"}),
        ("Patient?_has:Observation:patient:code=http://loinc.org|c1", {"p0", "p1", "p2"}),
        ("Patient?_has:Observation:patient:value-quantity=gt19", {"p2"}),
        ("Observation?subject:Patient.general-practitioner:Practitioner.family=doc0", {"p0o0", "p0o1"}),
        ("Observation?patient.family=mart&code=c0", {"p0o0", "p1o0"}),
        ("Observation?value-quantity=11|http://unitsofmeasure.org|mm", {"p1o1"}),
        ("Observation?date=lt2024-01-15&patient=p2", {"p2o0"}),
        ("Practitioner?_has:Patient:general-practitioner:_has:Observation:patient:value-quantity=0", {"dr0"}),
        ("Patient?_lastUpdated=gt2020", {"p0", "p1", "p2"}),
        ("Patient?_lastUpdated=gt2999", set()),
    ],
)
def test_searches_find_exactly_what_they_describe(ward: Api, query: str, expected: set[str]) -> None:
    assert set(ward.ids(query)) == expected


def test_a_search_by_post_equals_one_by_get(ward: Api) -> None:
    answer = ward.call(
        "POST", "Patient/_search?gender=female", "family=petit", Content_Type="application/x-www-form-urlencoded"
    )
    assert [e["resource"]["id"] for e in answer.get_json()["entry"]] == ["p2"]
    assert "family=petit" in answer.get_json()["link"][0]["url"]


def test_includes_come_once_with_their_mode_and_full_url(ward: Api) -> None:
    answer = ward.get(
        "Observation?code=c0&_include=Observation:patient&_include:iterate=Patient:organization"
    ).get_json()
    modes = sorted((e["search"]["mode"], e["fullUrl"].split("/fhir/")[1]) for e in answer["entry"])
    assert modes == sorted(
        [("match", f"Observation/p{n}o0") for n in range(3)]
        + [("include", f"Patient/p{n}") for n in range(3)]
        + [("include", "Organization/o")]
    )
    assert answer["total"] == 3


def test_reverse_includes(ward: Api) -> None:
    answer = ward.get("Patient?_id=p1&_revinclude=Observation:patient").get_json()
    assert {e["resource"]["id"] for e in answer["entry"]} == {"p1", "p1o0", "p1o1"}


def test_sorted_pages_follow_the_next_links(ward: Api) -> None:
    seen, url = [], "Patient?_sort=-birthdate&_count=2"
    while url:
        page = ward.get(url).get_json()
        seen.append([e["resource"]["id"] for e in page["entry"]])
        assert page["total"] == 3
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    assert seen == [["p2", "p1"], ["p0"]]


def test_a_count_of_zero_gives_the_total_alone(ward: Api) -> None:
    for query in ("_count=0", "_summary=count"):
        answer = ward.get(f"Patient?{query}").get_json()
        assert answer["total"] == 3
        assert "entry" not in answer


def test_an_empty_answer_has_no_entry(ward: Api) -> None:
    answer = ward.get("Patient?family=nobody").get_json()
    assert answer["total"] == 0
    assert "entry" not in answer
    assert [link["relation"] for link in answer["link"]] == ["self"]


def test_elements_and_summary_label_what_they_cut(ward: Api) -> None:
    entry: Any = ward.get("Patient?_id=p0&_elements=gender").get_json()["entry"][0]["resource"]
    assert set(entry) == {"resourceType", "id", "meta", "gender"}
    assert entry["meta"]["tag"][-1]["code"] == "SUBSETTED"


def test_the_self_link_repeats_the_query_as_received(ward: Api) -> None:
    query = "birthdate=ge1950-01-01T00:00:00%2B01:00&identifier=a|b&_format=json"
    url = ward.get(f"Patient?{query}").get_json()["link"][0]["url"]
    assert "|" not in url
    assert "%2B" in url
    assert parse_qsl(urlsplit(url).query) == parse_qsl(query)
