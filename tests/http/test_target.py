"""Paths that are not canonical, foreign hosts and foreign origins are refused before a view is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.any_request import AnyRequest, environ_of
from support.api import JSON, Api, issue, patient
from support.authority import Authority
from support.fuzz import encoded
from support.targets import CERTIFIED, ask
from werkzeug.test import TestResponse, run_wsgi_app

from fhirstore.http.app import make_app
from fhirstore.store.errors import Unavailable

MakeApi = Callable[..., Api]


@pytest.fixture
def closed(make_api: MakeApi) -> Api:
    """A server that requires certificates. Requests of its client come from this machine, without one."""
    return make_api(**CERTIFIED)


NOT_CANONICAL = [
    "//fhir/Patient",
    "///fhir/Patient",
    "/fhir//Patient",
    "/fhir/Patient//",
    "/%2ffhir/Patient",
    "/%2Ffhir/Patient",
    "/fhir%2fPatient",
    "/fhir%2FPatient/1",
    "/fhir%5cPatient",
    "/x/../fhir/Patient",
    "/health/live/../../fhir/Patient",
    "/./fhir/Patient",
    "/fhir/./Patient",
    "/fhir/Patient/..",
    "/fhir/Patient/.",
    "/%2e/fhir/Patient",
    "/x/%2e%2E/fhir/Patient",
    "/x/.%2e/fhir/Patient",
    "/fhir/Patient%00",
    "/fhir/Patient/%0a",
    "/fhir/Patient/%7f",
    "/fhir/Patient/%ff",
    "/fhir/Patient/%c0%af",
    "/fhir/Patient/%",
    "/fhir/Patient/%zz",
    "/fhir/Patient#x",
    "http://localhost//fhir/Patient",
    "http://localhost/x/../fhir/Patient",
    "http://localhost/fhir%2fPatient",
    "ftp://localhost/fhir/Patient",
    "*",
]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("target", NOT_CANONICAL)
@pytest.mark.parametrize("make", [CERTIFIED, {}], ids=["certificates", "open"])
def test_a_path_that_is_not_canonical_is_refused(make_api: MakeApi, make: Any, target: str, method: str) -> None:
    api = make_api(**make)
    answer = ask(api, target, method, b'{"resourceType":"Patient"}' if method == "POST" else b"")
    assert answer.status_code == 400
    assert "is not canonical" in issue(answer)["diagnostics"]
    assert make == CERTIFIED or api.get("Patient?_summary=count").get_json()["total"] == 0


@pytest.mark.parametrize(
    "target",
    [
        "/fhir/Patient",
        "/fhir/Patient/",
        "/fhir/Patient?name=a//b/../%2f#",
        "/fhir/%50atient",
        "/fhir/Patient/%24validate?x",
        "http://localhost/fhir/Patient",
        "HTTP://localhost:8080/fhir/Patient?x=1",
        "https://127.0.0.1/fhir/Patient",
    ],
)
def test_every_spelling_of_a_canonical_path_reaches_the_same_rule(make_api: MakeApi, target: str) -> None:
    assert ask(make_api(**CERTIFIED), target).status_code == 401
    assert ask(make_api(), target).status_code == (400 if "validate" in target else 200)


@pytest.mark.parametrize("script", ["/x", "/fhir", "/health/live"])
def test_a_script_name_changes_nothing(closed: Api, script: str) -> None:
    """As a WSGI server splits the path when a header or the environment gives a SCRIPT_NAME."""
    answer = ask(closed, f"{script}/fhir/Patient", SCRIPT_NAME=script, PATH_INFO="/fhir/Patient")
    assert answer.status_code == 400
    headers = {"SCRIPT_NAME": script, "X-Script-Name": script, "X-Forwarded-Prefix": script}
    assert closed.client.get("/fhir/Patient", headers=headers).status_code == 401


@pytest.mark.parametrize("name", ["X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Forwarded-Path"])
def test_no_header_names_another_path(closed: Api, name: str) -> None:
    assert closed.client.get("/fhir/Patient", headers={name: "/health/live"}).status_code == 401


def test_a_refused_path_is_quoted_without_control_characters(make_api: MakeApi) -> None:
    text = issue(ask(make_api(), "/fhir/\x1b[31m\nPatient"))["diagnostics"]
    assert text.isprintable()


def with_host(api: Api, host: str | None, path: str = "/fhir/Patient", **environ: Any) -> TestResponse:
    environ_of = {"HTTP_HOST": host} if host is not None else {}
    if host is None:
        return _without_host(api, path, environ)
    return api.client.get(path, environ_overrides=environ_of | environ)


def _without_host(api: Api, path: str, environ: dict[str, str]) -> TestResponse:
    inner = api.app.wsgi_app

    def remove(given: dict[str, Any], start: Any) -> Any:
        given.pop("HTTP_HOST")
        return inner(given, start)

    api.app.wsgi_app = remove  # type: ignore[method-assign]
    try:
        return api.client.get(path, environ_overrides=environ)
    finally:
        api.app.wsgi_app = inner  # type: ignore[method-assign]


LOOPBACK = ["localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1", "127.0.0.1:9", "127.1.2.3", "[::1]", "[::1]:80"]
FOREIGN = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example:8080",
    "0.0.0.0",
    "[::]",
    "192.0.2.7",
    "[2001:db8::1]",
    "127.0.0.1@evil.example",
    "localhost, evil.example",
    "localhost:x",
    "localhost:65536",
    "localhost:99999",
    "local host",
    "locälhost".encode().decode("latin-1"),
    "[::1",
    ":80",
]


@pytest.mark.parametrize("host", LOOPBACK)
def test_names_of_this_machine_are_known(make_api: MakeApi, host: str) -> None:
    assert with_host(make_api(), host).status_code == 200


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("path", ["/fhir/Patient", "/fhir", "/metrics", "/jobs", "/nothing"])
def test_other_hosts_are_refused_on_every_rule(make_api: MakeApi, host: str, path: str) -> None:
    answer = with_host(make_api(), host, path)
    assert answer.status_code == 421
    assert issue(answer)["expression"] == ["http.Host"]


@pytest.mark.parametrize("host", ["evil.example:65536", "[::1::2]", "[1.2.3]", "[.]"])
def test_a_host_that_no_url_can_have_is_refused_even_where_all_hosts_are_allowed(make_api: MakeApi, host: str) -> None:
    api = make_api(allowed_hosts=("*",))
    headers = [("Host", host), ("Content-Type", "application/fhir+json")]
    request = AnyRequest("PUT", "/fhir/Patient/1", headers, encoded(patient(id="1")))
    _, status, _ = run_wsgi_app(api.app, environ_of(request), buffered=True)  # the test client refuses such hosts
    assert status.startswith("421")
    assert api.get("Patient/1").status_code == 404


def test_a_change_for_another_host_is_refused(make_api: MakeApi) -> None:
    api = make_api()
    answer = api.client.put("/fhir/Patient/1", json=patient(id="1"), environ_overrides={"HTTP_HOST": "evil.example"})
    assert answer.status_code == 421
    assert api.get("Patient/1").status_code == 404


def test_the_authority_of_an_absolute_target_is_the_host(make_api: MakeApi) -> None:
    api = make_api()
    assert ask(api, "http://evil.example/fhir/Patient").status_code == 421
    answer = ask(api, "http://localhost:81/fhir/Patient", HTTP_HOST="evil.example")
    assert answer.get_json()["link"][0]["url"].startswith("http://localhost:81/fhir/")


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({"base_url": "https://agenda.example/fhir"}, "agenda.example"),
        ({"base_url": "https://agenda.example:8443/fhir"}, "Agenda.Example:8443"),
        ({"base_url": "https://[2001:db8::1]:8443/fhir"}, "[2001:DB8::1]:8443"),
        ({"allowed_hosts": ("a.example", "b.example")}, "b.example"),
        ({"allowed_hosts": ("*.example.org",)}, "a.example.org"),
        ({"allowed_hosts": ("192.0.2.7",)}, "192.0.2.7:8080"),
        ({"allowed_hosts": ("*",)}, "anything.example"),
    ],
)
def test_the_settings_name_further_hosts(make_api: MakeApi, settings: dict[str, Any], host: str) -> None:
    api = make_api(**settings)
    assert with_host(api, host).status_code == 200
    assert with_host(api, "localhost").status_code == 200
    assert settings.get("allowed_hosts") == ("*",) or with_host(api, f"x.{host}").status_code == 421


def test_a_wildcard_is_one_level(make_api: MakeApi) -> None:
    api = make_api(allowed_hosts=("*.example.org",))
    for host in ("example.org", "a.b.example.org", "evilexample.org"):
        assert with_host(api, host).status_code == 421


@pytest.mark.parametrize(("listening_on", "host", "status"), [
    ("192.0.2.7", "192.0.2.7:8080", 200),
    ("fhir.internal", "fhir.internal", 200),
    ("0.0.0.0", "0.0.0.0", 421),
    ("::", "[::]", 421),
])  # fmt: skip
def test_the_listening_address_is_known(api: Api, listening_on: str, host: str, status: int) -> None:
    assert with_host(Api(make_app(api.ctx, listening_on), api.ctx), host).status_code == status


@pytest.mark.parametrize(("host", "status"), [
    ("192.0.2.7:8080", 200), ("192.0.2.8", 421), ("[2001:DB8::1]", 421)
])  # fmt: skip
def test_the_address_of_the_connection_is_known(make_api: MakeApi, host: str, status: int) -> None:
    """On a server that listens on all addresses."""

    class Connection:
        def getsockname(self) -> tuple[str, int]:
            return ("::ffff:192.0.2.7", 8080)

    assert with_host(make_api(), host, **{"gunicorn.socket": Connection()}).status_code == status


def test_the_names_in_the_server_certificate_are_known(make_api: MakeApi, tmp_path: Path) -> None:
    pair = Authority(tmp_path, "authority").issue("common.example", hosts=("agenda.example", "*.rooms.example"))
    api = make_api(tls_cert=pair.cert)
    for host in ("agenda.example:8443", "a.rooms.example", "127.0.0.1"):
        assert with_host(api, host).status_code == 200
    for host in ("common.example", "rooms.example", "other.example"):
        assert with_host(api, host).status_code == 421


def test_only_http_1_0_needs_no_host(make_api: MakeApi) -> None:
    api = make_api()
    answer = with_host(api, None)
    assert (answer.status_code, issue(answer)["diagnostics"]) == (400, "The Host header is required.")
    assert with_host(api, None, SERVER_PROTOCOL="HTTP/1.0").status_code == 200


def test_health_answers_probes_that_name_any_host_but_without_reasons(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = make_api()

    def fail() -> None:
        raise Unavailable("no answer from db.internal:27017")

    monkeypatch.setattr(api.ctx.store, "probe", fail)
    for host, shown in (("localhost", True), ("192.0.2.7", False), ("evil.example", False)):
        answer = with_host(api, host, "/health/ready")
        assert (answer.status_code, "db.internal" in answer.text) == (503, shown)
        assert with_host(api, host, "/health/live").status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost", 201),
        ("https://localhost", 201),  # behind a proxy that terminates TLS
        ("http://LOCALHOST", 201),
        ("http://localhost:80", 201),
        ("http://localhost:81", 403),
        ("http://evil.example", 403),
        ("null", 403),
        ("", 403),
        ("file://", 403),
        ("moz-extension://localhost", 403),
    ],
)
def test_only_pages_of_this_server_may_change_data(make_api: MakeApi, origin: str, status: int) -> None:
    api = make_api()
    assert api.post("Patient", patient(), Origin=origin).status_code == status
    assert api.put("Patient/1", patient(id="1"), Origin=origin).status_code == status
    assert api.delete("Patient/1", Origin=origin).status_code == (204 if status == 201 else 403)
    assert api.get("Patient", Origin=origin).status_code == 200


def test_origins_of_cors_and_of_the_base_url_may_change_data(make_api: MakeApi) -> None:
    api = make_api(cors_origins=("https://app.example",), base_url="https://agenda.example/fhir")
    for origin, status in (("https://app.example", 201), ("https://agenda.example", 201), ("https://b.example", 403)):
        assert api.post("Patient", patient(), Origin=origin).status_code == status
    assert make_api(cors_origins=("*",)).post("Patient", patient(), Origin="https://x.example").status_code == 201


def test_pages_of_operators_are_not_for_other_origins(make_api: MakeApi) -> None:
    api = make_api(cors_origins=("*",))
    for path in ("/metrics", "/jobs"):
        assert "Access-Control-Allow-Origin" not in api.get(path, Origin="https://x.example").headers
    assert "Access-Control-Allow-Origin" in api.get("Patient", Origin="https://x.example").headers


@pytest.mark.parametrize("type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_an_operation_that_may_change_data_needs_json_even_without_a_body(make_api: MakeApi, type: str | None) -> None:
    """The types that a page of another site can send without asking."""
    api = make_api()
    headers = {"Content-Type": type} if type else {}
    answer = api.client.post("/fhir/$closure?name=a", headers=headers)
    assert (answer.status_code, issue(answer)["expression"]) == (415, ["http.Content-Type"])
    assert api.client.post("/fhir/$closure?name=a", content_type=JSON).status_code == 200


def test_an_operation_that_reads_needs_no_type_without_a_body(make_api: MakeApi) -> None:
    url = "/fhir/CodeSystem/$lookup?system=http://hl7.org/fhir/slotstatus&code=free"
    assert make_api().client.post(url).status_code == 200
