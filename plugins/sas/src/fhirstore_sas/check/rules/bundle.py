"""The Bundle: its head, its link, its entries and what they refer to (SPEC §3.1, §3.3)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import parse_qsl

from fhirstore_sas.check.answer import Answer, Check, name_of
from fhirstore_sas.check.model import Rule
from fhirstore_sas.json_node import Fault, JsonNode, excerpt
from fhirstore_sas.modes import CONTAINED_LOCATION, CPTS, SOS
from fhirstore_sas.rules import bundles
from fhirstore_sas.value_formats import is_web_address

_CHARS = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/{}]|%[0-9A-Fa-f]{{2}})*"
_URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+.\-]*://[A-Za-z0-9\-._~:@\[\]%]+(?:/"
    + _CHARS.format("")
    + r")?(?:\?"
    + _CHARS.format("?")
    + ")?"
)
"""RFC 3986: what a parser that forgives nothing takes."""
_RELATIVE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")
JSON_TYPE = "application/fhir+json"
_CHARSET = re.compile(r"charset\s*=\s*\"?([^\";\s]*)", re.IGNORECASE)


def media_type(answer: Answer) -> Iterator[Fault]:
    given = answer.exchange.headers.get("content-type", "")
    type, _, rest = given.partition(";")
    charset = _CHARSET.search(rest)
    if type.strip().lower() != JSON_TYPE or (charset is not None and charset.group(1).lower() != "utf-8"):
        yield Fault("Content-Type", given, JSON_TYPE)
    if not answer.exchange.is_utf8:
        yield Fault("Bundle", "≠ UTF-8", "UTF-8")


def stamp(answer: Answer) -> Iterator[Fault]:
    yield from _only_profile(answer.bundle, answer.mode.bundle)


def empty_answer(answer: Answer) -> Iterator[Fault]:
    """Without slots there is nothing else either, not even an empty array."""
    entry = answer.bundle.get("entry")
    if not answer.all("Slot") and entry.value is not None:
        yield entry.fault("∅")


def _self(answer: Answer) -> JsonNode | None:
    links = (link for link in answer.bundle.each("link") if link.get("relation").text == "self")
    return next((link.get("url") for link in links), None)


def link_is_uri(answer: Answer) -> Iterator[Fault]:
    url = _self(answer)
    if url is not None and not _URI.fullmatch(url.text):
        yield url.fault("RFC 3986")


def link_is_request(answer: Answer) -> Iterator[Fault]:
    """Names and values, decoded and in any order."""
    url = _self(answer)
    if url is None:
        return
    asked, given = (Counter(_query(text)) for text in (answer.exchange.url, url.text))
    if asked != given:
        yield Fault(url.path, excerpt(sorted((given - asked).elements())), excerpt(sorted((asked - given).elements())))


def _query(url: str) -> list[tuple[str, str]]:
    return parse_qsl(url.partition("?")[2], keep_blank_values=True)


def link_is_literal(answer: Answer) -> Iterator[Fault]:
    url = _self(answer)
    if url is not None and url.text != answer.exchange.url:
        yield url.fault(answer.exchange.url)


def full_urls(answer: Answer) -> Iterator[Fault]:
    for entry in answer.entries:
        url, name = entry.get("fullUrl"), name_of(entry.get("resource"))
        if not is_web_address(url.text) or not url.text.endswith("/" + name):
            yield url.fault("[base]/" + name)


def modes(answer: Answer) -> Iterator[Fault]:
    """Slots match; of SOS either slots or schedules may be the matches (SPEC §20, no. 39)."""
    free = ("Slot", "Schedule") if answer.mode is SOS else ()
    for entry in answer.entries:
        mode, type = entry.get("search").get("mode"), entry.get("resource").get("resourceType").text
        wanted = ("match", "include") if type in free else ("match",) if type == "Slot" else ("include",)
        if mode.text not in wanted:
            yield mode.fault(" | ".join(wanted))


def once(answer: Answer) -> Iterator[Fault]:
    seen: set[str] = set()
    for entry in answer.entries:
        name = name_of(entry.get("resource"))
        if name in seen:
            yield Fault(entry.path, name)
        seen.add(name)


def types(answer: Answer) -> Iterator[Fault]:
    for type, resources in answer.by_type.items():
        if type not in answer.mode.profiles:
            yield from (r.get("resourceType").fault(" | ".join(answer.mode.profiles)) for r in resources)


def stamps(answer: Answer) -> Iterator[Fault]:
    for type, resources in answer.by_type.items():
        profile = answer.mode.profiles.get(type)
        if profile is not None:
            for resource in resources:
                yield from _only_profile(resource, profile)
    for role in answer.all("PractitionerRole"):
        for place in role.each("contained"):
            if place.get("resourceType").text == "Location":
                yield from _only_profile(place, CONTAINED_LOCATION)


def _only_profile(resource: JsonNode, profile: str) -> Iterator[Fault]:
    given = resource.get("meta").get("profile")
    if given.value != [profile]:
        yield given.fault(profile)


def references(answer: Answer) -> Iterator[Fault]:
    """Those that tie the answer together: relative, and to an entry of the answer."""
    for reference in _ties(answer):
        text = reference.reference
        if not _RELATIVE.fullmatch(text) or text not in answer.by_reference:
            yield reference.fault("Type/id")


def _ties(answer: Answer) -> Iterator[JsonNode]:
    for slot in answer.all("Slot"):
        yield slot.get("schedule")
        if answer.mode is CPTS:
            for service in slot.each("serviceType"):
                yield from (e.get("valueReference") for e in service.each("extension"))
    for schedule in answer.all("Schedule"):
        yield from schedule.each("actor")
    for role in answer.all("PractitionerRole"):
        yield role.get("practitioner")
    for service in answer.all("HealthcareService"):
        yield service.get("providedBy")
    for place in answer.all("Location"):
        yield place.get("managingOrganization")


def empty_values(answer: Answer) -> Iterator[Fault]:
    for resource in (r for resources in answer.by_type.values() for r in resources):
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


CHECKS = (
    Check(Rule("content-type", "§2", "warning", kit=("4.2.01",)), media_type),
    Check(Rule("bundle-type", "§3.1"), lambda answer: bundles.kind(answer.bundle)),
    Check(Rule("bundle-profile", "§3.3", kit=("4.2.02",)), stamp),
    Check(Rule("bundle-total", "§3.1; §20 no. 9", kit=("4.3.02",)), lambda answer: bundles.total(answer.bundle)),
    Check(Rule("bundle-empty", "§3.1; §16 no. 15"), empty_answer),
    Check(Rule("self-link", "§3.1"), lambda answer: bundles.one_link(answer.bundle)),
    Check(Rule("self-link-uri", "§3.1; §20 no. 37", kit=("4.3.07",)), link_is_uri),
    Check(Rule("self-link-request", "§3.1; §20 no. 37", kit=("4.3.07",)), link_is_request),
    Check(Rule("self-link-literal", "§3.1; §20 no. 37", "warning", kit=("4.3.07",)), link_is_literal),
    Check(Rule("entry-full-url", "§3.1; §20 no. 22"), full_urls),
    Check(Rule("entry-mode", "§3.1; §20 no. 21"), modes),
    Check(Rule("entry-once", "§3.1"), once),
    Check(Rule("entry-type", "§3.1"), types),
    Check(Rule("entry-profile", "§3.3; §20 no. 2", kit=("4.3.02", "4.4.02")), stamps),
    Check(Rule("reference-resolves", "§3.1; §11", kit=("4.3.05", "4.4.05", "4.8.1.07")), references),
    Check(Rule("element-empty", "§16 no. 9"), empty_values),
)
