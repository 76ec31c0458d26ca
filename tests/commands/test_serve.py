from __future__ import annotations

import json
import signal
import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from support.cli import (
    PATIENT,
    Running,
    bundle,
    fhirstore,
    refusals,
    served,
    written,
)
from support.ports import free_port

from fhirstore.commands.serve import compile_profiles
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.server import build
from fhirstore.settings import Settings

JSON_PLUGIN = Path(__file__).resolve().parents[2] / "docs/examples/json-plugin"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served")
    with served("serve", "--store", f"sqlite:///{folder}/served.db", "--workers", "1", "--threads", "2") as running:
        yield running


def test_serve_responds_once_it_is_announced(server: Running) -> None:
    assert server.get("/metadata")["resourceType"] == "CapabilityStatement"
    with urllib.request.urlopen(server.base.replace("/fhir", "/health/ready"), timeout=20) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /fhir/Patient?name=" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /fhir/Patient HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n", b"431"),
        (b"\0\1\2\r\n\r\n", b"400"),
        (b"GET /fhir/Patient HTTP/1.1\r\nBad Name: 1\r\n\r\n", b"400"),
        *(
            (b"POST /fhir/Patient HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + body, b"400")
            for body in (b"zz\r\n", b"-1\r\n", b"5\r\nabcdefgh\r\n0\r\n\r\n", b"0\r\nbad trailer\r\n\r\n")
        ),
    ],
)
def test_an_unparsable_request_gets_an_operation_outcome(server: Running, request_bytes: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", int(server.base.split(":")[2].split("/")[0])), timeout=20) as client:
        client.sendall(request_bytes)
        head, _, body = b"".join(iter(lambda: client.recv(1 << 16), b"")).partition(b"\r\n\r\n")
    assert head.split()[1] == status
    assert json.loads(body)["resourceType"] == "OperationOutcome"


def test_load_sends_to_a_server(server: Running) -> None:
    done = fhirstore(
        "load", "--to", server.base, written("a.ndjson", *({**PATIENT, "id": f"to{n}"} for n in range(250)))
    )
    assert done.stdout.startswith("250 resources loaded"), done.output
    assert server.get("/Patient/to249")["name"] == [{"family": "Durand"}]


def test_load_to_a_server_separates_invalid_from_valid_resources(server: Running) -> None:
    bad = {"resourceType": "Patient", "id": "bad", "colour": "green"}
    done = fhirstore(
        "load", "--to", server.base, written("a.ndjson", {**PATIENT, "id": "g1"}, bad, {**PATIENT, "id": "g2"})
    )
    assert done.exit_code == 1
    assert [r["resource"] for r in refusals()] == ["Patient/bad"]
    assert [server.get(f"/Patient/{id}")["id"] for id in ("g1", "g2")] == ["g1", "g2"]


def test_load_posts_transactions_unchanged(server: Running) -> None:
    entry = {"resource": PATIENT, "request": {"method": "PUT", "url": "Patient/p1"}}
    wrong = {"resource": {**PATIENT, "x": 1}, "request": {"method": "PUT", "url": "Patient/p1"}}
    file = written("a.ndjson", bundle("transaction", entry), bundle("transaction", wrong))
    done = fhirstore("load", "--to", server.base, file)
    assert "1 resources loaded" in done.stdout
    assert [r["where"] for r in refusals()] == ["a.ndjson:2"]


def test_load_reports_an_unreachable_server() -> None:
    done = fhirstore("load", "--to", f"http://127.0.0.1:{free_port()}/fhir", written("a.ndjson", PATIENT))
    assert done.exit_code == 2
    assert "cannot connect to the server" in done.stderr


def test_serve_exits_with_status_0_on_sigterm() -> None:
    with served("serve", "--workers", "1") as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(40) == 0


def test_serve_refuses_connections_while_it_stops() -> None:
    """Every connection is refused, or its request is answered; none hangs."""
    with served("serve", "--workers", "1") as running:
        port = int(running.base.split(":")[2].split("/")[0])
        request = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), 20) as kept:
            kept.sendall(request)
            assert kept.recv(12) == b"HTTP/1.1 200"
            running.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionRefusedError):
                _ask_until_refused(port, request)
        assert running.process.wait(40) == 0


def _ask_until_refused(port: int, request: bytes) -> NoReturn:
    while True:
        with socket.create_connection(("127.0.0.1", port), 20) as client:
            client.sendall(request)
            assert client.recv(12) == b"HTTP/1.1 200"


def test_serve_rejects_an_address_in_use(server: Running) -> None:
    port = server.base.split(":")[2].split("/")[0]
    done = fhirstore("serve", "--port", port)
    assert done.exit_code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--tls-cert", "missing.pem"), "tls_cert: missing.pem: cannot read the file: No such file or directory."),
        (("--tls-key", "server.key"), "tls_key: tls_cert is not set. TLS needs both."),
    ],
    ids=["no certificate", "a key alone"],
)
def test_serve_rejects_unusable_tls_settings(options: tuple[str, ...], expected: str) -> None:
    done = fhirstore("serve", *options)
    assert done.exit_code == 2
    assert done.stderr.strip().endswith(expected)
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_demo_data_of_a_plugin_is_stored_served_and_announced(server: Running) -> None:
    pytest.importorskip("fhirstore_sas")
    with served("demo", "--serve", "--plugin", "sas", "--workers", "1") as running:
        assert running.get("/Slot?_summary=count")["total"] > 0
        running.process.terminate()
        assert running.process.stdout is not None
        assert f"curl '{running.base}/Slot?" in running.process.stdout.read()


def test_profiles_are_compiled_before_the_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(store=f"sqlite:///{tmp_path}/s.db", plugins=(str(JSON_PLUGIN),))
    server = build(settings)
    compiled: list[ProfileRequirement] = []
    monkeypatch.setattr(server.validator, "prepare", compiled.extend)
    compile_profiles(server)
    assert [(d.profile.rpartition("/")[2], d.text_only_severity) for d in compiled] == [("identified-patient", "error")]
    compiled.clear()
    compile_profiles(replace(server, settings=replace(settings, validation="off")))
    assert compiled == []
    server.store.close()
