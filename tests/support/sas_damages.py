"""One damage for each fault that `fhirstore sas check` documents, with the rules that must report it."""

from __future__ import annotations

from fhirstore_sas.searches import CPTS, SOS
from support.sas_damage import (
    Damage,
    Json,
    accepted,
    all_accepted,
    bare_bounds_as_utc,
    cut_page,
    doubled,
    drop,
    each,
    entries,
    fails,
    identifier,
    labelled,
    link,
    more_total,
    no_outcomes,
    nothing_found,
    opened_place,
    other_practitioner,
    place,
    plain_type,
    set_,
    short_instants,
    twice,
    unprefixed,
    without,
    without_end,
    without_header,
    without_service,
)


def only(*ids: str) -> frozenset[str]:
    return frozenset(ids)


TOLD = "bundle-conforms"
"""A violation of a response profile is reported by the profile too."""

SILENT = only("search-answered", "search-unknown", "search-past", "search-malformed")
LAX = only("account-create-incomplete", "account-create-wrong", "account-update-incomplete", "account-put-incomplete")
CLOSED = only(
    "account-create-national",
    "account-create-technical",
    "account-create-twice",
    "account-disable",
    "account-enable",
    "account-change-mail",
    "account-change-identifier",
    "account-change-identifier-type",
    "account-change-family",
    "account-change-given",
    "account-put-creates",
    "account-identifier-freed",
    "account-outcome",
)


def with_604(slot: Json) -> None:
    system = "https://mos.esante.gouv.fr/NOS/TRE_R66-CategorieEtablissement/FHIR/TRE-R66-CategorieEtablissement"
    slot["serviceType"].append({"coding": [{"system": system, "code": "604"}]})


