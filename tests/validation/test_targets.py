"""What references of a profile may point to, and where that may stand."""

from __future__ import annotations

from typing import Any

import pytest
from profiling import CORE, URL, P, checker, element, places, profile

Json = dict[str, Any]
NAMED = URL + "named"
NAMED_ORGANIZATION = profile(NAMED, "Organization", element("Organization.name", min=1))


def patient(reference: Any, **parts: Any) -> Json:
    return {"resourceType": "Patient", "managingOrganization": reference, **parts}


def pointing(*targets: str, aggregation: tuple[str, ...] = ()) -> Json:
    declared: Json = {"code": "Reference", "targetProfile": list(targets)}
    if aggregation:
        declared["aggregation"] = list(aggregation)
    return profile(P, "Patient", element("Patient.managingOrganization", type=[declared]))


def organization(**parts: Any) -> Json:
    return {"resourceType": "Organization", "id": "o", **parts}


def bundle(*resources: Json) -> Json:
    entries = [{"fullUrl": f"http://x/fhir/{r['resourceType']}/{r['id']}", "resource": r} for r in resources]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def of_entries(target: Json) -> list[Json]:
    """A profile of Bundle whose Patients conform to `target`."""
    found = element("Bundle.entry.resource", type=[{"code": "Patient", "profile": [P]}, {"code": "Organization"}])
    return [profile(URL + "b", "Bundle", found), target]


def test_the_type_named_in_a_reference() -> None:
    made = profile(P, "Observation", element("Observation.performer", type=[to("Practitioner"), to("Device")]))
    made["differential"]["element"][0]["type"] = [to("Practitioner", "Patient")]
    check = checker(made)

    def performed(reference: Json) -> Json:
        return {"resourceType": "Observation", "performer": [reference]}

    for good in (
        {"reference": "Practitioner/1"},
        {"reference": "http://x/Patient/1/_history/2"},
        {"reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"},
        {"display": "who"},
        {"identifier": {"value": "1"}, "type": "Practitioner"},
    ):
        assert check(performed(good)) == [], good
    for bad in (
        {"reference": "Organization/1"},
        {"reference": "http://x/Organization/1"},
        {"reference": "Organization?name=x"},
        {"identifier": {"value": "1"}, "type": "Organization"},
    ):
        ((code, place, text),) = check(performed(bad))
        assert (code, place) == ("value", "Observation.performer[0]")
        assert f"[targetProfile of Observation.performer in {P}]" in text


def to(*types: str) -> Json:
    return {"code": "Reference", "targetProfile": [CORE + t for t in types]}


def test_a_contained_target_must_conform() -> None:
    check = checker(pointing(NAMED), NAMED_ORGANIZATION)
    assert check(patient({"reference": "#o"}, contained=[organization(name="O")])) == []
    ((code, place, text),) = check(patient({"reference": "#o"}, contained=[organization(active=True)]))
    assert (code, place) == ("value", "Patient.managingOrganization")
    assert NAMED in text
    assert "Organization.name: missing; at least 1 required" in text


def test_one_of_several_target_profiles_is_enough() -> None:
    active = URL + "active"
    check = checker(
        pointing(NAMED, active),
        NAMED_ORGANIZATION,
        profile(active, "Organization", element("Organization.active", min=1)),
    )
    assert check(patient({"reference": "#o"}, contained=[organization(active=True)])) == []
    assert len(check(patient({"reference": "#o"}, contained=[organization(alias=["O"])]))) == 1


def test_a_plain_type_among_the_targets_is_enough() -> None:
    check = checker(pointing(NAMED, CORE + "Organization"), NAMED_ORGANIZATION)
    assert check(patient({"reference": "#o"}, contained=[organization(active=True)])) == []


def test_a_relative_reference_means_the_server_of_its_own_entry() -> None:
    check = checker(*of_entries(pointing(NAMED)), NAMED_ORGANIZATION)
    named, unnamed = organization(name="O"), organization(active=True)

    def entries(of: Json, first: str, second: str) -> Json:
        found = [("http://a/", first), ("http://b/", second)]
        by_server = {"http://a/": named, "http://b/": unnamed}
        entry = [{"fullUrl": f"{server}Organization/o", "resource": by_server[server]} for server, _ in reversed(found)]
        entry += [{"fullUrl": f"{server}Patient/{id}", "resource": of} for server, id in found if id]
        return {"resourceType": "Bundle", "type": "collection", "entry": entry}

    one = patient({"reference": "Organization/o"}, id="p")
    assert check(entries(one, "p", ""), URL + "b") == []
    assert places(check(entries(one, "", "p"), URL + "b")) == [
        ("value", "Bundle.entry[2].resource.managingOrganization")
    ]


