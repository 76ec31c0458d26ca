"""Rules on the Bundle: its type, link, entries and the references between them (SPEC §3.1, §3.3)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import parse_qsl

from fhirstore_sas.check.model import CheckRule
from fhirstore_sas.check.response import CheckedResponse, ResponseCheck, name_of
from fhirstore_sas.response_entries import CONTAINED_LOCATION
from fhirstore_sas.rules import Fault, JsonNode, bundle_link, bundle_total, bundle_type, excerpt
from fhirstore_sas.searches import CPTS, SOS
from fhirstore_sas.value_formats import is_web_address

_CHARS = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/{}]|%[0-9A-Fa-f]{{2}})*"
_URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+.\-]*://[A-Za-z0-9\-._~:@\[\]%]+(?:/"
    + _CHARS.format("")
    + r")?(?:\?"
    + _CHARS.format("?")
    + ")?"
)
"""An absolute URI as a strict parser of RFC 3986 accepts it."""
_RELATIVE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")
JSON_TYPE = "application/fhir+json"
_CHARSET = re.compile(r"charset\s*=\s*\"?([^\";\s]*)", re.IGNORECASE)


def media_type(response: CheckedResponse) -> Iterator[Fault]:
    given = response.exchange.headers.get("content-type", "")
    type, _, rest = given.partition(";")
    charset = _CHARSET.search(rest)
    if type.strip().lower() != JSON_TYPE or (charset is not None and charset.group(1).lower() != "utf-8"):
        yield Fault("Content-Type", given, JSON_TYPE)
    if not response.exchange.is_utf8:
        yield Fault("Bundle", "≠ UTF-8", "UTF-8")


def bundle_profile(response: CheckedResponse) -> Iterator[Fault]:
    yield from _only_profile(response.bundle, response.mode.bundle)


def empty_response(response: CheckedResponse) -> Iterator[Fault]:
    """A response without slots has no entry, not even an empty array."""
    entry = response.bundle.get("entry")
    if not response.all("Slot") and entry.value is not None:
        yield entry.fault("∅")


def _self(response: CheckedResponse) -> JsonNode | None:
    links = (link for link in response.bundle.each("link") if link.get("relation").text == "self")
    return next((link.get("url") for link in links), None)


def link_is_uri(response: CheckedResponse) -> Iterator[Fault]:
    url = _self(response)
    if url is not None and not _URI.fullmatch(url.text):
        yield url.fault("RFC 3986")


def link_is_request(response: CheckedResponse) -> Iterator[Fault]:
    """Names and values, decoded and in any order."""
    url = _self(response)
    if url is None:
        return
    asked, given = (Counter(_query(text)) for text in (response.exchange.url, url.text))
    if asked != given:
        yield Fault(url.path, excerpt(sorted((given - asked).elements())), excerpt(sorted((asked - given).elements())))


def _query(url: str) -> list[tuple[str, str]]:
    return parse_qsl(url.partition("?")[2], keep_blank_values=True)


def link_is_literal(response: CheckedResponse) -> Iterator[Fault]:
    url = _self(response)
    if url is not None and url.text != response.exchange.url:
        yield url.fault(response.exchange.url)


def full_urls(response: CheckedResponse) -> Iterator[Fault]:
    for entry in response.entries:
        url, name = entry.get("fullUrl"), name_of(entry.get("resource"))
        if not is_web_address(url.text) or not url.text.endswith("/" + name):
            yield url.fault("[base]/" + name)


def modes(response: CheckedResponse) -> Iterator[Fault]:
    """Slots are matches. With SOS, slots or schedules can be the matches (SPEC §20, no. 39)."""
    free = ("Slot", "Schedule") if response.mode is SOS else ()
    for entry in response.entries:
        mode, type = entry.get("search").get("mode"), entry.get("resource").get("resourceType").text
        expected = ("match", "include") if type in free else ("match",) if type == "Slot" else ("include",)
        if mode.text not in expected:
            yield mode.fault(" | ".join(expected))


def duplicate_entries(response: CheckedResponse) -> Iterator[Fault]:
    seen: set[str] = set()
    for entry in response.entries:
        name = name_of(entry.get("resource"))
        if name in seen:
            yield Fault(entry.path, name)
        seen.add(name)


def types(response: CheckedResponse) -> Iterator[Fault]:
    for type, resources in response.by_type.items():
        if type not in response.mode.profiles:
            yield from (r.get("resourceType").fault(" | ".join(response.mode.profiles)) for r in resources)


def entry_profiles(response: CheckedResponse) -> Iterator[Fault]:
    for type, resources in response.by_type.items():
        profile = response.mode.profiles.get(type)
        if profile is not None:
            for resource in resources:
                yield from _only_profile(resource, profile)
    for role in response.all("PractitionerRole"):
        for place in role.each("contained"):
            if place.get("resourceType").text == "Location":
                yield from _only_profile(place, CONTAINED_LOCATION)


def _only_profile(resource: JsonNode, profile: str) -> Iterator[Fault]:
    given = resource.get("meta").get("profile")
    if given.value != [profile]:
        yield given.fault(profile)


def references(response: CheckedResponse) -> Iterator[Fault]:
    """References between entries are relative and resolve within the response."""
    for reference in _references_between_entries(response):
        text = reference.reference
        if not _RELATIVE.fullmatch(text) or text not in response.by_reference:
            yield reference.fault("Type/id")


def _references_between_entries(response: CheckedResponse) -> Iterator[JsonNode]:
    for slot in response.all("Slot"):
        yield slot.get("schedule")
        if response.mode is CPTS:
            for service in slot.each("serviceType"):
                yield from (e.get("valueReference") for e in service.each("extension"))
    for schedule in response.all("Schedule"):
        yield from schedule.each("actor")
    for role in response.all("PractitionerRole"):
        yield role.get("practitioner")
    for service in response.all("HealthcareService"):
        yield service.get("providedBy")
    for place in response.all("Location"):
        yield place.get("managingOrganization")


def empty_values(response: CheckedResponse) -> Iterator[Fault]:
    for resource in (r for resources in response.by_type.values() for r in resources):
        yield from _empty(resource)


def _empty(part: JsonNode) -> Iterator[Fault]:
    value = part.value
    if isinstance(value, dict) and value:
        for name in value:
            yield from _empty_member(part.get(name))
    elif isinstance(value, list) and value:
        for n, item in enumerate(value):
            yield from _empty(JsonNode(f"{part.path}[{n}]", item))
    elif value in ("", [], {}) or (isinstance(value, str) and not value.strip()):
        yield Fault(part.path, excerpt(value))


def _empty_member(part: JsonNode) -> Iterator[Fault]:
    if part.value is None:
        yield Fault(part.path, "null")
    else:
        yield from _empty(part)


BUNDLE_CHECKS = (
    ResponseCheck(CheckRule("content-type", "§2", "warning", kit=("4.2.01",)), media_type),
    ResponseCheck(CheckRule("bundle-type", "§3.1"), lambda response: bundle_type(response.bundle)),
    ResponseCheck(CheckRule("bundle-profile", "§3.3", kit=("4.2.02",)), bundle_profile),
    ResponseCheck(
        CheckRule("bundle-total", "§3.1; §20 no. 9", kit=("4.3.02",)), lambda response: bundle_total(response.bundle)
    ),
    ResponseCheck(CheckRule("bundle-empty", "§3.1; §16 no. 15"), empty_response),
    ResponseCheck(CheckRule("self-link", "§3.1"), lambda response: bundle_link(response.bundle)),
    ResponseCheck(CheckRule("self-link-uri", "§3.1; §20 no. 37", kit=("4.3.07",)), link_is_uri),
    ResponseCheck(CheckRule("self-link-request", "§3.1; §20 no. 37", kit=("4.3.07",)), link_is_request),
    ResponseCheck(CheckRule("self-link-literal", "§3.1; §20 no. 37", "warning", kit=("4.3.07",)), link_is_literal),
    ResponseCheck(CheckRule("entry-full-url", "§3.1; §20 no. 22"), full_urls),
    ResponseCheck(CheckRule("entry-mode", "§3.1; §20 no. 21"), modes),
    ResponseCheck(CheckRule("entry-once", "§3.1"), duplicate_entries),
    ResponseCheck(CheckRule("entry-type", "§3.1"), types),
    ResponseCheck(CheckRule("entry-profile", "§3.3; §20 no. 2", kit=("4.3.02", "4.4.02")), entry_profiles),
    ResponseCheck(CheckRule("reference-resolves", "§3.1; §11", kit=("4.3.05", "4.4.05", "4.8.1.07")), references),
    ResponseCheck(CheckRule("element-empty", "§16 no. 9"), empty_values),
)
