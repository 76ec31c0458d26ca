"""Unusable TLS files and settings give one clear line each; changed files are reloaded while the server runs."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from support.authority import DAY, NOW, Authority, Pair

from fhirstore.errors import StartupError
from fhirstore.settings import Settings
from fhirstore.tls import context
from fhirstore.tls.context import ReloadingTlsContext, check_settings, log_expired, make_context

Files = dict[str, str]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "authority")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Pair:
    return authority.issue("127.0.0.1")


@pytest.fixture
def make(authority: Authority, server: Pair, tmp_path: Path) -> Callable[..., Settings]:
    """Valid settings with changes. A value of bytes becomes a file."""

    def settings(**changes: object) -> Settings:
        values: dict[str, object] = {
            "tls_cert": server.chain,
            "tls_key": server.key,
            "tls_client": "required",
            "tls_client_ca": str(authority.file),
        }
        for name, value in changes.items():
            if isinstance(value, bytes):
                file = tmp_path / name
                file.write_bytes(value)
                value = (str(file),) if name == "tls_client_crl" else str(file)
            values[name] = value
        return Settings(**values)  # type: ignore[arg-type]

    return settings


def test_valid_settings_make_a_context(make: Callable[..., Settings], authority: Authority) -> None:
    made = make_context(make(tls_client_crl=(authority.revocations(),)))
    assert made.minimum_version is ssl.TLSVersion.TLSv1_2
    assert made.verify_mode is ssl.CERT_OPTIONAL
    assert made.verify_flags & ssl.VERIFY_CRL_CHECK_CHAIN


def test_without_client_settings_no_certificate_is_requested(make: Callable[..., Settings]) -> None:
    assert make_context(make(tls_client="off", tls_client_ca=None)).verify_mode is ssl.CERT_NONE


def test_with_the_list_of_one_authority_only_the_client_certificate_is_checked(
    make: Callable[..., Settings], tmp_path: Path
) -> None:
    root = Authority(tmp_path, "root")
    inner = Authority(tmp_path, "inner", root)
    both = root.file.read_bytes() + inner.file.read_bytes()
    flags = make_context(make(tls_client_ca=both, tls_client_crl=(inner.revocations(),))).verify_flags
    assert flags & ssl.VERIFY_CRL_CHECK_CHAIN == ssl.VERIFY_CRL_CHECK_LEAF


CERT, CRL = b"-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n", b"-----BEGIN X509 CRL-----"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"tls_cert": "missing.pem"}, "tls_cert: missing.pem: cannot read the file: No such file or directory."),
        ({"tls_cert": b"no certificate"}, "no certificate in PEM format"),
        ({"tls_cert": CERT % b"?"}, "cannot read a certificate in the file: not an X.509 certificate"),
        ({"tls_cert": CERT % b"MAA="}, "cannot read a certificate in the file: not an X.509 certificate"),
        ({"tls_key": "missing.key"}, "tls_key: missing.key: cannot read the file"),
        ({"tls_key": b"no key"}, "no private key in PEM format in the file."),
        ({"tls_key": None}, "no private key in PEM format in the file. Set tls_key."),
        ({"tls_key": b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"}, "cannot be used with"),
        ({"tls_client_ca": "missing.pem"}, "tls_client_ca: missing.pem: cannot read the file"),
        ({"tls_client_ca": b"nothing"}, "no certificate in PEM format"),
        ({"tls_client_crl": ("missing.crl",)}, "tls_client_crl: missing.crl: cannot read the file"),
        ({"tls_client_crl": b"nothing"}, "not a revocation list in PEM or DER format"),
        ({"tls_client_crl": CERT % b"MAA="}, "no revocation list (-----BEGIN X509 CRL-----)"),
        ({"tls_client_crl": CRL + b"\nMAA=\n-----END X509 CRL-----\n"}, "not a revocation list in PEM or DER format"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_an_unusable_file_is_named_in_one_line(
    make: Callable[..., Settings], changed: dict[str, object], expected: str
) -> None:
    with pytest.raises(StartupError) as error:
        make_context(make(**changed))
    assert expected in str(error.value)
    assert str(error.value).startswith(next(iter(changed)) if changed != {"tls_key": None} else "tls_cert")
    assert "\n" not in str(error.value)


def test_the_key_of_another_certificate_is_rejected(make: Callable[..., Settings], authority: Authority) -> None:
    other = authority.issue("other").key
    with pytest.raises(StartupError, match=r"tls_key: .* is not the key of the first certificate in "):
        make_context(make(tls_key=other))


def test_an_encrypted_key_is_rejected_without_a_password_prompt(make: Callable[..., Settings], server: Pair) -> None:
    key = load_pem_private_key(Path(server.key).read_bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    with pytest.raises(StartupError, match="the key is encrypted"):
        make_context(make(tls_key=encrypted))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"tls_key": "k"}, "tls_key: tls_cert is not set"),
        ({"tls_client_names": ("a",)}, "tls_client_names: has no effect while tls_client is off"),
        ({"tls_client_units": ("a",)}, "tls_client_units: has no effect"),
        ({"tls_client_ca": "a", "tls_cert": "c"}, "tls_client_ca: has no effect"),
        ({"client_cert_header": "X", "trusted_proxies": ("::1",)}, "client_cert_header: has no effect"),
        ({"client_cert_header": "X", "tls_client": "required"}, "client_cert_header: trusted_proxies is not set"),
        ({"tls_client": "required"}, "the server cannot identify clients"),
        ({"tls_client": "optional", "tls_cert": "c"}, "the server cannot identify clients"),
        ({"tls_client": "required", "tls_client_ca": "a"}, "has no effect without tls_cert"),
        ({"tls_client": "required", "tls_cert": "c", "tls_client_crl": ("x",)}, "has no effect without tls_client_ca"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "+".join(value),
)
def test_settings_without_effect_are_rejected(settings: dict[str, object], expected: str) -> None:
    with pytest.raises(StartupError) as error:
        check_settings(Settings(**settings))  # type: ignore[arg-type]
    assert expected in str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"tls_cert": "c", "tls_key": "k"},
        {"tls_client": "required", "tls_cert": "c", "tls_client_ca": "a"},
        {"tls_client": "optional", "client_cert_header": "X", "trusted_proxies": ("10.0.0.0/8",)},
    ],
    ids=["none", "tls", "clients", "proxy"],
)
def test_consistent_settings_are_accepted(settings: dict[str, object]) -> None:
    check_settings(Settings(**settings))  # type: ignore[arg-type]


def test_expired_files_are_logged(
    make: Callable[..., Settings], authority: Authority, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    old = authority.issue("127.0.0.1", end=NOW - DAY / 2)
    crl = authority.revocations(until=NOW - DAY / 2, file=tmp_path / "old.crl")
    log_expired(make(tls_cert=old.chain, tls_key=old.key, tls_client_crl=(crl,)))
    assert [m.partition(":")[0] for m in caplog.messages] == ["tls_cert", "tls_client_crl"]
    caplog.clear()
    log_expired(make(tls_client_crl=(authority.revocations(),)))
    assert caplog.messages == []


def test_changed_files_are_reloaded(
    make: Callable[..., Settings],
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(context, "CHECK_INTERVAL_S", 0.0)
    crl = tmp_path / "list.crl"
    contexts = ReloadingTlsContext(make(tls_client_crl=(authority.revocations(file=crl),)))
    first = contexts.current()
    assert contexts.current() is first
    authority.revocations(file=crl)
    second = contexts.current()
    assert second is not first
    caplog.set_level(logging.ERROR)
    crl.write_bytes(b"broken")
    assert contexts.current() is second
    assert contexts.current() is second
    assert len(caplog.messages) == 1
    assert "the previous ones stay in effect" in caplog.messages[0]
    os.unlink(crl)
    assert contexts.current() is second
    authority.revocations(file=crl)
    assert contexts.current() is not second
