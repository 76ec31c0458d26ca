"""Behind nginx and HAProxy as docs/tls.md configures them: who is admitted, and that nothing of a request is lost."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from support.proxies import GUIDE, PROXIES, running
from support.tls import FORMS, NAME, UNIT, TlsProcess, World, ask, connection

HEADER = "X-Client-Cert"
FORGED = f"CN={NAME},OU={UNIT}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def behind(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsProcess]:
    """With the settings of docs/tls.md, "Behind a proxy"."""
    settings = {
        "tls_client": "required",
        "client_cert_header": HEADER,
        "trusted_proxies": ["127.0.0.1"],
        "tls_client_names": [NAME],
        "tls_client_units": [UNIT],
    }
    process = TlsProcess.of(tmp_path_factory.mktemp("behind"), settings)
    yield process
    process.stop()


@pytest.fixture(scope="module", params=list(PROXIES))
def port(
    request: pytest.FixtureRequest, world: World, behind: TlsProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    with running(request.param, world, behind.port, tmp_path_factory.mktemp("proxy")) as found:
        yield found


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize(
    ("kind", "status"),
    [("good", 200), ("none", 401), ("wrong name", 403), ("wrong unit", 403), ("no unit", 403)],
)
def test_what_the_proxy_verified_the_server_admits_or_refuses(
    world: World, port: int, kind: str, status: int, version: ssl.TLSVersion
) -> None:
    reply = ask(port, world.context(kind, version))
    assert reply.status == status, reply
    assert reply.body["resourceType"] == ("CapabilityStatement" if status == 200 else "OperationOutcome")


@pytest.mark.parametrize("kind", ["expired", "not yet", "other authority", "revoked"])
def test_what_it_cannot_verify_never_reaches_the_server(world: World, port: int, kind: str) -> None:
    """nginx answers 400, HAProxy with an alert."""
    reply = ask(port, world.context(kind))
    assert reply.is_alert or (reply.status == 400 and "certificate" in reply.body), reply


@pytest.mark.parametrize("name", [HEADER, HEADER.lower(), HEADER.replace("-", "_"), "X-Client_Cert"])
@pytest.mark.parametrize("kind", ["none", "wrong name"])
def test_a_header_that_the_client_sends_admits_nobody(world: World, port: int, kind: str, name: str) -> None:
    good = world.clients["good"]
    assert good is not None
    for value in (FORGED, FORMS["nginx"](good.der), FORMS["rfc9440"](good.der)):
        assert ask(port, world.context(kind), headers={name: value}).status == (401 if kind == "none" else 403)


def test_a_header_that_a_good_client_sends_changes_nothing(world: World, port: int) -> None:
    assert ask(port, world.context("good"), headers={HEADER: "CN=mallory.example"}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Forwarded-Proto": "http"},
        {"X-Forwarded-Host": "mallory.example"},
        {"Forwarded": "host=mallory.example;proto=http"},
        {"X-Forwarded-Port": "80", "X-Forwarded-Prefix": "/other"},
    ],
    ids=lambda headers: " ".join(headers) or "none",
)
def test_urls_in_answers_are_those_of_the_proxy(world: World, port: int, headers: dict[str, str]) -> None:
    reply = ask(port, world.context("good"), "/fhir/Patient?_count=1", headers=headers)
    assert reply.body["link"][0]["url"] == f"https://127.0.0.1:{port}/fhir/Patient?_count=1"


@pytest.mark.parametrize("path", ["/metrics", "/sas/outbox"])
def test_pages_for_those_who_run_the_server_are_not_shown(world: World, port: int, path: str) -> None:
    assert ask(port, world.context("none"), path).status == 401
    assert ask(port, world.context("good"), path).status in (403, 404)


def test_health_needs_no_certificate_and_gives_no_reasons(world: World, port: int) -> None:
    assert ask(port, world.context("none"), "/health/ready").status == 200


def test_pages_are_followed_through_the_proxy(world: World, port: int) -> None:
    link = connection(port, world.context("good"))
    for n in range(5):
        link.request(
            "POST", "/fhir/Basic", json.dumps(basic(n, f"of-{port}")), {"Content-Type": "application/fhir+json"}
        )
        answer = link.getresponse()
        answer.read()
        assert answer.status == 201
        assert str(answer.getheader("Location")).startswith(f"https://127.0.0.1:{port}/fhir/Basic/")
    url: str | None = f"https://127.0.0.1:{port}/fhir/Basic?code=of-{port}&_count=2"
    seen = []
    while url is not None:
        parts = urlsplit(url)
        assert (parts.scheme, parts.netloc) == ("https", f"127.0.0.1:{port}")
        link.request("GET", f"{parts.path}?{parts.query}")
        page = json.loads(link.getresponse().read())
        seen += [entry["resource"]["identifier"][0]["value"] for entry in page.get("entry", ())]
        url = next((one["url"] for one in page["link"] if one["relation"] == "next"), None)
    link.close()  # it was the one connection all the time
    assert sorted(seen) == [str(n) for n in range(5)]


def basic(n: int, code: str = "other") -> dict[str, Any]:
    identifier = [{"system": "urn:oid:1.2.250.1.999", "value": str(n)}]
    return {"resourceType": "Basic", "identifier": identifier, "code": {"coding": [{"code": code}]}}


@pytest.mark.parametrize("count", [1, 25, 170])
@pytest.mark.parametrize("separator", ["|", "%7C"], ids=["raw", "encoded"])
def test_the_query_comes_through_as_it_was_sent(world: World, port: int, separator: str, count: int) -> None:
    """170 identifiers are as many as go into the longest URL that the server reads itself, 8190 characters."""
    named = ",%20".join(f"urn:oid:1.2.250.1.71.4.2.1{separator}8{n:011d}" for n in range(count))
    query = f"identifier={named}&_lastUpdated=ge2026-12-07T10:00:00.000%2B01:00"
    reply = ask(port, world.context("good"), f"/fhir/Patient?{query}")
    assert reply.status == 200, reply
    assert parse_qsl(urlsplit(reply.body["link"][0]["url"]).query) == parse_qsl(query)


def test_a_search_may_be_posted(world: World, port: int) -> None:
    named = ",".join(f"urn:oid:1.2.250.1.71.4.2.1|8{n:011d}" for n in range(1500))
    body = f"identifier={quote(named)}&_count=5".encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = ask(port, world.context("good"), "/fhir/Patient/_search", headers, body)
    assert reply.status == 200, reply
    assert dict(parse_qsl(urlsplit(reply.body["link"][0]["url"]).query))["_count"] == "5"


def test_a_body_of_several_megabytes_comes_through(world: World, port: int) -> None:
    text = "x" * 900_000
    entries = [
        {"resource": basic(n) | {"extension": [{"url": f"urn:x:{k}", "valueString": text} for k in range(4)]},
         "request": {"method": "POST", "url": "Basic"}}
        for n in range(3)
    ]  # fmt: skip
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    headers = {"Content-Type": "application/fhir+json"}
    reply = ask(port, world.context("good"), "/fhir", headers, json.dumps(bundle).encode())
    assert reply.status == 200, reply
    assert [e["response"]["status"][:3] for e in reply.body["entry"]] == ["201"] * 3


APPENDING = [
    ("nginx", r"\$ssl_client_escaped_cert", '"$http_x_client_cert, $ssl_client_escaped_cert"'),
    ("nginx", r"\$ssl_client_escaped_cert", '"$http_x_client_cert, $ssl_client_s_dn"'),
    ("HAProxy", r".*del-header X-Client-Cert\n(.*) set-header X-Client-Cert", r"\1 add-header X-Client-Cert"),
]


@pytest.mark.parametrize(("name", "given", "instead"), APPENDING, ids=["nginx", "nginx subject", "HAProxy"])
def test_a_proxy_that_appends_to_the_header_lets_no_forged_part_in(
    world: World, behind: TlsProcess, tmp_path: Path, name: str, given: str, instead: str
) -> None:
    def change(text: str) -> str:
        changed, count = re.subn(given, instead, text)
        assert count == 1
        return changed

    with running(name, world, behind.port, tmp_path / "proxy", change) as port:
        for forged in (f"OU={UNIT}", FORGED):
            for kind in ("wrong unit", "wrong name", "no unit"):
                reply = ask(port, world.context(kind), headers={HEADER: forged})
                assert reply.status == 403, (kind, forged, reply)


OTHER_FORMS = [
    ("nginx", r"\$ssl_client_escaped_cert", "$ssl_client_s_dn"),
    ("HAProxy", r"%\[ssl_c_s_dn\(,0,rfc2253\)\]", ":%[ssl_c_der,base64]:"),
]


@pytest.mark.parametrize(("name", "given", "instead"), OTHER_FORMS, ids=["nginx subject", "HAProxy RFC 9440"])
def test_the_other_forms_that_the_guide_names_do_as_well(
    world: World, behind: TlsProcess, tmp_path: Path, name: str, given: str, instead: str
) -> None:
    assert instead in GUIDE.read_text(encoding="utf-8")

    def change(text: str) -> str:
        changed, count = re.subn(given, lambda _: instead, text)
        assert count == 1
        return changed

    with running(name, world, behind.port, tmp_path / "proxy", change) as port:
        found = {kind: ask(port, world.context(kind)).status for kind in ("good", "none", "wrong name", "wrong unit")}
        assert found == {"good": 200, "none": 401, "wrong name": 403, "wrong unit": 403}
        assert ask(port, world.context("none"), headers={HEADER: FORGED}).status == 401
