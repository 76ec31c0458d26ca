"""`fhirstore sas check` as a command, over HTTP and TLS."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shutil import which
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from support.cli import fhirstore
from support.ports import free_port
from support.process import Process

from fhirstore.errors import StartupError
from fhirstore.plugins import client_context
from fhirstore_sas.check.client import EndpointClient, accepted_old_tls_versions
from fhirstore_sas.check.model import CheckReport
from fhirstore_sas.check.run import CheckPlan, run

needs_openssl = pytest.mark.skipif(which("openssl") is None, reason="openssl makes the certificates")
ALL = ("--ps", "--cpts", "--sos", "--rpps", "99900000001", "--rpps", "899900000004", "--siret", "99900000000112")
SLOW = ("--seconds", "1000")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base of our own demonstration, served by gunicorn."""
    folder = tmp_path_factory.mktemp("demo")
    done = fhirstore("demo", "--plugin", "sas", "--store", f"sqlite:///{folder / 'demo.db'}")
    assert done.exit_code == 0, done.output
    process = Process(folder / "demo.db", "--plugin", "sas", workers=1)
    yield f"http://127.0.0.1:{process.port}/fhir"
    process.stop()


def test_our_own_demonstration_has_no_finding(demo: str) -> None:
    done = fhirstore("sas", "check", demo, *ALL, "--accounts", *SLOW, "--format", "json")
    content = json.loads(done.stdout)
    assert (content["findings"], done.exit_code) == ([], 0)
    assert {s["rule"] for s in content["skipped"]} == {"tls-version", "tls-certificate"}


def test_findings_give_status_1_and_a_file(demo: str, tmp_path: Path) -> None:
    file = tmp_path / "r.html"
    done = fhirstore(
        "sas", "check", demo, "--rpps", "899999999998", *SLOW, "--lang", "fr", "--format", "html", "--output", str(file)
    )
    assert (done.exit_code, done.output) == (1, "")
    assert "Aucun créneau libre dans les trois prochains jours" in file.read_text("utf-8")


def test_without_identifiers_only_what_needs_none_is_checked(demo: str) -> None:
    done = fhirstore("--plugin", "sas", "sas", "check", demo, "--lang", "en")
    assert done.exit_code == 0
    assert "No finding." in done.stdout
    assert "- slot-comment: not checked" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "borne"),
    [
        ((), {"practitioner-once"}),
        (("--rpps", "899900000001"), {"practitioner-once"}),
        (("--siret", "399900000000112"), {"sos-schedule"}),
        (("--rpps", "899900000001", "--siret", "399900000000112"), {"practitioner-once", "sos-schedule"}),
        (("--rpps", "899900000003", "--cpts"), {"practitioner-once", "cpts-service"}),
    ],
)
def test_identifiers_tell_the_kind_of_search(demo: str, arguments: tuple[str, ...], borne: set[str]) -> None:
    done = fhirstore("sas", "check", demo, *arguments, *SLOW, "--format", "json", "--lang", "en")
    not_requested = {s["rule"] for s in json.loads(done.stdout)["skipped"] if "not requested" in s["reason"]}
    assert {"practitioner-once", "cpts-service", "sos-schedule"} - not_requested == borne
    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("nowhere",), "must begin with http:// or https://"),
        ((f"http://127.0.0.1:{free_port()}/fhir",), "does not answer"),
        (("https://127.0.0.1:1/fhir", "--key", __file__), "--key: --cert is not set. A client certificate needs both."),
        (("https://127.0.0.1:1/fhir", "--cert", __file__), f"--cert: {__file__}: no certificate in PEM format"),
        (("https://127.0.0.1:1/fhir", "--cacert", __file__), f"--cacert: {__file__}: no certificate in PEM format"),
        (("http://127.0.0.1:1/fhir", "--cacert", __file__), "--cacert: has no effect"),
        (("http://127.0.0.1:1/fhir", "--format", "pdf"), "pdf"),
    ],
)
def test_what_cannot_run_gives_status_2(arguments: tuple[str, ...], wanted: str) -> None:
    done = fhirstore("sas", "check", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert wanted in done.stderr


def test_a_slow_answer_is_found(demo: str) -> None:
    done = fhirstore("sas", "check", demo, "--rpps", "899900000001", "--seconds", "0", "--format", "json")
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["rule"], finding["kit"]) == ("answer-time", ["4.1.01"])


# --- TLS


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def made(folder: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 and its key."""
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    name = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *name, "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def statement(environ: dict[str, Any], start: Any) -> list[bytes]:
    start("200 OK", [("Content-Type", "application/fhir+json")])
    return [b'{"resourceType": "CapabilityStatement"}']


@contextmanager
def served(context: ssl.SSLContext) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, statement, handler_class=Quiet)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/fhir"
    server.shutdown()
    thread.join()
    server.server_close()


def server_context(cert: str, key: str, required: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(cert)
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


def checked(base: str, cert: str, key: str) -> CheckReport:
    with EndpointClient(base, client_context(cert, key, cert)) as client:
        return run(client, CheckPlan((), with_certificate=True, cacert=cert), lambda *_: [], datetime.now(UTC))


@needs_openssl
@pytest.mark.parametrize(("required", "found"), [(True, set()), (False, {"tls-certificate"})])
def test_a_client_without_certificate_must_be_refused(tmp_path: Path, required: bool, found: set[str]) -> None:
    cert, key = made(tmp_path)
    with served(server_context(cert, key, required)) as base:
        report = checked(base, cert, key)
    assert {f.rule.id for f in report.findings} == found
    assert "metadata" in {rule.id for rule in report.passed}


@needs_openssl
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_of_tls_are_found(tmp_path: Path) -> None:
    cert, key = made(tmp_path)
    context = server_context(cert, key, required=False)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with served(context) as base:
        assert accepted_old_tls_versions(base) == []
    context.minimum_version = ssl.TLSVersion.TLSv1
    with served(context) as base:
        assert accepted_old_tls_versions(base) == ["TLSv1", "TLSv1_1"]


@needs_openssl
def test_a_server_that_the_authorities_do_not_know_cannot_be_checked(tmp_path: Path) -> None:
    cert, key = made(tmp_path)
    with (
        served(server_context(cert, key, required=False)) as base,
        EndpointClient(base, client_context(None, None, None)) as client,
        pytest.raises(StartupError, match="does not answer"),
    ):
        run(client, CheckPlan(()), lambda *_: [], datetime.now(UTC))