DAMAGES = [
    Damage(
        "self link with a raw |",
        only("self-link-uri", "self-link-literal"),
        answer=link(lambda u: u.replace("%7C", "|")),
    ),
    Damage(
        "self link that lacks a parameter",
        only("self-link-request", "self-link-literal"),
        answer=link(lambda u: u.replace("&status=free", "")),
    ),
    Damage(
        "self link with another base", only("self-link-literal"), answer=link(lambda u: u.replace("localhost", "inner"))
    ),
    Damage(
        "a next link",
        only("self-link"),
        answer=lambda b: b["link"].append({"relation": "next", "url": "http://localhost/fhir?p=2"}),
    ),
    Damage("total counts all entries", only("bundle-total"), answer=more_total),
    Damage(
        "entries without fullUrl",
        only("entry-full-url", TOLD),
        CPTS,
        entries(lambda e: [drop("fullUrl")(x) or x for x in e]),
    ),
    Damage(
        "entries without search mode", only("entry-mode"), answer=entries(lambda e: [drop("search")(x) or x for x in e])
    ),
    Damage("an entry twice", only("entry-once", TOLD), answer=twice("PractitionerRole")),
    Damage(
        "the stored profiles beside the right one",
        only("entry-profile"),
        answer=each("Slot", lambda s: s["meta"]["profile"].append("http://x.example/p")),
    ),
    Damage("the Bundle without profile", only("bundle-profile"), answer=drop("meta")),
    Damage("schedules left out", only("reference-resolves", "schedule-actor"), answer=without("Schedule")),
    Damage("schedules without the practitioner", only("schedule-actor"), answer=each("Schedule", other_practitioner)),
    Damage(
        "Location as an entry", only("entry-type", "role-location", "reference-resolves", TOLD), answer=opened_place
    ),
    Damage("instants without milliseconds", only("slot-instant"), answer=each("Slot", short_instants)),
    Damage("the upper bound ignored", only("slot-window", "search-bounds", "search-past"), query=without_end),
    Damage("busy slots", only("slot-status", TOLD), answer=each("Slot", set_(status="busy"))),
    Damage("private slots", only("slot-label", TOLD), answer=labelled("private")),
    Damage("the label CPTS in a PS answer", only("slot-label"), answer=labelled("CPTS")),
    Damage("slots without booking page", only("slot-comment"), answer=each("Slot", drop("comment"))),
    Damage(
        "booking page without query string",
        only("slot-comment-query"),
        answer=each("Slot", set_(comment="https://rdv.example/a")),
    ),
    Damage(
        "an unknown kind of consultation",
        only("slot-consultation"),
        answer=each("Slot", lambda s: s["serviceType"][0]["coding"][0].update(code="IMP")),
    ),
    Damage("service types 604 without extension", only("slot-cpts", TOLD), CPTS, each("Slot", without_service)),
    Damage(
        "practitioner ids without prefix",
        only("practitioner-identifier", "practitioner-asked"),
        answer=each("Practitioner", identifier(unprefixed)),
    ),
    Damage(
        "a second identifier of the practitioner",
        only("practitioner-identifier", TOLD),
        answer=each("Practitioner", lambda p: p["identifier"].append({"system": "https://x.example", "value": "7"})),
    ),
    Damage(
        "practitioners without given name",
        only("practitioner-name"),
        answer=each("Practitioner", lambda p: p["name"][0].pop("given")),
    ),
    Damage(
        "national phone numbers",
        only("phone"),
        answer=each("PractitionerRole", lambda r: r["telecom"][0].update(value="0299010000")),
    ),
    Damage(
        "postal codes of four digits",
        only("location-address"),
        answer=place(lambda p: p["address"].update(postalCode="3500")),
    ),
    Damage(
        "structure ids without prefix",
        only("role-structure"),
        answer=each("PractitionerRole", lambda r: unprefixed(r["organization"]["identifier"])),
    ),
    Damage(
        "an OID without urn:oid:",
        only("identifier-oid", "practitioner-identifier", TOLD),
        answer=each("Practitioner", identifier(set_(system="1.2.250.1.71.4.2.1"))),
    ),
    Damage("an empty text", only("element-empty", TOLD), answer=each("Schedule", set_(comment=""))),
    Damage(
        "organizations of CPTS without service",
        only("reference-resolves", "cpts-service"),
        CPTS,
        without("HealthcareService"),
    ),
    Damage(
        "SIRET without prefix",
        only("sos-identifier", "sos-asked", TOLD),
        SOS,
        each("Organization", identifier(unprefixed)),
    ),
    Damage("places of SOS without name", only("sos-location", TOLD), SOS, each("Location", drop("name"))),
    Damage("content type application/json", only("content-type"), raw=plain_type),
    Damage("bounds without offset read as UTC", only("search-bound-without-offset"), query=bare_bounds_as_utc),
    Damage("_count cuts the answer", only("search-one-page"), raw=cut_page),
    Damage(
        "an error for unknown practitioners",
        only("search-unknown", "search-unknown-ignored"),
        raw=fails("899999999999", 404, "unknown"),
    ),
    Damage("a malformed search answered by a page", only("search-malformed"), raw=fails("2026-13-45", 200, "Hello")),
    Damage(
        "parameter names not decoded", only("search-encoded-names"), raw=fails("_include%3Aiterate", 400, "unknown")
    ),
    Damage("no statement", only("metadata"), raw=fails("/metadata", 404, "nothing")),
    Damage("accounts created twice", only("account-create-twice"), raw=all_accepted, accounts=True),
    Damage("refusals without reason", only("account-outcome", "search-malformed"), raw=no_outcomes, accounts=True),
    Damage("no Location", only("account-location"), raw=without_header("location"), accounts=True),
    Damage(
        "a specialty as text after a coded one",
        only("specialty-text"),
        answer=each("Slot", lambda s: s["specialty"].append({"text": "Pneumologie"})),
    ),
    Damage("no slots", only("slots-found"), answer=nothing_found()),
    Damage(
        "an empty array where there is nothing",
        only("slots-found", "bundle-empty", "search-unknown"),
        answer=nothing_found(entry=[]),
    ),
    Damage("a collection", only("bundle-type", TOLD), answer=set_(type="collection")),
    Damage(
        "slots that end when they start", only("slot-order"), answer=each("Slot", lambda s: s.update(end=s["start"]))
    ),
    Damage("slots without appointment type", only("slot-appointment"), answer=each("Slot", drop("appointmentType"))),
    Damage("service types 604 in a PS answer", only("slot-ps-cpts"), answer=each("Slot", with_604)),
    Damage("a practitioner for each place", only("practitioner-once"), answer=doubled("Practitioner")),
    Damage(
        "regulators among practitioners",
        only("practitioner-account"),
        answer=each("Practitioner", lambda p: p["meta"].update(source="urn:oid:1.2.250.1.213.3.6")),
    ),
    Damage(
        "places whose identifiers have no type",
        only("location-identifier", TOLD),
        answer=place(identifier(drop("type"))),
    ),
    Damage("FINESS without prefix", only("cpts-identifier", TOLD), CPTS, each("Organization", identifier(unprefixed))),
    Damage("a CPTS without phone", only("cpts-contact"), CPTS, each("Organization", drop("telecom"))),
    Damage("several schedules for a place", only("sos-schedule"), SOS, doubled("Schedule")),
    Damage("Slot/ not understood", only("search-trailing-slash"), raw=fails("/Slot/?", 404, "unknown")),
    Damage("blanks not understood", only("search-blank-after-comma"), raw=fails(",%20", 400, "unknown")),
    Damage("a bare + not understood", only("search-bound-bare-plus"), raw=fails("000+0", 400, "unknown")),
    Damage("all searches refused", SILENT, raw=fails("/fhir/Slot", 500, "down")),
    Damage("incomplete accounts accepted", LAX, raw=accepted, accounts=True),
    Damage("accounts not served", CLOSED, raw=fails("/fhir/Practitioner", 405, "no"), accounts=True),
]
