"""`fhirstore load --to https://…` with client certificates, over real mutual TLS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from support.cli import PATIENT, fhirstore
from support.tls import TlsProcess, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsProcess]:
    folder = tmp_path_factory.mktemp("tls")
    process = TlsProcess.of(folder, world.settings(), context=world.context("good"))
    yield process
    process.stop()


def load(world: World, server: TlsProcess, id: str, kind: str, *more: str, authorities: bool = True) -> Result:
    """Loads a Patient with the certificate of a kind."""
    Path("p.ndjson").write_text(json.dumps(PATIENT | {"id": id}) + "\n")
    pair = world.clients[kind]
    files = () if pair is None else ("--cert", pair.chain, "--key", pair.key)
    ca = ("--cacert", str(world.root.file)) if authorities else ()
    return fhirstore("load", "--to", f"https://127.0.0.1:{server.port}/fhir", *files, *ca, *more, "p.ndjson")


def test_resources_are_loaded_with_a_certificate(world: World, server: TlsProcess) -> None:
    done = load(world, server, "good", "good")
    assert (done.exit_code, done.stdout.startswith("1 resources loaded")) == (0, True), done.output
    assert server.call("GET", "Patient/good")[0] == 200


def test_a_key_in_the_file_of_the_certificate_needs_no_option(world: World, server: TlsProcess) -> None:
    pair = world.clients["good"]
    assert pair is not None
    Path("both.pem").write_text(Path(pair.chain).read_text() + Path(pair.key).read_text())
    assert load(world, server, "both", "none", "--cert", "both.pem").exit_code == 0
    assert server.call("GET", "Patient/both")[0] == 200


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("none", "the server answered 401"),
        ("wrong name", "the server answered 403"),
        ("revoked", "refuses the TLS connection"),
        ("other authority", "refuses the TLS connection"),
    ],
)
def test_a_refused_client_ends_the_command_and_names_the_option(
    world: World, server: TlsProcess, kind: str, text: str
) -> None:
    done = load(world, server, "refused", kind)
    assert done.exit_code == 2, done.output
    assert text in done.stderr
    assert "--cert" in done.stderr
    assert not Path("load-errors.ndjson").exists()
    assert server.call("GET", "Patient/refused")[0] == 404


def test_a_server_of_an_unknown_authority_is_refused_and_names_the_option(world: World, server: TlsProcess) -> None:
    done = load(world, server, "unknown", "good", authorities=False)
    assert done.exit_code == 2
    assert "the certificate of the server is not accepted" in done.stderr
    assert "--cacert" in done.stderr
    assert server.call("GET", "Patient/unknown")[0] == 404


def test_a_server_of_another_name_is_refused(world: World, server: TlsProcess) -> None:
    Path("p.ndjson").write_text(json.dumps(PATIENT) + "\n")
    url = f"https://localhost:{server.port}/fhir"
    done = fhirstore("load", "--to", url, "--cacert", str(world.root.file), "p.ndjson")
    assert (done.exit_code, "Hostname mismatch" in done.stderr) == (2, True), done.output


def test_unusable_files_are_named_by_their_option(world: World) -> None:
    Path("p.ndjson").write_text(json.dumps(PATIENT) + "\n")
    Path("text").write_text("no PEM")
    good, other = world.clients["good"], world.clients["no unit"]
    assert good is not None
    assert other is not None
    for options, text in (
        (("--cert", "nowhere"), "--cert: nowhere: cannot read the file"),
        (("--cert", "text"), "--cert: text: no certificate in PEM format"),
        (("--cert", good.chain), f"--cert: {good.chain}: no private key in PEM format in the file. Set --key."),
        (("--cert", good.chain, "--key", "text"), "--key: text: no private key in PEM format"),
        (("--cert", good.chain, "--key", other.key), f"--key: {other.key} is not the key of the first certificate"),
        (("--key", good.key), "--key: --cert is not set"),
        (("--cacert", "nowhere"), "--cacert: nowhere: cannot read the file"),
        (("--cacert", "text"), "--cacert: text: no certificate in PEM format"),
    ):
        done = fhirstore("load", "--to", "https://127.0.0.1:1/fhir", *options, "p.ndjson")
        assert (done.exit_code, text in done.stderr) == (2, True), (options, done.stderr)


@pytest.mark.parametrize("option", ["--cert", "--key", "--cacert"])
def test_options_without_effect_are_refused(option: str) -> None:
    Path("p.ndjson").write_text(json.dumps(PATIENT) + "\n")
    done = fhirstore("load", "--to", "http://127.0.0.1:1/fhir", option, "p.ndjson", "p.ndjson")
    assert (done.exit_code, f"{option}: has no effect" in done.stderr) == (2, True)
    done = fhirstore("load", "--store", "sqlite:///t.db", option, "p.ndjson", "p.ndjson")
    assert (done.exit_code, f"{option}: requires --to" in done.stderr) == (2, True)
