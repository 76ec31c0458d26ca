"""https://hl7.org/fhir/R4/bundle.html: unique entries, references that resolve, and entries that belong together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fhirstore.errors import Issue

Json = dict[str, Any]
Faults = Callable[[Any], list[tuple[str, str, str]]]
Validate = Callable[[Any], list[Issue]]

BASE = "http://example.org/fhir/"
UUIDS = [f"urn:uuid:0b6b1f6e-0000-4000-8000-00000000000{n}" for n in range(6)]


def bundle(kind: str, *entries: Json, **more: Any) -> Json:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries), **more}


def entry(resource: Json, url: str | None = None, **more: Any) -> Json:
    return {"resource": resource} | ({"fullUrl": url} if url else {}) | more


def patient(id: str | None = "1", version: str | None = None, **more: Any) -> Json:
    out: Json = {"resourceType": "Patient", **more}
    if id is not None:
        out["id"] = id
    if version is not None:
        out["meta"] = {"versionId": version}
    return out


def observation(subject: str, **more: Any) -> Json:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "Weight"},
        "subject": {"reference": subject},
        **more,
    }


def composition(*references: str, **more: Any) -> Json:
    """A Composition with one section, which refers to entries."""
    section: Json = {"entry": [{"reference": r} for r in references]} if references else {}
    return {
        "resourceType": "Composition",
        "status": "final",
        "type": {"text": "Letter"},
        "date": "2030-01-01",
        "title": "Letter",
        "author": [{"display": "Anne"}],
        "section": [{"title": "a", "text": NARRATIVE} | section],
        **more,
    }


NARRATIVE = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">text</div>'}
STAMPED = {"identifier": {"system": "urn:ietf:rfc:3986", "value": UUIDS[5]}, "timestamp": "2030-01-01T00:00:00Z"}


def document(*entries: Json, **more: Any) -> Json:
    return bundle("document", *entries, **STAMPED, **more)


def found(issues: list[Issue], severity: str) -> list[tuple[str, str, str | None]]:
    return [(i.code, i.expression[0], i.rule) for i in issues if i.severity == severity]


# --- unique entries -----------------------------------------------------------------------------------


def test_a_full_url_occurs_once(faults: Faults) -> None:
    one = entry(patient(None), UUIDS[0])
    assert [(c, e) for c, e, _ in faults(bundle("collection", one, entry(patient(None)), one))] == [
        ("invariant", "Bundle.entry[2].fullUrl")
    ]
    versions = [entry(patient(None, version), UUIDS[0]) for version in "12"]
    assert faults(bundle("collection", *versions)) == []


@pytest.mark.parametrize("kind", ["collection", "searchset"])
@pytest.mark.parametrize("urls", [(None, None), (UUIDS[0], UUIDS[1]), (None, UUIDS[1]), (None, f"{BASE}Patient/2")])
def test_a_resource_occurs_once(kind: str, urls: tuple[str | None, str | None], validate: Validate) -> None:
    entries = [entry(patient("1"), url) for url in urls]

    assert found(validate(bundle(kind, *entries)), "error") == [
        ("duplicate", "Bundle.entry[1].resource.id", "duplicate-entry")
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (entry(patient("1", "1")), entry(patient("1", "2"))),
        (entry(patient("1")), entry(patient("2"))),
        (entry(patient("1")), entry({"resourceType": "Basic", "id": "1", "code": {"text": "a"}})),
        (entry(patient("1"), f"{BASE}Patient/1"), entry(patient("1"), "http://other.org/Patient/1")),
        (entry(patient(None)), entry(patient(None))),
    ],
    ids=["versions", "ids", "types", "servers", "no ids"],
)
def test_other_resources_may_occur_beside_it(one: Json, other: Json, faults: Faults) -> None:
    assert faults(bundle("collection", one, other)) == []


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_requests_may_send_one_id_twice(kind: str, faults: Faults) -> None:
    request = {"method": "POST", "url": "Patient"}

    assert faults(bundle(kind, entry(patient("1"), request=request), entry(patient("1"), request=request))) == []


def test_a_history_contains_one_resource_several_times(faults: Faults) -> None:
    more = {"request": {"method": "PUT", "url": "Patient/1"}, "response": {"status": "200"}}
    entries = [entry(patient("1"), f"{BASE}Patient/1", **more)] * 2

    assert faults(bundle("history", *entries)) == []


# --- references ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("urn", [UUIDS[3], "urn:oid:1.2.3", f"{UUIDS[0]}-X"])
@pytest.mark.parametrize("kind", ["collection", "searchset", "batch"])
def test_a_reference_to_an_urn_that_no_entry_has_gives_a_warning(urn: str, kind: str, validate: Validate) -> None:
    more = {"request": {"method": "POST", "url": "Observation"}} if kind == "batch" else {}
    issues = validate(bundle(kind, entry(patient(), UUIDS[0]) | more, entry(observation(urn), UUIDS[1]) | more))

    assert found(issues, "error") == []
    assert found(issues, "warning") == [
        ("not-found", "Bundle.entry[1].resource.subject.reference", "unresolved-reference")
    ]


@pytest.mark.parametrize("reference", [UUIDS[0], "Patient/7", "http://other.org/Patient/7", "urn:example:x", "#c"])
def test_a_reference_that_resolves_or_leads_outside_is_accepted(reference: str, validate: Validate) -> None:
    contained = {"contained": [patient("c")]} if reference == "#c" else {}
    source = observation(reference, **contained)

    assert validate(bundle("collection", entry(patient(), UUIDS[0]), entry(source, UUIDS[1]))) == []


def test_references_outside_of_a_bundle_are_not_resolved(validate: Validate) -> None:
    assert validate(observation(UUIDS[0])) == []


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"subject": {"reference": UUIDS[2]}}, "subject"),
        ({"author": [{"display": "a"}, {"reference": "Practitioner/2"}]}, "author[1]"),
        ({"encounter": {"reference": "Encounter/2"}}, "encounter"),
        ({"custodian": {"reference": "http://other.org/Organization/1"}}, "custodian"),
        ({"attester": [{"mode": "legal", "party": {"reference": "Patient/2"}}]}, "attester[0].party"),
        ({"event": [{"detail": [{"reference": "Basic/2"}]}]}, "event[0].detail[0]"),
        ({"section": [{"title": "a", "entry": [{"reference": "Patient/2"}]}]}, "section[0].entry[0]"),
        (
            {"section": [{"section": [{"text": NARRATIVE, "focus": {"reference": "Patient/2"}}]}]},
            "section[0].section[0].focus",
        ),
    ],
)
def test_a_document_contains_what_its_composition_refers_to(more: Json, path: str, validate: Validate) -> None:
    issues = validate(document(entry(composition(**more), UUIDS[0])))

    assert found(issues, "error") == [
        ("not-found", f"Bundle.entry[0].resource.{path}.reference", "unresolved-reference")
    ]


def test_a_relative_reference_is_resolved_against_the_full_url(faults: Faults) -> None:
    subject = {"subject": {"reference": "Patient/1"}}
    section = {"section": [{"title": "a", "entry": [{"reference": "Patient/1"}]}]}
    first = composition() | subject | section

    assert faults(document(entry(first, f"{BASE}Composition/1"), entry(patient(), f"{BASE}Patient/1"))) == []
    issues = faults(document(entry(first, UUIDS[0]), entry(patient(), UUIDS[1])))
    assert {e for _, e, _ in issues} == {
        "Bundle.entry[0].resource.subject.reference",
        "Bundle.entry[0].resource.section[0].entry[0].reference",
    }
    assert all(f"entry[1] has this type and id, but its fullUrl the string '{UUIDS[1]}'" in d for _, _, d in issues)


def test_a_reference_to_a_version_finds_that_version(faults: Faults) -> None:
    def letter(version: str) -> Json:
        first = composition(f"{BASE}Patient/1/_history/{version}")
        versions = [entry(patient("1", v), f"{BASE}Patient/1") for v in "12"]
        return document(entry(first, f"{BASE}Composition/1"), *versions)

    assert [e for _, e, _ in faults(letter("3"))][:1] == ["Bundle.entry[0].resource.section[0].entry[0].reference"]
    assert "Bundle.entry[0].resource.section[0].entry[0].reference" not in [e for _, e, _ in faults(letter("2"))]


def test_a_message_contains_its_focus(validate: Validate) -> None:
    header = {
        "resourceType": "MessageHeader",
        "eventUri": "http://example.org/e",
        "source": {"endpoint": "http://example.org"},
        "focus": [{"reference": UUIDS[1]}, {"reference": UUIDS[2]}],
    }
    message = bundle("message", entry(header, UUIDS[0]), entry(patient(), UUIDS[1]), **STAMPED)

    assert found(validate(message), "error") == [
        ("not-found", "Bundle.entry[0].resource.focus[1].reference", "unresolved-reference")
    ]


# --- connected entries --------------------------------------------------------------------------------


def test_an_entry_that_nothing_connects_with_the_composition_is_refused(validate: Validate) -> None:
    issues = validate(
        document(
            entry(composition(UUIDS[1]), UUIDS[0]),
            entry(observation(UUIDS[2]), UUIDS[1]),
            entry(patient(), UUIDS[2]),
            entry(observation(UUIDS[4]), UUIDS[3]),
            entry(patient("2"), UUIDS[4]),
        )
    )

    assert found(issues, "error") == [
        ("invalid", "Bundle.entry[3]", "unreachable-entry"),
        ("invalid", "Bundle.entry[4]", "unreachable-entry"),
    ]


def test_an_entry_that_refers_to_the_content_gives_a_warning_unless_it_is_a_provenance(validate: Validate) -> None:
    provenance = {
        "resourceType": "Provenance",
        "target": [{"reference": UUIDS[0]}],
        "recorded": "2030-01-01T00:00:00Z",
        "agent": [{"who": {"display": "a"}}],
    }
    issues = validate(
        document(
            entry(composition(UUIDS[1]), UUIDS[0]),
            entry(patient(), UUIDS[1]),
            entry(observation(UUIDS[1]), UUIDS[2]),
            entry(provenance, UUIDS[3]),
        )
    )

    assert found(issues, "error") == []
    assert found(issues, "warning") == [("invalid", "Bundle.entry[2]", "unreachable-entry")]


def test_an_unconnected_entry_of_a_message_gives_a_warning(validate: Validate) -> None:
    header = {
        "resourceType": "MessageHeader",
        "eventUri": "http://example.org/e",
        "source": {"endpoint": "http://example.org"},
    }
    issues = validate(bundle("message", entry(header, UUIDS[0]), entry(patient(), UUIDS[1]), **STAMPED))

    assert found(issues, "error") == []
    assert found(issues, "warning") == [("invalid", "Bundle.entry[1]", "unreachable-entry")]


def test_a_style_sheet_is_connected_by_the_link_of_the_bundle(faults: Faults) -> None:
    sheet = {"resourceType": "Binary", "id": "css", "contentType": "text/css"}
    link = [{"relation": "stylesheet", "url": "Binary/css"}]

    entries = [entry(composition(), UUIDS[0]), entry(sheet, UUIDS[1])]
    assert faults(document(*entries, link=link)) == []
    assert [e for _, e, _ in faults(document(*entries))] == ["Bundle.entry[1]"]


def test_the_entries_of_a_collection_need_no_connection(faults: Faults) -> None:
    assert faults(bundle("collection", entry(patient("1")), entry(patient("2")))) == []


def test_long_chains_of_references_are_followed(faults: Faults) -> None:
    chain = [observation(UUIDS[0], id=str(n), hasMember=[{"reference": f"Observation/{n + 1}"}]) for n in range(3000)]
    last = observation(UUIDS[0], id="3000")
    entries = [entry(one) for one in (*chain, last)]

    for first in ("Observation/0", "Observation/3000"):
        assert faults(document(entry(composition(first)), *entries, entry(patient(), UUIDS[0]))) == []
