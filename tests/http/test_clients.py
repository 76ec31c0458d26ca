"""Which client is admitted, by what a trusted proxy says of its certificate; TLS itself: tests/server/test_tls.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, issue
from support.authority import DAY, NOW, Authority
from werkzeug.test import TestResponse

from fhirstore.http.app import make_app
from fhirstore.model.context import RequestContext
from fhirstore.plugins.hookspecs import hookimpl
from fhirstore.plugins.loading import LoadedPlugin
from fhirstore.plugins.manager import Plugins
from fhirstore.plugins.model import HttpRequest
from fhirstore.store.errors import Unavailable

PROXY, STRANGER = "10.1.2.3", "192.0.2.1"
HEADER = "X-Client-Subject"
BEHIND_PROXY = {
    "tls_client": "required",
    "client_cert_header": HEADER,
    "trusted_proxies": ("10.0.0.0/8", "::1"),
    "tls_client_names": ("sas.example", "other.example"),
    "tls_client_units": ("U1", "U2"),
}


@pytest.fixture
def behind_proxy(make_api: Callable[..., Api]) -> Api:
    return make_api(**BEHIND_PROXY)


def asked(api: Api, header: str | None, peer: str = PROXY, path: str = "/fhir/metadata") -> TestResponse:
    headers = {HEADER: header} if header is not None else {}
    return api.client.get(path, headers=headers, environ_base={"REMOTE_ADDR": peer})


@pytest.mark.parametrize(
    ("header", "status", "text"),
    [
        ("CN=sas.example,OU=U1", 200, ""),
        ("OU=x+OU=u2,CN=Other.Example ,C=FR", 200, ""),
        ("OU=U1, CN=sas.example", 403, "several values"),
        (None, 401, "A client certificate is required"),
        ("", 401, "A client certificate is required"),
        ("CN=mallory,OU=U1", 403, "The Common Name 'mallory' of the client certificate is not admitted"),
        ("CN=sas.example,OU=U3", 403, "No Organizational Unit of the client certificate is admitted here: 'U3'"),
        ("CN=sas.example", 403, "admitted here: none"),
        ("CN=sas.example,OU=U1,CN=mallory", 403, "2 Common Names instead of one"),
        ("/CN=sas.example/OU=U1", 403, "old OpenSSL format with slashes"),
        ("nonsense", 403, "not a distinguished name"),
        (":MAA=:", 403, "The client certificate cannot be read: not an X.509 certificate"),
    ],
)
def test_the_subject_decides(behind_proxy: Api, header: str | None, status: int, text: str) -> None:
    answer = asked(behind_proxy, header)
    assert answer.status_code == status
    if status != 200:
        assert text in issue(answer)["diagnostics"]
        assert issue(answer)["code"] == {401: "login", 403: "forbidden"}[status]
        assert ("WWW-Authenticate" in answer.headers) is (status == 401)


@pytest.mark.parametrize("peer", [STRANGER, "127.0.0.1", "::ffff:192.0.2.1", "", "unix:"])
def test_from_any_other_address_the_header_counts_for_nothing(behind_proxy: Api, peer: str) -> None:
    assert asked(behind_proxy, "CN=sas.example,OU=U1", peer).status_code == 401


@pytest.mark.parametrize("peer", [PROXY, "::1", "::ffff:10.1.2.3"])
def test_trusted_are_addresses_and_networks(behind_proxy: Api, peer: str) -> None:
    assert asked(behind_proxy, "CN=sas.example,OU=U1", peer).status_code == 200


def test_a_certificate_that_is_not_valid_now_is_refused(behind_proxy: Api, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    valid = authority.issue("sas.example", "U1")
    old = authority.issue("sas.example", "U1", begin=NOW - 3 * DAY, end=NOW - DAY)
    assert asked(behind_proxy, valid.pem.replace("\n", " ")).status_code == 200
    answer = asked(behind_proxy, old.pem.replace("\n", " "))
    assert answer.status_code == 403
    assert "not valid at this time" in issue(answer)["diagnostics"]


@pytest.mark.parametrize(
    "path", ["/fhir/Patient", "/fhir/Nothing", "/fhir", "/elsewhere", "/health", "/health/ready/x"]
)
def test_every_path_is_guarded(behind_proxy: Api, path: str) -> None:
    assert asked(behind_proxy, None, path=path).status_code == 401


def test_this_machine_needs_no_certificate_for_pages_of_operators(behind_proxy: Api) -> None:
    for path in ("/metrics", "/jobs"):
        assert asked(behind_proxy, None, "127.0.0.1", path).status_code == 200
        passed_on = {"headers": {"X-Forwarded-For": STRANGER}, "environ_base": {"REMOTE_ADDR": "127.0.0.1"}}
        assert behind_proxy.client.get(path, **passed_on).status_code == 401
    for path in ("/", "/pages", "/fhir", "/fhir/Patient", "/fhirs", "/metrics/x"):
        assert asked(behind_proxy, None, "127.0.0.1", path).status_code == 401


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_health_needs_no_certificate(behind_proxy: Api, path: str) -> None:
    assert asked(behind_proxy, None, STRANGER, path).status_code == 200


def test_health_shows_strangers_the_state_only(behind_proxy: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise Unavailable("no answer from db.internal:27017")

    monkeypatch.setattr(behind_proxy.ctx.store, "probe", fail)
    for peer, told in ((STRANGER, False), (PROXY, False), ("127.0.0.1", True)):
        answer = asked(behind_proxy, None, peer, "/health/ready")
        assert answer.status_code == 503
        assert ("db.internal" in answer.text) is told


def test_optional_lets_clients_without_certificate_in_but_no_wrong_one(make_api: Callable[..., Api]) -> None:
    api = make_api(**BEHIND_PROXY | {"tls_client": "optional"})
    assert asked(api, None).status_code == 200
    assert asked(api, "CN=sas.example,OU=U1").status_code == 200
    assert asked(api, "CN=mallory,OU=U1").status_code == 403


def test_without_names_and_units_every_certificate_is_admitted(make_api: Callable[..., Api]) -> None:
    api = make_api(**BEHIND_PROXY | {"tls_client_names": (), "tls_client_units": ()})
    assert asked(api, "CN=anybody").status_code == 200
    assert asked(api, None).status_code == 401


class Watching:
    """A plugin that records who asked, and the headers of the request."""

    def __init__(self) -> None:
        self.seen: list[tuple[str | None, dict[str, Any], int]] = []
        self.headers: list[bool] = []

    @hookimpl
    def authenticate(self, http: HttpRequest) -> None:
        self.headers.append(HEADER in http.headers)

    @hookimpl
    def audit(self, request: RequestContext, status: int) -> None:
        self.seen.append((request.principal.subject, request.principal.claims, status))


def test_plugins_learn_who_asked_and_never_see_the_header(behind_proxy: Api) -> None:
    watching = Watching()
    plugins = Plugins([LoadedPlugin("test", "test", watching)])
    ctx = replace(behind_proxy.ctx, plugins=plugins)
    api = Api(make_app(ctx), ctx)
    for header in ("CN=sas.example,OU=U1,OU=x", "CN=mallory", None):
        asked(api, header)
    asked(api, "CN=sas.example,OU=U1", STRANGER)
    assert watching.seen == [
        ("sas.example", {"organizational_units": ["U1", "x"]}, 200),
        (None, {}, 403),
        (None, {}, 401),
        (None, {}, 401),
    ]
    assert watching.headers == [False]


def test_without_client_certificates_nothing_is_asked(make_api: Callable[..., Api]) -> None:
    api = make_api()
    assert asked(api, None).status_code == 200
    assert asked(api, "nonsense").status_code == 200


def test_refusals_are_in_the_language_of_the_client(behind_proxy: Api) -> None:
    headers = {HEADER: "CN=sas.example,OU=U3", "Accept-Language": "fr"}
    answer = behind_proxy.client.get("/fhir/Patient", headers=headers, environ_base={"REMOTE_ADDR": PROXY})
    assert answer.status_code == 403
    assert issue(answer)["diagnostics"].startswith(
        "Aucune Organizational Unit du certificat client n'est admise ici : 'U3'"
    )
