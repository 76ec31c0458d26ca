"""Raw requests over sockets: no spelling of a path and no header reaches data without a certificate."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from support.process import Process
from support.tls import TlsProcess

SETTINGS = {"tls_client": "required", "client_cert_header": "X-Client-Cert", "trusted_proxies": ["127.0.0.2"]}
GOOD = "CN=sas.example"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsProcess]:
    process = TlsProcess.of(tmp_path_factory.mktemp("access"), SETTINGS)
    yield process
    process.stop()


def ask(
    server: Process,
    target: str,
    *headers: str,
    method: str = "GET",
    source: str = "127.0.0.1",
    host: str = "Host: localhost",
) -> tuple[int, Any]:
    """One request, exactly as given, and its status and body."""
    body = '{"resourceType":"Slot"}' if method == "POST" else ""
    content = ["Content-Type: application/fhir+json", f"Content-Length: {len(body)}"] if body else []
    lines = [f"{method} {target} HTTP/1.1", host, "Connection: close", *content, *headers]
    with socket.create_connection(("127.0.0.1", server.port), 20, (source, 0)) as client:
        client.sendall("\r\n".join([*lines, "", body]).encode())
        head, _, answer = b"".join(iter(lambda: client.recv(1 << 16), b"")).partition(b"\r\n\r\n")
    assert b"\r\nX-Content-Type-Options: nosniff" in head
    return int(head.split()[1]), json.loads(answer) if b"json" in head else answer


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "target",
    [
        "//fhir/Slot",
        "///fhir/Slot",
        "/%2ffhir/Slot",
        "/fhir%2fSlot",
        "/x/../fhir/Slot",
        "/x/%2e%2e/fhir/Slot",
        "/health/live/../../fhir/Slot",
        "/health/live%2f..%2f..%2ffhir/Slot",
        "/./fhir/Slot",
        "http://z//fhir/Slot",
        "http://localhost//fhir/Slot",
        "/fhir\\Slot",
        "/fhir%00/Slot",
        "/fhir/Slot#",
    ],
)
def test_a_path_that_is_not_canonical_is_refused(server: TlsProcess, target: str, method: str) -> None:
    status, outcome = ask(server, target, method=method)
    assert (status, outcome["resourceType"]) == (400, "OperationOutcome")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("target", ["/fhir/Slot", "/fhir/Slot/", "/%66hir/Slot", "http://localhost/fhir/Slot", "/x"])
@pytest.mark.parametrize(
    "header",
    [
        "X: x",
        "SCRIPT_NAME: /fhir",
        "SCRIPT_NAME: /x",
        "SCRIPT-NAME: /fhir",
        "Script_Name: /health/live",
        "PATH_INFO: /health/live",
        "X-Original-URL: /health/live",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Prefix: /health/live",
        "REMOTE_ADDR: 127.0.0.2",
        "REMOTE_USER: sas",
        "X-Client-Cert: CN=sas.example",
        "X_Client_Cert: CN=sas.example",
    ],
)
def test_no_header_replaces_the_certificate(server: TlsProcess, header: str, target: str, method: str) -> None:
    assert ask(server, target, header, method=method)[0] == 401


@pytest.mark.parametrize("header", ["SCRIPT_NAME: /fhir", "PATH_INFO: /health/live", "wsgi.url_scheme: https"])
def test_a_trusted_proxy_cannot_change_the_path_either(server: TlsProcess, header: str) -> None:
    status, bundle = ask(server, "/fhir/Slot", header, f"X-Client-Cert: {GOOD}", source="127.0.0.2")
    assert (status, bundle["link"][0]["url"]) == (200, "http://localhost/fhir/Slot")


@pytest.mark.parametrize("second", ["OU=318751275100020", "CN=sas.example", "", "x"])
def test_a_repeated_certificate_header_is_refused(server: TlsProcess, second: str) -> None:
    for values in ((GOOD, second), (second, GOOD)):
        headers = [f"X-Client-Cert: {value}" for value in values]
        status, outcome = ask(server, "/fhir/Slot", *headers, source="127.0.0.2")
        assert (status, "several values" in outcome["issue"][0]["diagnostics"]) == (403, True)


@pytest.mark.parametrize(
    ("source", "values", "expected"),
    [
        ("127.0.0.2", ["https"], "https"),
        ("127.0.0.2", ["HTTPS, https"], "https"),
        ("127.0.0.2", ["http"], "http"),
        ("127.0.0.2", [], "http"),
        ("127.0.0.2", ["http", "https"], None),
        ("127.0.0.2", ["javascript"], None),
    ],
)
def test_the_scheme_is_that_of_a_trusted_proxy(
    server: TlsProcess, source: str, values: list[str], expected: str | None
) -> None:
    headers = [f"X-Forwarded-Proto: {value}" for value in values]
    status, answer = ask(server, "/fhir/Slot", f"X-Client-Cert: {GOOD}", *headers, source=source)
    if expected is None:
        assert (status, answer["issue"][0]["expression"]) == (400, ["http.X-Forwarded-Proto"])
    else:
        assert answer["link"][0]["url"] == f"{expected}://localhost/fhir/Slot"


@pytest.mark.parametrize("header", ["X-Forwarded-Proto: https", "X-Forwarded-Ssl: on", "X-Forwarded-Protocol: ssl"])
def test_without_trusted_proxies_no_header_changes_the_scheme(plain: Process, header: str) -> None:
    _, bundle = ask(plain, "/fhir/Slot", header, "X-Forwarded-Host: evil.example")
    assert bundle["link"][0]["url"] == "http://localhost/fhir/Slot"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """With the environment that gunicorn reads by default."""
    patched = pytest.MonkeyPatch()
    patched.setenv("FORWARDED_ALLOW_IPS", "*")
    process = Process(tmp_path_factory.mktemp("plain") / "store.db", workers=1)
    patched.undo()
    yield process
    process.stop()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "0.0.0.0", "localhost@evil.example"])
def test_a_foreign_host_can_neither_write_nor_read_metrics(plain: Process, host: str) -> None:
    for target, method in (("/fhir/Slot", "POST"), ("/fhir/Slot", "GET"), ("/metrics", "GET"), ("/jobs", "GET")):
        assert ask(plain, target, method=method, host=f"Host: {host}")[0] == 421


def test_a_request_without_a_host_is_refused(plain: Process) -> None:
    assert ask(plain, "/fhir/Slot", host="X: x")[0] == 400
    assert ask(plain, "http://evil.example/fhir/Slot")[0] == 421


def test_on_every_address_the_address_of_the_connection_is_known_and_a_warning_is_logged(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    process = Process(tmp_path_factory.mktemp("open") / "store.db", "--host", "0.0.0.0", workers=1)
    try:
        assert "can read and change all data" in process.log.read_text()
        status, outcome = ask(process, "/health/ready")
        assert (status, outcome["issue"][0]["severity"]) == (200, "warning")
        for host, status in (("127.0.0.1", 200), ("192.0.2.7", 421), ("0.0.0.0", 421)):
            assert ask(process, "/fhir/Slot", host=f"Host: {host}:{process.port}")[0] == status
    finally:
        process.stop()
