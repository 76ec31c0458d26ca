"""What is read of certificates and revocation lists, against the library that made them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from support.authority import DAY, NOW, Authority

from fhirstore.tls.der import pem_blocks, read_certificate, read_revocation_list


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "authority")


def test_a_certificate_tells_its_names_its_issuer_and_its_time(authority: Authority) -> None:
    pair = authority.issue("sas.example", "318751275100020", "Équipe", begin=NOW - DAY, end=NOW + DAY)
    read = read_certificate(pair.der)
    assert read.names == (
        ("2.5.4.6", "FR"),
        ("2.5.4.10", "Essais, s. a."),
        ("2.5.4.11", "318751275100020"),
        ("2.5.4.11", "Équipe"),
        ("2.5.4.3", "sas.example"),
    )
    assert (read.not_before, read.not_after) == (NOW - DAY, NOW + DAY)
    assert read.issuer == authority.name.public_bytes()
    assert read.subject == pair.certificate.subject.public_bytes()


@pytest.mark.parametrize(
    ("kind", "text"),
    [(_ASN1Type.BMPString, "Équipe"), (_ASN1Type.T61String, "equipe"), (_ASN1Type.UniversalString, "é"),
     (_ASN1Type.PrintableString, "equipe"), (_ASN1Type.IA5String, "equipe")],
    ids=lambda value: getattr(value, "name", None),
)  # fmt: skip
def test_all_kinds_of_strings_are_read(authority: Authority, kind: _ASN1Type, text: str) -> None:
    der = _with_subject(authority, x509.NameAttribute(NameOID.COMMON_NAME, text, _type=kind))
    assert read_certificate(der).names == (("2.5.4.3", text),)


def test_a_time_after_2049_is_read(authority: Authority) -> None:
    end = NOW.replace(year=2055, month=1, day=1)
    assert read_certificate(authority.issue("far", end=end).der).not_after == end


def test_a_revocation_list_tells_its_issuer_and_when_the_next_is_due(authority: Authority) -> None:
    file = authority.revocations(authority.issue("gone"), until=NOW + DAY, encoding=Encoding.DER)
    read = read_revocation_list(Path(file).read_bytes())
    assert (read.issuer, read.next_update) == (authority.name.public_bytes(), NOW + DAY)


def test_pem_blocks_are_told_apart(authority: Authority) -> None:
    pair, file = authority.issue("one"), authority.revocations()
    data = Path(file).read_bytes() + b"remark\n" + pair.pem.encode() + Path(pair.key).read_bytes()
    assert pem_blocks(data, "CERTIFICATE") == [pair.der]
    assert len(pem_blocks(data, "X509 CRL")) == 1


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_what_is_damaged_is_refused_or_read_never_more(damaged: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(damaged) - 1))
    value = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    for der in (damaged[:at] + bytes([value]) + damaged[at + 1 :], damaged[:cut], damaged[cut:]):
        for read in (read_certificate, read_revocation_list):
            try:
                read(der)  # type: ignore[operator]
            except ValueError:
                continue


@pytest.fixture(scope="module")
def damaged(authority: Authority) -> bytes:
    return authority.issue("sas.example", "UNIT").der


@pytest.mark.parametrize(
    "der",
    [b"", b"\x30", b"\x30\x80\x00\x00", b"\x02\x01\x01", b"\x30\x03\x30\x01\x02", b"\x30\x00", b"\x00" * 70000],
    ids=["nothing", "no length", "indefinite", "a number", "cut off", "empty", "too long"],
)
def test_what_is_no_certificate_is_refused(der: bytes) -> None:
    with pytest.raises(ValueError, match="it "):
        read_certificate(der)
    with pytest.raises(ValueError, match="it "):
        read_revocation_list(der)


def test_a_list_is_no_certificate_and_the_other_way_round(authority: Authority) -> None:
    with pytest.raises(ValueError, match=r"no X\.509 certificate"):
        read_certificate(Path(authority.revocations(encoding=Encoding.DER)).read_bytes())
    with pytest.raises(ValueError, match=r"no X\.509 revocation list"):
        read_revocation_list(authority.issue("one").der)


def _with_subject(authority: Authority, *attributes: x509.NameAttribute[str]) -> bytes:
    builder = x509.CertificateBuilder().subject_name(x509.Name(attributes)).issuer_name(authority.name)
    builder = builder.public_key(authority.key.public_key()).serial_number(1)
    builder = builder.not_valid_before(NOW - DAY).not_valid_after(NOW + DAY)
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.DER)