def test_without_a_server_in_its_entry_a_relative_reference_goes_by_type_and_id() -> None:
    check = checker(*of_entries(pointing(NAMED)), NAMED_ORGANIZATION)
    around = bundle(patient({"reference": "Organization/o"}, id="p"), organization(active=True))
    around["entry"][0]["fullUrl"] = "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"
    assert len(check(around, URL + "b")) == 1


def test_what_is_contained_in_an_entry_is_found_from_rules_of_the_bundle() -> None:
    target = {"code": "Reference", "targetProfile": [NAMED], "aggregation": ["contained"]}
    check = checker(
        profile(
            P,
            "Bundle",
            element("Bundle.entry.resource", type=[{"code": "Patient"}]),
            element("Bundle.entry.resource.managingOrganization", type=[target]),
        ),
        NAMED_ORGANIZATION,
    )
    good = patient({"reference": "#o"}, id="p", contained=[organization(name="O")])
    assert check(bundle(good)) == []
    assert len(check(bundle(patient({"reference": "#o"}, id="p", contained=[organization(active=True)])))) == 1


@pytest.mark.parametrize("reference", ["Organization/o", "http://x/fhir/Organization/o"])
def test_a_target_in_the_same_bundle_must_conform(reference: str) -> None:
    check = checker(*of_entries(pointing(NAMED)), NAMED_ORGANIZATION)
    one = patient({"reference": reference}, id="p")
    assert check(bundle(one, organization(name="O")), URL + "b") == []
    faults = check(bundle(organization(active=True), one), URL + "b")
    assert places(faults) == [("value", "Bundle.entry[1].resource.managingOrganization")]


def test_a_target_elsewhere_is_not_fetched() -> None:
    check = checker(*of_entries(pointing(NAMED)), NAMED_ORGANIZATION)
    for reference in ("Organization/other", "http://elsewhere/fhir/Organization/o"):
        one = patient({"reference": reference}, id="p")
        assert check(bundle(one, organization(active=True)), URL + "b") == []


def test_a_target_profile_that_is_not_available_gives_a_warning_where_it_matters() -> None:
    absent = "http://nowhere.example/x"
    check = checker(pointing(NAMED, absent), NAMED_ORGANIZATION)
    good = patient({"reference": "#o"}, contained=[organization(name="O")])
    assert (check(good), check(good, severity="warning")) == ([], [])
    other = patient({"reference": "#o"}, contained=[organization(active=True)])
    assert check(other) == []
    ((_, _, text),) = check(other, severity="warning")
    assert absent in text


def test_resources_that_refer_to_each_other_come_to_an_end() -> None:
    check = checker(
        profile(P, "Organization", element("Organization.partOf", type=[{"code": "Reference", "targetProfile": [P]}]))
    )
    inner = organization(partOf={"reference": "#"})
    outer = {"resourceType": "Organization", "partOf": {"reference": "#o"}, "contained": [inner]}
    assert check(outer) == []


@pytest.mark.parametrize(
    ("modes", "reference", "fits"),
    [
        (["contained"], "#o", True),
        (["contained"], "Organization/1", False),
        (["referenced"], "Organization/1", True),
        (["referenced"], "#o", False),
        (["bundled"], "Organization/1", False),
        (["contained", "referenced"], "#o", True),
    ],
)
def test_aggregation(modes: list[str], reference: str, fits: bool) -> None:
    check = checker(pointing(CORE + "Organization", aggregation=tuple(modes)))
    faults = check(patient({"reference": reference}, contained=[organization(name="O")]))
    assert places(faults) == ([] if fits else [("value", "Patient.managingOrganization")])
    assert all(f"[aggregation of Patient.managingOrganization in {P}]" in text for *_, text in faults)


@pytest.mark.parametrize(
    ("modes", "reference", "fits"),
    [
        (["bundled"], "Organization/o", True),
        (["referenced"], "Organization/o", True),
        (["bundled"], "Organization/other", False),
        (["contained"], "Organization/o", False),
    ],
)
def test_aggregation_in_a_bundle(modes: list[str], reference: str, fits: bool) -> None:
    check = checker(*of_entries(pointing(CORE + "Organization", aggregation=tuple(modes))))
    faults = check(bundle(patient({"reference": reference}, id="p"), organization(name="O")), URL + "b")
    assert (faults == []) is fits


def test_a_reference_without_a_text_has_no_aggregation() -> None:
    check = checker(pointing(CORE + "Organization", aggregation=("contained",)))
    assert check(patient({"display": "O"})) == []
