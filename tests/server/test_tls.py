"""Client certificates with real sockets: refused by status, or by an alert that the client sees; never by a reset."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tls import FORMS, TlsProcess, World, ask, connection, proxy

VERSIONS = pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"]
)
HEADER = "X-Client-Cert"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsProcess]:
    folder = tmp_path_factory.mktemp("tls")
    process = TlsProcess.of(folder, world.settings(), context=world.context("good"))
    yield process
    process.stop()


@VERSIONS
@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("good", 200),
        ("none", 401),
        ("wrong name", 403),
        ("wrong unit", 403),
        ("no unit", 403),
        ("expired", "ALERT_CERTIFICATE_EXPIRED"),
        ("not yet", "ALERT_BAD_CERTIFICATE"),
        ("other authority", "ALERT_UNKNOWN_CA"),
        ("revoked", "ALERT_CERTIFICATE_REVOKED"),
    ],
)
def test_a_client_is_admitted_or_refused(
    world: World, server: TlsProcess, version: ssl.TLSVersion, kind: str, wanted: int | str
) -> None:
    reply = ask(server.port, world.context(kind, version))
    if isinstance(wanted, str):
        assert reply.problem.endswith(wanted), reply
        return
    assert reply.status == wanted, reply
    assert reply.body["resourceType"] == ("CapabilityStatement" if wanted == 200 else "OperationOutcome")


@VERSIONS
@pytest.mark.parametrize("kind", ["expired", "other authority", "revoked"])
def test_the_alert_is_seen_by_a_client_that_is_still_sending(
    world: World, server: TlsProcess, version: ssl.TLSVersion, kind: str
) -> None:
    """With TLS 1.3 the client sends its request before the server has looked at the certificate."""
    for size in (1, 500_000):
        reply = ask(server.port, world.context(kind, version), "/fhir/Patient", body=b"x" * size)
        assert reply.is_alert, reply


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=["TLS 1.0", "TLS 1.1"])
def test_old_versions_are_refused_by_an_alert(world: World, server: TlsProcess, version: ssl.TLSVersion) -> None:
    context = world.context("good")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    assert ask(server.port, context).problem.endswith("ALERT_PROTOCOL_VERSION")


def test_a_client_without_tls_learns_that_the_port_requires_it(server: TlsProcess) -> None:
    reply = ask(server.port, None)
    assert reply.status == 400
    assert "begins with https://" in reply.body["issue"][0]["diagnostics"]


def test_a_resource_is_written_and_answers_say_https(server: TlsProcess) -> None:
    status, headers, _ = server.call("POST", "Patient", {"resourceType": "Patient", "active": True})
    assert status == 201
    assert headers["Location"].startswith(f"https://127.0.0.1:{server.port}/fhir/Patient/")


def test_one_connection_serves_many_requests(server: TlsProcess) -> None:
    link = server.connection()
    for _ in range(3):
        link.request("GET", "/fhir/Patient?_summary=count")
        answer = link.getresponse()
        assert (answer.status, b'"total"' in answer.read()) == (200, True)
    link.close()


def test_health_needs_no_certificate(world: World, server: TlsProcess) -> None:
    for path in ("/health/live", "/health/ready"):
        assert ask(server.port, world.context("none"), path).status == 200


def test_a_header_counts_for_nothing_on_the_servers_own_tls(world: World, server: TlsProcess) -> None:
    good = world.clients["good"]
    assert good is not None
    for name, form in (("Client-Cert", "rfc9440"), ("X-Client-Cert", "subject")):
        headers = {name: FORMS[form](good.der).encode().decode("latin-1")}
        assert ask(server.port, world.context("none"), headers=headers).status == 401


def test_clients_that_go_away_or_fall_silent_hold_nothing_up(world: World, server: TlsProcess) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
    for _ in range(20):
        socket.create_connection(("127.0.0.1", server.port)).close()
    assert ask(server.port, world.context("good")).status == 200
    for one in silent:
        one.close()


# --- lists that change


def ask_until(port: int, context: ssl.SSLContext, wanted: int | str) -> None:
    give_up = time.monotonic() + 15
    while True:
        reply = ask(port, context)
        if reply.status == wanted or (isinstance(wanted, str) and reply.problem.endswith(wanted)):
            return
        assert time.monotonic() < give_up, reply
        time.sleep(0.1)


@pytest.fixture
def own_world(tmp_path: Path) -> World:
    folder = tmp_path / "certificates"
    folder.mkdir()
    return World.make(folder)


def test_a_new_list_counts_without_a_restart_and_an_expired_one_refuses_all(own_world: World, tmp_path: Path) -> None:
    world, good = own_world, own_world.clients["good"]
    assert good is not None
    server = TlsProcess.of(tmp_path, world.settings(), context=world.context("good"))
    try:
        link = server.connection()
        link.request("GET", "/fhir/metadata")
        link.getresponse().read()
        world.inner.revocations(good, file=world.crl)
        ask_until(server.port, world.context("good"), "ALERT_CERTIFICATE_REVOKED")
        assert ask(server.port, world.context("revoked")).status == 200
        link.request("GET", "/fhir/metadata")
        assert link.getresponse().read()  # an open connection stays open…
        os.kill(server.process.pid, signal.SIGHUP)
        _closed(link)  # … until the workers are replaced
        world.inner.revocations(until=world.server.certificate.not_valid_before_utc, file=world.crl)
        ask_until(server.port, world.context("good"), "ALERT_CERTIFICATE_EXPIRED")
        assert ask(server.port, world.context("none")).status == 401
        world.crl.write_bytes(b"broken")
        world.inner.revocations(file=world.crl)
        ask_until(server.port, world.context("good"), 200)
    finally:
        server.stop()
    assert "CRL has expired" in server.log.read_text()


def _closed(link: http.client.HTTPConnection) -> None:
    """Waits until the server has closed the connection."""
    link.sock.settimeout(20)
    assert link.sock.recv(1) == b""
    link.close()


# --- behind a proxy


@pytest.fixture(scope="module")
def behind(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsProcess]:
    """A server without TLS that trusts a proxy at 127.0.0.2; this test run itself asks from 127.0.0.1."""
    settings = {
        name: value for name, value in world.settings().items() if name in ("tls_client_names", "tls_client_units")
    }
    settings |= {"tls_client": "required", "client_cert_header": HEADER, "trusted_proxies": ["127.0.0.2/31"]}
    process = TlsProcess.of(tmp_path_factory.mktemp("behind"), settings)
    yield process
    process.stop()


@pytest.mark.parametrize("form", list(FORMS))
def test_behind_a_proxy_the_header_decides(world: World, behind: TlsProcess, form: str) -> None:
    with proxy(world, behind.port, HEADER, form, "127.0.0.2") as port:
        found = {kind: ask(port, world.context(kind)).status for kind in ("good", "none", "wrong name", "wrong unit")}
    assert found == {"good": 200, "none": 401, "wrong name": 403, "wrong unit": 403}


def test_a_header_from_elsewhere_counts_for_nothing(world: World, behind: TlsProcess) -> None:
    good = world.clients["good"]
    assert good is not None
    headers = {HEADER: FORMS["nginx"](good.der)}
    assert ask(behind.port, None, headers=headers, source="127.0.0.2").status == 200
    assert ask(behind.port, None, headers=headers).status == 401
    with proxy(world, behind.port, HEADER, "nginx", "127.0.0.1") as port:
        assert ask(port, world.context("good")).status == 401


def test_a_header_that_the_client_sends_too_is_refused(world: World, behind: TlsProcess) -> None:
    """A proxy that adds its header to the client's own, instead of replacing it, must not let the client in."""
    good, mallory = world.clients["good"], world.clients["wrong name"]
    assert good is not None
    assert mallory is not None
    link = connection(behind.port, source="127.0.0.2")
    link.putrequest("GET", "/fhir/metadata")
    for pair in (good, mallory):
        link.putheader(HEADER, FORMS["subject"](pair.der).encode())
    link.endheaders()
    answer = link.getresponse()
    assert (answer.status, b"several values" in answer.read()) == (403, True)
    link.close()


@pytest.mark.parametrize("name", ["X_Client_Cert", "X-Client_Cert", "x_client-cert"])
def test_a_header_that_only_looks_alike_counts_for_nothing(world: World, behind: TlsProcess, name: str) -> None:
    """A proxy that deletes X-Client-Cert lets X_Client_Cert through, and WSGI has one name for both."""
    good = world.clients["good"]
    assert good is not None
    for value in (FORMS["subject"](good.der).encode().decode("latin-1"), FORMS["nginx"](good.der)):
        assert ask(behind.port, None, headers={name: value}, source="127.0.0.2").status == 401


def test_urls_in_answers_are_those_of_the_proxy(world: World, behind: TlsProcess) -> None:
    with proxy(world, behind.port, HEADER, "subject", "127.0.0.2") as port:
        reply = ask(port, world.context("good"), "/fhir/Patient?_count=1")
    assert reply.body["link"][0]["url"].startswith(f"https://127.0.0.1:{port}/fhir/Patient")
