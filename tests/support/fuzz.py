"""Valid requests with one or more random changes. The seed determines all of them."""

from __future__ import annotations

import copy
import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Json = Any

STRANGE: list[Json] = [
    None, True, False, 0, -1, 1, 7.5, 1e300, 10**30, "", " ", "x", "\0", "\ud800", "a\udfffb", "é" * 70, "x" * 100_000,
    [], {}, [[]], [{}], [None], [[], []], {"": 1}, {"a": {"b": [1, [2, [3]]]}}, ["x", 1], {"resourceType": "Patient"},
    "2026-13-45", "0000", "http://", "urn:uuid:", "urn:uuid:x", "#", "#x", "Patient/", "Patient//1", "/Patient", "?",
    "Patient?", "%", "%00", "../Patient/1", "javascript:1", "resourceType", "\u202e", "\ufeff", "1" * 5000,
    {"resourceType": []}, {"reference": 1}, {"reference": "Patient?"}, {"reference": "Patient?identifier="},
    {"reference": ["Patient/1"]}, {"extension": "x"}, {"id": {}}, {"$gt": ""}, {"a.b": 1}, {"value": {"value": {}}},
]  # fmt: skip
DEEP = "[" * 60 + "]" * 60
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "Put", "", "POST ", 1, None, []]
URLS: list[Json] = [
    "Patient", "Patient/f1", "Patient/f2", "Patient/f1/_history", "Patient/f1/_history/1", "Patient/f1/_history/x",
    "Patient/f1/_history/99999999999999999999", "Patient?identifier=urn:f|1", "Patient?identifier=", "Patient?", "?",
    "Patient?nonsense=1", "Patient?birthdate=x", "Patient?_id=f1,f2", "Patient?_sort=x&_count=-1", "Patient?_page=AAAA",
    "Patient?name=%ff", "Patient?name=%00", "Patient?%ff=1", "Patient?_has:Observation:patient:code=1", "", "/", "//",
    "Patient?identifier=urn:f|1&identifier=urn:f|2", "Nothing", "Nothing/1", "patient/f1", "Patient/", "Patient//f1",
    "Patient/f1/", "Patient/f1/x/y", "Patient/a b", "Patient/a%20b", "Patient/é", "Patient/" + "a" * 65, "Patient/\0",
    "Patient/\ud800", "Patient?name=\ud800", "http://example.org/fhir/Patient/f1", "http://localhost/fhir/Patient/f1",
    "http://[::1/fhir/Patient", "urn:uuid:0c1e9f9a-0a51-4d40-8b66-0d0f2b8e6a11", "$everything", "Patient/$x",
    "metadata",
    "Patient/f1/$x", "_history", "_search", "Patient/_search", "Patient/_search?name=a", "Patient#x", "?_type=Patient",
    "Patient?_lastUpdated=x", "Patient?_lastUpdated=gt0001&_lastUpdated=lt9999", "Patient?name:nonsense=1", ";", "..",
    "Patient?" + "name=a&" * 300, "Patient?_id=" + "a," * 3000, "Patient/%2e%2e", "Patient?organization." * 40 + "x=1",
    "Binary/f1", "Bundle", "Parameters", "OperationOutcome/1", "Observation?subject=Patient/f1",
    "Observation?patient.identifier=urn:f|1", 1, None, [], {}, True,
]  # fmt: skip
TAGS: list[Json] = [
    'W/"1"', '"1"', "1", 'W/"x"', 'W/"0"', 'W/"-1"', 'W/"' + "9" * 40 + '"', "*", "", '"', 'W/"', 'W/"1", W/"2"',
    'w/"1"',
    'W/"1" ', "\ud800", 'W/"\0"', 'W/"１"', 1, None, [], {},
]  # fmt: skip
QUERIES: list[Json] = [
    "identifier=urn:f|1", "identifier=urn:f|99", "", "?", "&", "=", "identifier", "identifier=", "nonsense=1", "_id=f1",
    "Patient?identifier=urn:f|1", "?identifier=urn:f|1", "_sort=_id", "_count=1", "name=\ud800", "birthdate=x",
    "name=%ff", "identifier=urn:f|1&identifier=urn:f|2", "name=a", "general-practitioner.name=x", "_has:x=1", 1, None,
    [],
    "identifier=" + "a," * 3000,
]  # fmt: skip
LINKS: list[Json] = [
    "urn:uuid:0c1e9f9a-0a51-4d40-8b66-0d0f2b8e6a11", "urn:uuid:x", "urn:oid:1.2", "", "x", "http://a.b/Patient/f1",
    "Patient/f1", 1, None, [], {}, "\ud800", "\0", "http://a.b/Patient/f1/_history/2", "#a",
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A request. body: JSON. changed: the changes made to it."""

    method: str
    path: str
    body: bytes | None
    headers: dict[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()


def encoded(value: Json) -> bytes:
    """As JSON, with lone surrogates as escapes."""
    return json.dumps(value).encode()


class Generator:
    def __init__(self, seed: int):
        self.rng = random.Random(seed)

    # --- valid requests

    def patient(self) -> Json:
        rng = self.rng
        return {
            "resourceType": "Patient",
            "id": f"f{rng.randrange(6)}",
            "meta": {
                "profile": ["http://example.org/StructureDefinition/p"],
                "tag": [{"system": "urn:t", "code": "t"}],
            },
            "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
            "extension": [{"url": "http://example.org/e", "valueString": "x"}],
            "identifier": [{"system": "urn:f", "value": str(rng.randrange(8))}],
            "active": rng.random() < 0.5,
            "name": [{"family": "Durand", "given": ["Anne", None], "_given": [None, {"id": "g"}]}],
            "birthDate": "1980-02-28",
            "_birthDate": {"extension": [{"url": "http://example.org/t", "valueTime": "12:00:00"}]},
            "generalPractitioner": [{"reference": rng.choice(["Practitioner/d1", "Practitioner?identifier=urn:f|1"])}],
            "contact": [{"name": {"text": "c"}, "telecom": [{"system": "phone", "value": "1"}]}],
        }

    def observation(self, subject: str) -> Json:
        return {
            "resourceType": "Observation",
            "id": f"f{self.rng.randrange(6)}",
            "status": "final",
            "code": {"coding": [{"system": "urn:c", "code": "c1"}]},
            "subject": {"reference": subject},
            "effectivePeriod": {"start": "2026-01-01T10:00:00Z", "end": "2026-01-02"},
            "valueQuantity": {"value": 1.5, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"},
            "component": [{"code": {"text": "x"}, "valueInteger": 1}],
        }

    def entry(self) -> Json:
        rng = self.rng
        link = f"urn:uuid:{uuid.UUID(int=rng.getrandbits(128), version=4)}"
        patient = self.patient()
        kind = rng.randrange(8)
        if kind == 0:
            del patient["id"]
            return {"fullUrl": link, "resource": patient, "request": {"method": "POST", "url": "Patient"}}
        if kind == 1:
            request = {"method": "POST", "url": "Patient", "ifNoneExist": f"identifier=urn:f|{rng.randrange(8)}"}
            return {"fullUrl": link, "resource": patient, "request": request}
        if kind == 2:
            url = f"Patient?identifier=urn:f|{rng.randrange(8)}"
            del patient["id"]
            return {"fullUrl": link, "resource": patient, "request": {"method": "PUT", "url": url}}
        if kind == 3:
            return {"request": {"method": "DELETE", "url": f"Patient/f{rng.randrange(6)}"}}
        if kind == 4:
            url = rng.choice(
                ["Patient?identifier=urn:f|1", "Patient/f1", "Observation?_count=2", "Patient/f1/_history"]
            )
            return {"request": {"method": "GET", "url": url}}
        if kind == 5:
            request = {"method": "PUT", "url": f"Patient/{patient['id']}", "ifMatch": 'W/"1"'}
            return {"resource": patient, "request": request}
        if kind == 6:
            observation = self.observation(rng.choice([link, "Patient/f1", "Patient?identifier=urn:f|1"]))
            return {"resource": observation, "request": {"method": "POST", "url": "Observation"}}
        return {"fullUrl": link, "resource": patient, "request": {"method": "PUT", "url": f"Patient/{patient['id']}"}}

    def bundle(self) -> Json:
        kind = self.rng.choice(["transaction", "batch"])
        return {
            "resourceType": "Bundle",
            "type": kind,
            "entry": [self.entry() for _ in range(self.rng.randrange(1, 6))],
        }

    # --- changes

    def case(self) -> Case:
        make = self.rng.choice([self.bundle_case, self.bundle_case, self.single_case])
        return make()

    def bundle_case(self) -> Case:
        bundle, changed = self.bundle(), []
        for _ in range(self.rng.choice([0, 1, 1, 1, 2, 3])):
            change = self.rng.choice([self.damaged, self.damaged, self._in_request, self._in_entries])
            bundle, what = change(bundle)
            changed.append(what)
        body, more = self._bytes(encoded(bundle))
        return Case("POST", "", body, self._headers(), (*changed, *more))

    def single_case(self) -> Case:
        rng = self.rng
        resource = rng.choice([self.patient, lambda: self.observation("Patient/f1")])()
        changed = []
        for _ in range(rng.choice([0, 1, 1, 2])):
            resource, what = self.damaged(resource)
            changed.append(what)
        type = "Patient" if rng.random() < 0.7 else "Observation"
        method = rng.choice(["POST", "PUT", "PUT", "DELETE", "PATCH", "GET"])
        path = rng.choice([type, f"{type}/f{rng.randrange(6)}", f"{type}?identifier=urn:f|{rng.randrange(9)}"])
        if rng.random() < 0.3:
            paths = [url for url in URLS if isinstance(url, str) and not url.startswith(("http:", "/"))]
            path = rng.choice(paths).encode("utf-8", "replace").decode()
            changed.append(f"path {path[:60]}")
        body, more = self._bytes(encoded(resource))
        sent = None if method in ("GET", "DELETE") and rng.random() < 0.8 else body
        return Case(method, path, sent, self._headers(), (*changed, *more))

    def _headers(self) -> dict[str, str]:
        rng, found = self.rng, {}
        for name, values in (("If-Match", TAGS), ("If-None-Match", TAGS), ("If-None-Exist", QUERIES)):
            if rng.random() < 0.08:
                value = rng.choice([v for v in values if isinstance(v, str)])
                found[name] = value.encode("latin-1", "replace").decode("latin-1").replace("\0", "")
        if rng.random() < 0.1:
            found["Prefer"] = rng.choice(["return=minimal", "return=OperationOutcome", "handling=strict", "x", "=,;"])
        return found

    def _bytes(self, body: bytes) -> tuple[bytes, tuple[str, ...]]:
        if self.rng.random() > 0.04:
            return body, ()
        at = self.rng.randrange(len(body))
        if self.rng.random() < 0.5:
            return body[:at], (f"cut at {at}",)
        return body[:at] + self.rng.randbytes(1) + body[at + 1 :], (f"byte {at}",)

    def _places(self, value: Json, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        found = [path] if path else []
        members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for name, inner in members:
            found += self._places(inner, (*path, name))
        return found

    def damaged(self, document: Json) -> tuple[Json, str]:
        """Replaces, removes, doubles or nests a value at a random place."""
        document = copy.deepcopy(document)
        places = self._places(document)
        if not places:
            return document, "nothing"
        *way, last = self.rng.choice(places)
        inside = document
        for name in way:
            inside = inside[name]
        how = self.rng.randrange(8)
        value = inside[last]
        if how < 3:
            inside[last] = copy.deepcopy(self.rng.choice(STRANGE))
        elif how == 3:
            del inside[last]
        elif how == 4:
            inside[last] = [value] if self.rng.random() < 0.5 else {"value": value}
        elif how == 5:
            inside[last] = json.loads(DEEP) if self.rng.random() < 0.3 else [copy.deepcopy(value) for _ in range(3)]
        elif how == 6 and isinstance(inside, dict):
            name = self.rng.choice(
                [f"_{last}", f"{last}x", "", "\ud800", "resourceType", "id", "contained", "valueString"]
            )
            inside[name] = copy.deepcopy(self.rng.choice([*STRANGE, value]))
        elif isinstance(value, list) and value:
            inside[last] = value[0]
        else:
            inside[last] = str(value) if not isinstance(value, str) else self.rng.choice([1, [value], {"x": value}])
        return document, f"{how} at {'.'.join(map(str, (*way, last)))[:80]!r}"

    def _entries(self, bundle: Json) -> list[Json]:
        entries = bundle.get("entry") if isinstance(bundle, dict) else None
        return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []

    def _in_request(self, bundle: Json) -> tuple[Json, str]:
        """Puts an unexpected value into the request or the fullUrl of an entry."""
        entries = self._entries(bundle)
        if not entries:
            return self.damaged(bundle)
        entry = self.rng.choice(entries)
        name, values = self.rng.choice(
            [
                ("method", METHODS),
                ("url", URLS),
                ("ifMatch", TAGS),
                ("ifNoneMatch", TAGS),
                ("ifModifiedSince", STRANGE),
                ("ifNoneExist", QUERIES),
                ("fullUrl", LINKS),
            ]
        )
        inside = entry if name == "fullUrl" else entry.get("request")
        if not isinstance(inside, dict):
            inside = entry["request"] = {"method": "PUT", "url": "Patient/f1"}
        inside[name] = copy.deepcopy(self.rng.choice(values))
        return bundle, f"{name}={inside[name]!r:.80}"

    def _in_entries(self, bundle: Json) -> tuple[Json, str]:
        """Entries without some of their parts, duplicate entries, entries of the wrong type."""
        entries = self._entries(bundle)
        changes: dict[str, Callable[[Json], None]] = {
            "a search entry": lambda e: (e.update(search={"mode": "match"}), e.pop("resource", None), None)[-1],
            "a response": lambda e: e.update(response={"status": "200"}),
            "no request": lambda e: e.pop("request", None),
            "no resource": lambda e: e.pop("resource", None),
            "only a link": lambda e: (e.clear(), e.update(link=[{"relation": "self", "url": "x"}]), None)[-1],
            "empty": lambda e: e.clear(),
            "a Bundle inside": lambda e: e.update(resource=copy.deepcopy(bundle)),
            "a Parameters inside": lambda e: e.update(resource={"resourceType": "Parameters", "parameter": [{}]}),
            "another type": lambda e: e.update(resource=self.observation("Patient/f1")),
            "a number as id": lambda e: e.update(resource={"resourceType": "Patient", "id": 5}),
            "a null resource": lambda e: e.update(resource=None),
            "a list of resources": lambda e: e.update(resource=[self.patient()]),
        }
        if not entries or self.rng.random() < 0.3:
            other = copy.deepcopy(bundle)
            other["entry"] = self.rng.choice(
                [
                    [],
                    [[]],
                    [None],
                    {},
                    "x",
                    entries * 3,
                    [*entries, 1],
                    entries[::-1],
                    [{"resource": {}}] * 3,
                    entries * 40,
                ]
            )
            return other, "entries"
        name = self.rng.choice(sorted(changes))
        changes[name](self.rng.choice(entries))
        return bundle, name
