"""https://hl7.org/fhir/R4/http.html#trules: links between the entries of a transaction, and conditional references."""

from __future__ import annotations

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
