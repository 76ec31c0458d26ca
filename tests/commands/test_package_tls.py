"""`fhirstore package add` from a registry that requires a client certificate."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.authority import Authority, Pair
from support.cli import fhirstore
from support.packages import profile, tgz
from support.registry import Registry, running


@pytest.fixture
def authority() -> Authority:
    return Authority(Path(), "authority")


@pytest.fixture
def client(authority: Authority) -> Pair:
    return authority.issue("editor.example")


@pytest.fixture
def registry(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = authority.issue("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.chain, server.key)
    context.load_verify_locations(cafile=str(authority.file))
    context.verify_mode = ssl.CERT_REQUIRED
    with running(context) as made:
        made.offer("test.guide", "1.0.0", Path(tgz("guide.tgz", "test.guide", "1.0.0", profile())))
        monkeypatch.setenv("FHIRSTORE_PACKAGE_REGISTRY", made.url)
        yield made


def test_a_package_is_downloaded_with_a_certificate(registry: Registry, authority: Authority, client: Pair) -> None:
    files = ("--cert", client.chain, "--key", client.key, "--cacert", str(authority.file))
    done = fhirstore("package", "add", *files, "test.guide@1.0.0")
    assert done.exit_code == 0, done.output
    assert "test.guide 1.0.0 installed" in done.stdout


def test_without_a_certificate_nothing_is_installed(registry: Registry, authority: Authority) -> None:
    done = fhirstore("package", "add", "--cacert", str(authority.file), "test.guide@1.0.0")
    assert (done.exit_code, "cannot be reached" in done.stderr) == (2, True), done.output
    assert not Path("fhirstore-packages/test.guide").exists()


def test_a_registry_of_an_unknown_authority_is_refused(registry: Registry, client: Pair) -> None:
    done = fhirstore("package", "add", "--cert", client.chain, "--key", client.key, "test.guide@1.0.0")
    assert (done.exit_code, "CERTIFICATE_VERIFY_FAILED" in done.stderr) == (2, True), done.output


def test_options_without_a_registry_are_refused(client: Pair) -> None:
    done = fhirstore("package", "add", "--cert", client.chain, "guide.tgz")
    assert (done.exit_code, "--cert: requires the setting package_registry" in done.stderr) == (2, True)
