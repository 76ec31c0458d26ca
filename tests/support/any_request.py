"""Random requests to all routes of a server: methods, paths, queries, headers and bodies, valid and not.

Routes come from the URL map of the application; types, search parameters and operations from its CapabilityStatement.
The seed determines all requests.
"""

from __future__ import annotations

import gzip
import io
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from flask import Flask

from support.fuzz import LINKS, QUERIES, STRANGE, TAGS, Generator, encoded

Pairs = list[tuple[str, str]]

IDS = ["f1", "f2", "d1", "none", "a" * 64, "a" * 65, "a_b", "é", "\0", "%00", "..", "$x", "_history", " ", "{id}", "-"]
VERSIONS = ["1", "2", "0", "-1", "x", "9" * 30, "1.0", "١", ""]
ODD_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW", "get", "X" * 50]
RESULT_PARAMETERS: dict[str, list[str]] = {
    "_count": ["0", "1", "50", "-1", "x", "9" * 40, "1.5", ""],
    "_sort": ["_id", "-_lastUpdated", "birthdate,-name", "x", "-", ",", "_score", "_id," * 300],
    "_include": ["Patient:organization", "*", "Patient:*", "Patient:x:Y", ":", "Observation:subject:Patient", "x"],
    "_include:iterate": ["Patient:organization", "*"],
    "_revinclude": ["Observation:subject", "*", "Observation:*", "Provenance:target", ":::"],
    "_elements": ["name", "id,name", "Patient.name", "x", ",", "a," * 3000],
    "_summary": ["true", "text", "data", "count", "false", "x"],
    "_total": ["none", "estimate", "accurate", "x"],
    "_page": ["AAAA", "x.y.z", "", "é", "." * 500],
    "_format": ["json", "application/fhir+json", "xml", "html", "x/y", "*/*"],
    "_pretty": ["true", "false", "x"],
    "_since": ["2020", "2026-01-01T00:00:00Z", "x", "9999-12-31", "0001-01-01"],
    "_at": ["2020", "2999", "gt2020", "x"],
    "_type": ["Patient", "Patient,Observation", "x"],
    "_has:Observation:patient:code": ["c1", "urn:c|c1", "|", ""],
    "_has:Observation:patient": ["x"],
    "_filter": ["name eq x"],
    "_query": ["x"],
    "_text": ["x"],
    "_content": ["x"],
    "_list": ["x"],
}
VALUES: dict[str, list[str]] = {
    "string": ["durand", "é", "D%", "_", "x" * 3000, "*", "\\,"],
    "token": ["urn:f|1", "|1", "urn:f|", "|", "1", "true", "http://x|y|z", "a\\,b,c"],
    "reference": ["Patient/f1", "f1", "http://localhost/fhir/Patient/f1", "#x", "Patient/", "urn:uuid:x", "/" * 900],
    "date": ["1980", "1980-02-28", "ge1980", "2026-01-01T10:00:00Z", "ap2020", "xx", "2026-13-45", "9999999", "lt0000"],
    "number": ["1", "1e2", "-0.0", "ap100", "1e400", "x", "1" * 400, "١", "NaN"],
    "quantity": ["1|http://unitsofmeasure.org|mg", "1||mg", "ge1.5", "|||", "1e999||mg"],
    "uri": ["http://x", "urn:x", "http://x" + "/a" * 900, "%zz"],
    "composite": ["a$b", "$", "c1$ge1"],
    "special": ["48.8|2.3|1|km", "|||", "x"],
}
ANY_VALUES = [
    "",
    " ",
    "\0",
    "\xff",
    "a," * 1500,
    "null",
    "é" * 700,
    "'; DROP TABLE docs; --",
    '{"$gt":""}',
    "%",
    "$",
    "\\",
]
MODIFIERS = [
    "missing", "exact", "contains", "not", "text", "in", "not-in", "above", "below", "identifier", "of-type", "Patient",
    "x", "", ":", "iterate",
]  # fmt: skip
MEDIA_TYPES = [
    "application/fhir+json", "application/json", "application/fhir+json; charset=utf-8", "application/fhir+xml",
    "application/json; charset=utf-16", "application/x-www-form-urlencoded", "application/json-patch+json",
    "multipart/form-data; boundary=x", "text/html", "text/plain", "", "/", "x", ";;;",
    "application/fhir+json; fhirVersion=3.0",
    "a/b" * 300, "*/*", "application/*",
]  # fmt: skip
HTTP_DATES = [
    "Mon, 01 Jan 2001 00:00:00 GMT",
    "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    "x",
    "",
    "0",
    "Fri, 31 Dec 9999 23:59:59 +9999",
]
PIECES = [
    "/", "//", "/.", "/..", "%2f", "%2F%2F", "%00", "%", "%zz", "%c3", "%ff", ";x=1", "\\", "#", "\t", "é", "/x" * 400,
]  # fmt: skip
QUERY_PIECES = ["&&", "=", "%", "%ff", "%zz", ";", "?", "#", "\xff", "+", "["]
HEADERS: dict[str, list[str]] = {
    "Accept": [*MEDIA_TYPES, "application/fhir+json;q=0", "*/*;q=x", ",,,", "a/b;" + "q=1;" * 500],
    "Accept-Language": ["fr", "fr-FR, en;q=0.5", "*", "x" * 900, ";;", "fr;q=x"],
    "Accept-Encoding": ["gzip", "br", "identity;q=0", "x"],
    "Content-Encoding": ["gzip", "identity", "br", "x", "gzip, gzip"],
    "If-Match": [tag for tag in TAGS if isinstance(tag, str)],
    "If-None-Match": [tag for tag in TAGS if isinstance(tag, str)],
    "If-None-Exist": [query for query in QUERIES if isinstance(query, str)],
    "If-Modified-Since": HTTP_DATES,
    "If-Unmodified-Since": HTTP_DATES,
    "If-Range": ['"x"'],
    "Range": ["bytes=0-1", "bytes=-1", "x"],
    "Prefer": ["return=minimal", "return=OperationOutcome", "handling=strict", "respond-async", "=,;", "x" * 5000],
    "Expect": ["100-continue", "x"],
    "Origin": ["http://elsewhere.example", "null", "x"],
    "Host": ["localhost", "elsewhere.example", "", "a b", "[::1", "x" * 300, "localhost:99999", "é"],
    "X-Forwarded-Proto": ["https", "x"],
    "X-Forwarded-Host": ["elsewhere.example"],
    "X-Forwarded-Prefix": ["/x"],
    "X-HTTP-Method-Override": ["DELETE"],
    "X-Request-Id": ["a", "x" * 65, "\r", "é", ""],
    "X-Client-Cert": ["x", "-----BEGIN CERTIFICATE-----"],
    "Authorization": ["Bearer x", "Basic x", "Basic " + "A" * 3000, ""],
    "Cookie": ["a=b", "=;=;", "x" * 3000],
    "Transfer-Encoding": ["chunked", "gzip", "identity"],
    "Content-Length": ["0", "-1", "x", "", "5", "9" * 30, "1e3", "+5"],
}  # fmt: skip


