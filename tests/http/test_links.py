"""https://hl7.org/fhir/R4/http.html#trules: links between the entries of a transaction, and conditional references."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import Api, issue, patient
from support.bundles import bundle, observation, request, statuses, urn


def test_links_between_new_resources_are_rewritten(api: Api) -> None:
    who = urn()
    answer = api.post(
        "", bundle(request("POST", "Observation", observation(who)), request("POST", "Patient", patient(), who))
    )
    assert answer.status_code == 200
    result = answer.get_json()
    assert result["type"] == "transaction-response"
    assert statuses(answer) == ["201", "201"]
    places = [e["response"]["location"] for e in result["entry"]]
    read = api.get(places[0]).get_json()
    assert read["subject"]["reference"] == places[1].split("/_history")[0]
    assert result["entry"][0]["response"]["etag"] == 'W/"1"'


def test_links_in_uris_and_narrative_are_rewritten_and_identifier_values_are_not(api: Api) -> None:
    who = urn()
    note = observation(
        who,
        text={"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{who}">p</a></div>'},
        identifier=[{"system": "urn:ietf:rfc:3986", "value": who}],
        extension=[{"url": "http://example.org/link", "valueUri": who}],
    )
    answer = api.post("", bundle(request("POST", "Patient", patient(), who), request("POST", "Observation", note)))
    ref, place = (e["response"]["location"].split("/_history")[0] for e in answer.get_json()["entry"])
    read = api.get(place).get_json()
    assert f'href="{ref}"' in read["text"]["div"]
    assert read["identifier"][0]["value"] == who
    assert read["extension"][0]["valueUri"] == ref


def test_images_in_a_narrative_are_rewritten(api: Api) -> None:
    image = urn()
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><img src="{image}" alt="x"/></div>'
    shown = patient(text={"status": "generated", "div": div})
    binary = {"resourceType": "Binary", "contentType": "image/png", "data": "AAAA"}
    answer = api.post("", bundle(request("POST", "Binary", binary, image), request("POST", "Patient", shown)))
    ref, place = (e["response"]["location"].split("/_history")[0] for e in answer.get_json()["entry"])
    assert f'src="{ref}"' in api.get(place).get_json()["text"]["div"]


def test_a_relative_reference_means_the_new_resource_whose_full_url_it_completes(api: Api) -> None:
    """https://hl7.org/fhir/R4/bundle.html#references"""
    api.put("Patient/1", patient("Other", id="1"))
    answer = api.post(
        "",
        bundle(
            request("POST", "Patient", patient(), "http://example.org/fhir/Patient/1"),
            request("POST", "Observation", observation("Patient/1")),
            request("POST", "Observation", observation("http://example.org/fhir/Patient/1")),
        ),
    )
    new, *observations = (e["response"]["location"].split("/_history")[0] for e in answer.get_json()["entry"])
    assert new != "Patient/1"
    assert [api.get(place).get_json()["subject"]["reference"] for place in observations] == [new, new]


def test_a_fragment_of_a_link_stays(api: Api) -> None:
    who = urn()
    note = observation(who, extension=[{"url": "http://example.org/link", "valueUri": f"{who}#part"}])
    answer = api.post("", bundle(request("POST", "Patient", patient(), who), request("POST", "Observation", note)))
    ref, place = (e["response"]["location"].split("/_history")[0] for e in answer.get_json()["entry"])
    assert api.get(place).get_json()["extension"][0]["valueUri"] == f"{ref}#part"


def test_texts_are_not_rewritten(api: Api) -> None:
    who = urn()
    note = observation(who, note=[{"text": who}])
    note["subject"]["display"] = who
    answer = api.post("", bundle(request("POST", "Patient", patient(), who), request("POST", "Observation", note)))
    read = api.get(answer.get_json()["entry"][1]["response"]["location"]).get_json()
    assert (read["subject"]["display"], read["note"][0]["text"]) == (who, who)


def test_a_full_url_names_one_entry(api: Api) -> None:
    who = urn()
    entry = request("POST", "Patient", patient(), who)
    answer = api.post("", bundle(entry, {**entry, "resource": patient("Petit")}))
    assert answer.status_code == 400
    assert issue(answer)["expression"] == ["Bundle.entry[1].fullUrl"]
    assert api.ids("Patient") == []


def test_conditional_references_are_resolved(api: Api) -> None:
    id = api.created(patient(identifier=[{"system": "urn:a", "value": "1"}]))["id"]
    answer = api.post("", bundle(request("POST", "Observation", observation("Patient?identifier=urn:a|1"))))
    place = answer.get_json()["entry"][0]["response"]["location"]
    assert api.get(place).get_json()["subject"]["reference"] == f"Patient/{id}"


