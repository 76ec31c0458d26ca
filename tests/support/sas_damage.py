"""A SAS server damaged in one way each: a proxy before an application, and the ways with what must be found."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from fhirstore_sas.modes import CPTS, PS, SOS, Mode

Json = dict[str, Any]
Whole = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""
PARIS = ZoneInfo("Europe/Paris")


@dataclass(frozen=True)
class Damage:
    """One way in which a server may be broken. what: as documented. expected: the rules found. answer changes a Bundle
    in place, query the query string before it is read, raw (given the path with its query, too) the whole answer."""

    what: str
    expected: frozenset[str]
    mode: Mode = PS
    answer: Callable[[Json], None] = lambda _: None
    query: Callable[[str], str] = lambda q: q
    raw: Callable[[str, int, dict[str, str], bytes], Whole] = lambda _, s, h, b: (s, h, b)
    accounts: bool = False


class Proxy(httpx.BaseTransport):
    """Stands between the client and the application, and damages."""

    def __init__(self, app: Any, damage: Damage):
        self._inner, self._damage = httpx.WSGITransport(app), damage

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        asked = request.url.query.decode()
        changed = self._damage.query(asked)
        url = request.url.copy_with(query=changed.encode())
        headers = {k: v for k, v in request.headers.items() if k != "content-length"}
        given = self._inner.handle_request(httpx.Request(request.method, url, headers=headers, content=request.read()))
        body = given.read().replace(changed.encode(), asked.encode()) if changed else given.read()
        kept = {k: v for k, v in given.headers.items() if k != "content-length"}
        bundle = json.loads(body) if body else {}
        if bundle.get("resourceType") == "Bundle":
            self._damage.answer(bundle)
            body = json.dumps(bundle).encode()
        status, kept, body = self._damage.raw(f"{request.url.path}?{asked}", given.status_code, kept, body)
        return httpx.Response(status, headers=kept, content=body)


# --- the ways


def each(type: str, change: Callable[[Json], Any]) -> Callable[[Json], None]:
    """Every resource of a type in the answer changed in place."""

    def damage(bundle: Json) -> None:
        for entry in bundle.get("entry", ()):
            if entry["resource"]["resourceType"] == type:
                change(entry["resource"])

    return damage


def set_(**values: Any) -> Callable[[Json], None]:
    return lambda one: one.update(values)


def drop(*names: str) -> Callable[[Json], None]:
    return lambda one: [one.pop(name, None) for name in names] and None


def link(change: Callable[[str], str]) -> Callable[[Json], None]:
    def damage(bundle: Json) -> None:
        bundle["link"][0]["url"] = change(bundle["link"][0]["url"])

    return damage


def entries(change: Callable[[list[Json]], list[Json]]) -> Callable[[Json], None]:
    def damage(bundle: Json) -> None:
        if "entry" in bundle:
            bundle["entry"] = change(bundle["entry"])

    return damage


def without(type: str) -> Callable[[Json], None]:
    return entries(lambda found: [e for e in found if e["resource"]["resourceType"] != type])


def twice(type: str) -> Callable[[Json], None]:
    return entries(lambda found: found + [e for e in found if e["resource"]["resourceType"] == type])


def identifier(change: Callable[[Json], None]) -> Callable[[Json], None]:
    return lambda one: change(one["identifier"][0])


def unprefixed(one: Json) -> None:
    one["value"] = one["value"][1:]


def place(change: Callable[[Json], None]) -> Callable[[Json], None]:
    return each("PractitionerRole", lambda role: change(role["contained"][0]))


def opened_place(bundle: Json) -> None:
    """The contained Location as an entry of its own."""
    for entry in list(bundle.get("entry", ())):
        role = entry["resource"]
        if role["resourceType"] == "PractitionerRole":
            location = {**role.pop("contained")[0], "id": role["id"]}
            role["location"] = [{"reference": f"Location/{role['id']}"}]
            url = f"http://localhost/fhir/Location/{role['id']}"
            bundle["entry"].append({"fullUrl": url, "resource": location, "search": {"mode": "include"}})


def short_instants(slot: Json) -> None:
    for name in ("start", "end"):
        slot[name] = datetime.fromisoformat(slot[name]).astimezone(PARIS).isoformat(timespec="seconds")


def labelled(code: str) -> Callable[[Json], None]:
    def damage(slot: Json) -> None:
        slot["meta"]["security"][0]["code"] = code

    return each("Slot", damage)


def more_total(bundle: Json) -> None:
    bundle["total"] = len(bundle.get("entry", ()))


def other_practitioner(schedule: Json) -> None:
    schedule["actor"] = [actor for actor in schedule["actor"] if not actor["reference"].startswith("Practitioner/")]


def cut_page(path: str, status: int, headers: dict[str, str], body: bytes) -> Whole:
    if "_count=1" in path:
        bundle = json.loads(body)
        body = json.dumps({**bundle, "entry": bundle["entry"][:1], "total": 1}).encode()
    return status, headers, body


def fails(where: str, status: int, text: str) -> Callable[..., Whole]:
    """Another answer to requests with `where` in their path."""

    def damage(path: str, s: int, h: dict[str, str], b: bytes) -> Whole:
        return (status, {"content-type": "text/plain"}, text.encode()) if where in path else (s, h, b)

    return damage


def all_accepted(path: str, status: int, headers: dict[str, str], body: bytes) -> Whole:
    return (201 if "Practitioner" in path and status == 409 else status), headers, body


def no_outcomes(path: str, status: int, headers: dict[str, str], body: bytes) -> Whole:
    return (status, {"content-type": "text/plain"}, b"no") if status >= 400 else (status, headers, body)


def without_header(name: str) -> Callable[..., Whole]:
    return lambda _, s, h, b: (s, {k: v for k, v in h.items() if k != name}, b)


def plain_type(path: str, status: int, headers: dict[str, str], body: bytes) -> Whole:
    return status, {**headers, "content-type": "application/json"}, body


def bare_bounds_as_utc(query: str) -> str:
    return re.sub(r"(=[gl]e\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})(?=&|$)", r"\1Z", query)


def without_end(query: str) -> str:
    return re.sub(r"&start=le[^&]*", "", query)


def without_service(slot: Json) -> None:
    for service in slot["serviceType"]:
        service.pop("extension", None)


def only(*ids: str) -> frozenset[str]:
    return frozenset(ids)


TOLD = "bundle-conforms"
"""What a profile of the answer forbids is found by it too."""

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
    Damage("an entry twice", only("entry-once"), answer=twice("PractitionerRole")),
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
]
