"""A faulty SAS server: a proxy in front of an application that changes responses. See sas_damages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from fhirstore_sas.searches import PS, Mode

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
    """A WSGI middleware that applies a damage to responses."""

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
    """Changes every resource of a type in the response, in place."""

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
    """Moves the contained Location to its own entry."""
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
    """Replaces the response to requests with `where` in their path."""

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


def doubled(type: str) -> Callable[[Json], None]:
    """Repeats every resource of a type with another id."""

    def copy(entry: Json) -> Json:
        resource = {**entry["resource"], "id": entry["resource"]["id"] + "-b"}
        return {**entry, "fullUrl": entry["fullUrl"] + "-b", "resource": resource}

    return entries(lambda found: found + [copy(e) for e in found if e["resource"]["resourceType"] == type])


def nothing_found(**values: Any) -> Callable[[Json], None]:
    """The response without entries, with these members."""

    def damage(bundle: Json) -> None:
        bundle.pop("entry", None)
        bundle.update(total=0, **values)

    return damage


def accepted(path: str, status: int, headers: dict[str, str], body: bytes) -> Whole:
    if "/fhir/Practitioner" not in path or status != 422:
        return status, headers, body
    return 201, {"location": "http://localhost/fhir/Practitioner/1"}, b""