@dataclass(frozen=True)
class Service:
    """What a server has to offer. routes: (method, pattern) pairs. parameters: (code, type) by resource type."""

    routes: Sequence[tuple[str, str]]
    types: Sequence[str]
    parameters: dict[str, Pairs]
    operations: Sequence[str]

    @classmethod
    def of(cls, app: Flask, statement: dict[str, Any]) -> Service:
        routes = [
            (method, rule.rule)
            for rule in app.url_map.iter_rules()
            for method in sorted(rule.methods or ())
            if method != "OPTIONS"
        ]
        rest = statement["rest"][0]
        resources = {resource["type"]: resource for resource in rest["resource"]}
        parameters = {
            type: [(one["name"], one["type"]) for one in resource.get("searchParam", ())]
            for type, resource in resources.items()
        }
        declared = [rest, *resources.values()]
        operations = sorted({one["name"] for holder in declared for one in holder.get("operation", ())})
        return cls(routes, list(resources), parameters, operations)


@dataclass
class AnyRequest:
    """target: path and query, percent-encoded or not, one character per byte."""

    method: str
    target: str
    headers: Pairs = field(default_factory=list)
    body: bytes = b""

    def __str__(self) -> str:
        headers = "".join(f"\n{name}: {value[:200]!r}" for name, value in self.headers)
        return f"{self.method} {self.target[:500]!r}{headers}\n\n{self.body[:2000]!r} ({len(self.body)} bytes)"


