"""Group 1 of the official test kit (0.3.0) over TLS, in both options, and its searches by a client with a certificate.

The server is the one that an editor runs: gunicorn with the settings of docs/sas/editor.md, no proxy."""

from __future__ import annotations

import json
import socket
import ssl
import warnings
from collections.abc import Iterator

import pytest
from support.cli import fhirstore
from support.process import Process
from support.sas_kit import ACCEPT, CPTS, PS, Option, agenda, setup
from support.tls import TlsProcess, World, ask

OPTIONS = pytest.mark.parametrize("option", [PS, CPTS], ids=lambda o: o.name)
IDS = "schedule.actor:Practitioner.identifier=urn:oid:1.2.250.1.71.4.2.1%7C"
FIXED = {
    "PS": "Slot?_include=Slot:schedule&_include:iterate=Schedule:actor&start=ge2024-01-01T00:00:00.000%2B00:00"
    f"&start=le2024-01-03T00:00:00.000%2B00:00&{IDS}810101215225&status=free",
    "CPTS": "Slot?_include=Slot:schedule&_include:iterate=Schedule:actor&_include=Slot:service-type-reference"
    "&_include:iterate=HealthcareService:organization&start=ge2024-06-12T16:20:00.000&start=le2024-06-15T16:20:00.000"
    f"&{IDS}810002909371,urn:oid:1.2.250.1.71.4.2.1%7C810001288385&status=free",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def server(request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("kit")
    store = () if request.param == "sqlite" else ("--store", request.getfixturevalue("replica").url(folder))
    options = ("--plugin", "sas", "--capability", "sas-editor", *store)
    process = TlsProcess.of(folder, world.settings(), *options, context=world.context("good"))
    try:
        for resource in agenda():
            status, _, answer = process.call("PUT", f"{resource['resourceType']}/{resource['id']}", resource)
            assert status == 201, answer
        yield process
    finally:
        process.stop()


@OPTIONS
def test_1_1_01_a_valid_certificate_is_let_in(world: World, server: Process, option: Option) -> None:
    reply = ask(server.port, world.context("good"), f"/fhir/{FIXED[option.name]}", ACCEPT)
    assert (reply.status, reply.body["total"]) == (200, 0)


@OPTIONS
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("wrong name", id="1.1.02 wrong CN"),
        pytest.param("wrong unit", id="1.1.03 wrong OU"),
        pytest.param("revoked", id="1.1.04 revoked"),
        pytest.param("none", id="1.1.05 none"),
    ],
)
def test_1_1_02_to_05_all_others_get_an_alert_or_4xx(world: World, server: Process, option: Option, kind: str) -> None:
    reply = ask(server.port, world.context(kind), f"/fhir/{FIXED[option.name]}", ACCEPT)
    assert reply.is_alert or reply.status in (401, 403), reply
    assert reply.is_alert is (kind == "revoked")


def test_1_2_01_versions_of_tls_below_1_2_are_refused_and_newer_ones_taken(world: World, server: Process) -> None:
    """Without client certificate, the server's verified, as the kit does it."""
    spoken = {version.name: _speaks(world, server.port, version) for version in _versions()}
    assert spoken == {"SSLv3": False, "TLSv1": False, "TLSv1_1": False, "TLSv1_2": True, "TLSv1_3": True}
    assert _first_byte_of_answer(server.port, SSL_2_HELLO) in (b"", ALERT)
    assert _first_byte_of_answer(server.port, _hello(0x0303)) == HANDSHAKE  # so the hello of SSL 3 is well made


def _versions() -> list[ssl.TLSVersion]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        v = ssl.TLSVersion
        return [v.SSLv3, v.TLSv1, v.TLSv1_1, v.TLSv1_2, v.TLSv1_3]


ALERT, HANDSHAKE = b"\x15", b"\x16"
SSL_2_HELLO = bytes.fromhex("802e0100020015000000100100800200800300800400800500800600400700c0") + b"\x01" * 16


def _hello(version: int) -> bytes:
    """The first message of a client that speaks at most 0x0300 (SSL 3) or 0x0303 (TLS 1.2)."""
    number = version.to_bytes(2, "big")
    ciphers, extensions = bytes.fromhex("c02bc009000a"), bytes.fromhex("000d000400020403" + "000a000400020017")
    body = number + bytes(32) + b"\0" + len(ciphers).to_bytes(2, "big") + ciphers + b"\1\0"
    body += len(extensions).to_bytes(2, "big") + extensions
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return HANDSHAKE + b"\3\0" + len(message).to_bytes(2, "big") + message


def _speaks(world: World, port: int, version: ssl.TLSVersion) -> bool:
    """Whether the server answers a client that speaks this version only."""
    if version.name == "SSLv3":  # no TLS library speaks it any more
        return _first_byte_of_answer(port, _hello(0x0300)) == HANDSHAKE
    context = world.context("none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    return ask(port, context, "/fhir").status is not None


def _first_byte_of_answer(port: int, hello: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(hello)
        return client.recv(1)


@OPTIONS
def test_4_setup_over_tls_finds_the_slots(server: Process, option: Option) -> None:
    found = setup(server, option, 1)
    assert found.status == 200
    assert found.bundle["link"][0]["url"].startswith("https://")
    assert len(found.all("Slot")) >= 4


def test_fhirstore_sas_check_has_nothing_to_say_about_tls(world: World, server: Process) -> None:
    good = world.clients["good"]
    assert good is not None
    url = f"https://127.0.0.1:{server.port}/fhir"
    files = ("--cert", good.chain, "--key", good.key, "--cacert", str(world.root.file))
    done = fhirstore("sas", "check", url, *files, "--rpps", PS.rpps[0], "--format", "json", "--seconds", "1000")
    report = json.loads(done.stdout)
    assert [f["rule"] for f in report["findings"] if f["rule"].startswith("tls-")] == []
    assert {"tls-version", "tls-certificate"} <= set(report["passed"])