def test_a_conditional_reference_without_match_fails_the_transaction(api: Api) -> None:
    answer = api.post(
        "",
        bundle(
            request("POST", "Patient", patient()),
            request("POST", "Observation", observation("Patient?identifier=urn:a|1")),
        ),
    )
    assert answer.status_code == 412
    assert "Bundle.entry[1]" in issue(answer)["expression"]
    assert api.ids("Patient") == []


# --- by type --------------------------------------------------------------------------------------

WHO = "urn:uuid:7d0c6a3e-1111-4222-8333-123456789abc"
EXTENSION = "http://example.org/extension"


def stored(api: Api, resource: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(the reference of a new Patient whose fullUrl is WHO, the resource as a transaction with both stores it)"""
    answer = api.post(
        "", bundle(request("POST", "Patient", patient(), WHO), request("POST", resource["resourceType"], resource))
    )
    assert answer.status_code == 200, answer.text
    who, other = (e["response"]["location"].split("/_history")[0] for e in answer.get_json()["entry"])
    return who, api.get(other).get_json()


@pytest.mark.parametrize("type", ["Uri", "Url"])
def test_links_of_extensions_are_rewritten(api: Api, type: str) -> None:
    who, read = stored(api, observation("Patient/x", extension=[{"url": EXTENSION, f"value{type}": WHO}]))
    assert read["extension"][0][f"value{type}"] == who


@pytest.mark.parametrize("type", ["Canonical", "String", "Markdown", "Code", "Uuid"])
def test_values_of_other_types_are_not_rewritten(api: Api, type: str) -> None:
    _, read = stored(api, observation("Patient/x", extension=[{"url": EXTENSION, f"value{type}": WHO}]))
    assert read["extension"][0][f"value{type}"] == WHO


def test_links_deep_in_a_resource_are_rewritten(api: Api) -> None:
    """In extensions of primitives, in contained resources, in backbone elements, in arrays."""
    link = {"url": EXTENSION, "valueReference": {"reference": WHO}}
    sent = observation(
        "#c",
        contained=[{"resourceType": "Patient", "id": "c", "link": [{"other": {"reference": WHO}, "type": "seealso"}]}],
        _status={"extension": [link]},
        component=[{"code": {"text": "x", "extension": [link]}, "valueString": "x"}],
        performer=[{"reference": WHO}, {"reference": "Practitioner/x"}],
    )
    who, read = stored(api, sent)
    assert read["contained"][0]["link"][0]["other"]["reference"] == who
    assert read["_status"]["extension"][0]["valueReference"]["reference"] == who
    assert read["component"][0]["code"]["extension"][0]["valueReference"]["reference"] == who
    assert [one["reference"] for one in read["performer"]] == [who, "Practitioner/x"]


def test_an_array_of_uris_is_rewritten_one_by_one(api: Api) -> None:
    plan = {
        "resourceType": "CarePlan",
        "status": "active",
        "intent": "plan",
        "subject": {"reference": WHO},
        "instantiatesUri": [WHO, "http://example.org/other"],
        "instantiatesCanonical": ["http://example.org/plan"],
    }
    who, read = stored(api, plan)
    assert read["instantiatesUri"] == [who, "http://example.org/other"]


def test_names_are_not_rewritten(api: Api) -> None:
    _, read = stored(api, observation("Patient/x", extension=[{"url": WHO, "valueString": "x"}]))
    assert read["extension"][0]["url"] == WHO


def test_a_bundle_in_an_entry_keeps_the_links_between_its_own_entries(api: Api) -> None:
    other = "urn:uuid:7d0c6a3e-2222-4222-8333-123456789abc"
    inner = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"fullUrl": WHO, "resource": patient()},
            {"fullUrl": "urn:uuid:7d0c6a3e-3333-4222-8333-123456789abc", "resource": observation(WHO)},
            {"fullUrl": "urn:uuid:7d0c6a3e-4444-4222-8333-123456789abc", "resource": observation(other)},
        ],
    }
    answer = api.post(
        "",
        bundle(
            request("POST", "Patient", patient(), WHO),
            request("POST", "Patient", patient("Other"), other),
            request("POST", "Bundle", inner),
        ),
    )
    assert answer.status_code == 200, answer.text
    _, outer, place = (e["response"]["location"].split("/_history")[0] for e in answer.get_json()["entry"])
    entries = api.get(place).get_json()["entry"]
    assert entries[0]["fullUrl"] == WHO
    assert [e["resource"]["subject"]["reference"] for e in entries[1:]] == [WHO, outer]


# --- versions -------------------------------------------------------------------------------------


def test_a_link_to_a_version_of_an_entry_is_rewritten(api: Api) -> None:
    """Clients choose versions freely, "since they will all be re-assigned anyway"."""
    old = "http://example.org/fhir/Patient/1"
    sent = patient(meta={"versionId": "3"})
    links = (f"{old}/_history/3", f"{old}/_history/2", f"{WHO}/_history/1")
    answer = api.post(
        "",
        bundle(
            request("POST", "Patient", sent, old),
            request("POST", "Patient", patient(), WHO),
            *(request("POST", "Observation", observation(link)) for link in links),
        ),
    )
    assert answer.status_code == 200, answer.text
    first, second, *rest = (e["response"]["location"].split("/_history")[0] for e in answer.get_json()["entry"])
    assert [api.get(one).get_json()["subject"]["reference"] for one in rest] == [
        f"{first}/_history/1",
        f"{first}/_history/1",
        f"{second}/_history/1",
    ]


def test_a_link_to_a_version_of_what_a_conditional_create_finds_names_its_version(api: Api) -> None:
    known = patient(identifier=[{"system": "urn:a", "value": "1"}])
    api.put("Patient/a", {**known, "id": "a"})
    api.put("Patient/a", {**known, "id": "a", "active": True})
    found = request("POST", "Patient", known, WHO, ifNoneExist="identifier=urn:a|1")
    answer = api.post("", bundle(found, request("POST", "Observation", observation(f"{WHO}/_history/1"))))
    read = api.get(answer.get_json()["entry"][1]["response"]["location"]).get_json()
    assert read["subject"]["reference"] == "Patient/a/_history/2"


# --- narratives -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ('<a href="{0}">p</a>', '<a href="{1}">p</a>'),
        ("<a href='{0}'>p</a>", "<a href='{1}'>p</a>"),
        ('<a href = "{0}">p</a>', '<a href = "{1}">p</a>'),
        ('<a\n  title="x > y"\n  href="{0}" >p</a>', '<a\n  title="x > y"\n  href="{1}" >p</a>'),
        ("<img alt='p' src='{0}'/>", "<img alt='p' src='{1}'/>"),
        ('<a href="{0}#part">p</a>', '<a href="{1}#part">p</a>'),
        ('<a href="{0}/_history/1">p</a>', '<a href="{1}/_history/1">p</a>'),
        (
            '<p>é€😀<a href="{0}">p</a> &amp; <a href="{0}">q</a></p>',
            '<p>é€😀<a href="{1}">p</a> &amp; <a href="{1}">q</a></p>',
        ),
        ('<a href="urn:&#117;uid:{2}">p</a>', '<a href="{1}">p</a>'),
        ('<a title="href=\'{0}\'" href="{0}">p</a>', '<a title="href=\'{0}\'" href="{1}">p</a>'),
        ('<a title="{0}">{0}</a>', '<a title="{0}">{0}</a>'),
        ('<p title="{0}">href="{0}"</p>', '<p title="{0}">href="{0}"</p>'),
        ('<!-- <a href="{0}"> --><a href="http://x">p</a>', '<!-- <a href="{0}"> --><a href="http://x">p</a>'),
        ('<a href="{0}x">p</a>', '<a href="{0}x">p</a>'),
    ],
)
def test_links_of_narratives_are_read_as_xhtml(api: Api, sent: str, expected: str) -> None:
    before, after = '<div xmlns="http://www.w3.org/1999/xhtml">', "</div>"
    parts = (WHO, "", WHO.removeprefix("urn:uuid:"))
    text = {"status": "generated", "div": before + sent.format(*parts) + after}
    who, read = stored(api, observation("Patient/x", text=text))
    assert read["text"]["div"] == before + expected.format(WHO, who) + after


def test_a_narrative_that_is_not_well_formed_is_refused_as_it_is(api: Api) -> None:
    text = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{WHO}">p</div>'}
    note = request("POST", "Observation", observation("Patient/x", text=text))
    answer = api.post("", bundle(request("POST", "Patient", patient(), WHO), note))
    assert answer.status_code == 422
    assert "Bundle.entry[1].resource.text.div" in issue(answer)["expression"][0]


def test_many_links_in_one_narrative_are_rewritten(api: Api) -> None:
    many = "".join(f'<a href="{WHO}">{n}</a>' for n in range(300))
    text = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{many}</div>'}
    who, read = stored(api, observation("Patient/x", text=text))
    assert read["text"]["div"].count(f'href="{who}"') == 300
    assert WHO not in read["text"]["div"]