class RequestGenerator:
    def __init__(self, service: Service, seed: int):
        self.service, self.rng, self.resources = service, random.Random(seed), Generator(seed)

    def request(self) -> AnyRequest:
        """One in three is a write of `support.fuzz`, whose path and body belong together."""
        rng = self.rng
        if rng.random() < 0.33:
            return self._write()
        method, pattern = rng.choice(self.service.routes)
        if rng.random() < 0.1:
            method = rng.choice(ODD_METHODS)
        type = rng.choice(["Patient", "Patient", "Observation", rng.choice(self.service.types)])
        path = self._path(pattern, type)
        query = self._query(type) if rng.random() < 0.5 else ""
        body = self._body(pattern, type) if method in ("POST", "PUT", "PATCH") or rng.random() < 0.05 else b""
        return AnyRequest(method, path + (f"?{query}" if query else ""), self._headers(body), body)

    def _write(self) -> AnyRequest:
        case = self.resources.case()
        path = quote(f"/fhir/{case.path}" if case.path else "/fhir", safe="/?=&|:,.$")
        body = case.body or b""
        headers = [pair for pair in self._headers(body) if pair[0] not in case.headers]
        return AnyRequest(case.method, path, [*headers, *case.headers.items()], body)

    # --- the target

    def _path(self, pattern: str, type: str) -> str:
        rng = self.rng
        values: dict[str, Callable[[], str]] = {
            "type": lambda: type if rng.random() < 0.95 else rng.choice(["patient", "Nothing", "", "é", "_x", "$x"]),
            "id": lambda: rng.choice(["f1", "f2", "f3", rng.choice(IDS)]),
            "version": lambda: rng.choice(["1", rng.choice(VERSIONS)]),
            "operation": lambda: rng.choice([*self.service.operations, "x", ""]),
        }
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda m: values.get(m[1], lambda: rng.choice(IDS))(), pattern)
        if rng.random() < 0.1:
            path = self._odd_path(path)
        return "".join(c if c.isascii() and c > " " else quote(c) for c in path) if rng.random() < 0.9 else _latin(path)

    def _odd_path(self, path: str) -> str:
        place = self.rng.randrange(len(path) + 1)
        piece = self.rng.choice(PIECES)
        if self.rng.random() < 0.1:
            return self.rng.choice(["http://elsewhere.example" + path, "*", "", "x", "?" + path, "/" + path])
        return path[:place] + piece + path[place:]

    def _query(self, type: str) -> str:
        rng = self.rng
        pairs = [self._criterion(type) for _ in range(rng.choice([1, 1, 1, 2, 3, rng.choice([10, 300])]))]
        joined = "&".join(f"{quote(name, safe=':._')}={quote(_wide(value), safe=':/|,')}" for name, value in pairs)
        if rng.random() < 0.1:
            place = rng.randrange(len(joined) + 1)
            return joined[:place] + rng.choice(QUERY_PIECES) + joined[place:]
        return joined

    def _criterion(self, type: str) -> tuple[str, str]:
        rng = self.rng
        if rng.random() < 0.35:
            name = rng.choice(list(RESULT_PARAMETERS))
            return name, rng.choice(RESULT_PARAMETERS[name])
        name, kind = rng.choice(self.service.parameters.get(type) or [("x", "string")])
        if rng.random() < 0.2:
            other, kind = rng.choice(self.service.parameters[rng.choice(self.service.types)] or [("x", "string")])
            name = f"{name}.{other}" if rng.random() < 0.7 else f"{name}:{rng.choice(self.service.types)}.{other}"
        elif rng.random() < 0.3:
            name = f"{name}:{rng.choice(MODIFIERS)}"
        values = VALUES.get(kind, ANY_VALUES) if rng.random() < 0.8 else ANY_VALUES
        return name, rng.choice(values)

    # --- headers and bodies

    def _headers(self, body: bytes) -> Pairs:
        rng = self.rng
        found = {"Host": "localhost"}
        if body:
            found["Content-Type"] = "application/fhir+json" if rng.random() < 0.9 else rng.choice(MEDIA_TYPES)
        for name in rng.sample(list(HEADERS), rng.choice([0, 0, 0, 1, 1, 2, 4])):
            found[name] = _latin(rng.choice(HEADERS[name]))
        return list(found.items())

    def _body(self, pattern: str, type: str) -> bytes:
        rng = self.rng
        kind = rng.random()
        if pattern.endswith("_search") and kind < 0.7:
            return self._query(type).encode("latin-1", "replace")
        if "$" in pattern and kind < 0.7:
            return encoded(self._parameters())
        if kind < 0.7:
            return self.resources.case().body or b""
        if kind < 0.8:
            element = rng.choice(["name", "status", "x", ""])
            return encoded({"resourceType": type, "id": rng.choice(IDS), element: rng.choice(STRANGE)})
        return self._odd_body()

    def _parameters(self) -> Any:
        rng = self.rng
        names = [
            "resource",
            "url",
            "code",
            "system",
            "valueSet",
            "filter",
            "count",
            "offset",
            "mode",
            "profile",
            "x",
            "",
        ]
        values: list[Callable[[], Any]] = [
            lambda: {"resource": self.resources.patient()},
            lambda: {"valueUri": rng.choice(["http://hl7.org/fhir/ValueSet/administrative-gender", *map(str, LINKS)])},
            lambda: {"valueCode": rng.choice(["male", "x", "", "create"])},
            lambda: {"valueInteger": rng.choice([0, -1, 10**30, "x", 1.5])},
            lambda: {"valueString": rng.choice(STRANGE)},
            lambda: {"part": rng.choice(STRANGE)},
            lambda: {rng.choice(["valueCoding", "valueCodeableConcept", "resource"]): rng.choice(STRANGE)},
        ]
        entries = [{"name": rng.choice(names), **rng.choice(values)()} for _ in range(rng.randrange(5))]
        return {"resourceType": "Parameters", "parameter": rng.choice([entries, entries, entries, rng.choice(STRANGE)])}

    def _odd_body(self) -> bytes:
        rng = self.rng
        patient = encoded(self.resources.patient())
        makers: list[Callable[[], bytes]] = [
            lambda: patient[: rng.randrange(len(patient))],
            lambda: b"[" * rng.choice([50, 200, 100_000]) + b"]" * 50,
            lambda: b'{"a":' * rng.choice([150, 50_000]) + b"1",
            lambda: encoded(rng.choice(STRANGE)),
            lambda: rng.randbytes(rng.choice([1, 100, 5000])),
            lambda: b"\xff\xfe" + patient.decode().encode("utf-16"),
            lambda: b"\xef\xbb\xbf" + patient,
            lambda: gzip.compress(patient, mtime=0),
            lambda: patient.replace(b"Durand", rng.choice([b"\0", b"\\u0000", b"\xff", b"\\ud800", b"\xc3"])),
            lambda: b'{"resourceType":"Patient","resourceType":"Patient"}',
            lambda: b'{"resourceType":"Patient","multipleBirthInteger":' + b"9" * rng.choice([30, 10_000]) + b"}",
            lambda: patient + b" " * 100_000,
            lambda: b"<Patient xmlns='http://hl7.org/fhir'/>",
            lambda: b"name=x&_count=1" + b"&a=b" * rng.choice([0, 3000]),
            lambda: b'[{"op":"replace","path":"/active","value":true}]',
            lambda: b"",
        ]
        return rng.choice(makers)()


def environ_of(request: AnyRequest) -> dict[str, Any]:
    """The WSGI environment, as gunicorn makes it: https://peps.python.org/pep-3333/#environ-variables."""
    path, _, query = request.target.partition("?")
    path = re.sub(r"^https?://[^/]*", "", path).partition("#")[0]
    given = {name.upper().replace("-", "_"): value for name, value in request.headers}
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path.encode("latin-1")).decode("latin-1"),
        "QUERY_STRING": query.partition("#")[0],
        "RAW_URI": request.target,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(request.body)) if request.body else "",
    }
    for name, value in given.items():
        environ[name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"] = value
    if "TRANSFER_ENCODING" in given:
        environ["wsgi.input_terminated"] = True
    return environ


def _latin(text: str) -> str:
    """One character per byte, as WSGI has it."""
    return text.encode("utf-8", "replace").decode("latin-1")


def _wide(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
