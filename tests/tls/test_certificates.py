"""Reading certificates and revocation lists. Damaged ones raise ValueError and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from support.authority import DAY, NOW, Authority, Pair

from fhirstore.tls.certificates import read_certificate, read_certificates, read_revocation_lists
from fhirstore.tls.subject import from_der

READERS = [read_certificate, read_certificates, read_revocation_lists]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "authority")


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue("sas.example", "UNIT")


@pytest.fixture(scope="module")
def crl(authority: Authority, pair: Pair) -> bytes:
    """In DER."""
    file = authority.folder / "list.der"
    return Path(authority.revocations(pair, until=NOW + DAY, encoding=Encoding.DER, file=file)).read_bytes()


def test_a_certificate_has_names_issuer_and_validity(authority: Authority) -> None:
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
    assert (read.issuer, read.der) == (authority.name, pair.der)


@pytest.mark.parametrize(
    ("kind", "text"),
    [(_ASN1Type.BMPString, "Équipe"), (_ASN1Type.T61String, "equipe"), (_ASN1Type.UniversalString, "é"),
     (_ASN1Type.PrintableString, "equipe"), (_ASN1Type.IA5String, "equipe")],
    ids=lambda value: getattr(value, "name", None),
)  # fmt: skip
def test_all_string_types_are_read(authority: Authority, kind: _ASN1Type, text: str) -> None:
    der = _with_subject(authority, x509.NameAttribute(NameOID.COMMON_NAME, text, _type=kind))
    assert read_certificate(der).names == (("2.5.4.3", text),)


def test_names_of_unusual_length_are_read_without_a_warning(authority: Authority) -> None:
    unusual = [(NameOID.COUNTRY_NAME, "FRA"), (NameOID.COMMON_NAME, "a" * 70)]
    with pytest.warns(UserWarning, match="length must be"):
        attributes = [x509.NameAttribute(oid, text, _validate=False) for oid, text in unusual]
    der = _with_subject(authority, *attributes)
    assert read_certificate(der).names == (("2.5.4.6", "FRA"), ("2.5.4.3", "a" * 70))


def test_a_time_after_2049_is_read(authority: Authority) -> None:
    end = NOW.replace(year=2055, month=1, day=1)
    assert read_certificate(authority.issue("far", end=end).der).not_after == end


def test_a_revocation_list_has_issuer_and_next_update(authority: Authority, crl: bytes) -> None:
    (read,) = read_revocation_lists(crl)
    assert (read.issuer, read.next_update) == (authority.name, NOW + DAY)
    assert x509.load_pem_x509_crl(read.pem).public_bytes(Encoding.DER) == crl


def test_other_blocks_in_a_file_are_skipped(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    data = b"remark \xe9\n".join(
        Path(file).read_bytes()
        for file in (authority.revocations(), pair.cert, pair.key, authority.file, other.revocations())
    )
    assert [read.der for read in read_certificates(data)] == [
        pair.der,
        authority.certificate.public_bytes(Encoding.DER),
    ]
    assert [read.issuer for read in read_revocation_lists(data)] == [authority.name, other.name]
    assert read_certificates(Path(pair.key).read_bytes()) == []
    assert read_revocation_lists(pair.pem.encode()) == []


def test_a_truncated_list_or_certificate_is_not_skipped(authority: Authority, pair: Pair) -> None:
    lists = Path(authority.revocations()).read_bytes()
    with pytest.raises(ValueError, match=r"not an X\.509 revocation list"):
        read_revocation_lists(lists + lists[:-40])
    pem = pair.pem.encode()
    with pytest.raises(ValueError, match=r"not an X\.509 certificate"):
        read_certificates(pem + pem[:-40])


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_damaged_data_is_read_or_rejected_with_value_error(pair: Pair, crl: bytes, data: st.DataObject) -> None:
    read = data.draw(st.sampled_from(READERS))
    whole = data.draw(st.sampled_from([pair.der, crl, pair.pem.encode()]))
    at = data.draw(st.integers(0, len(whole) - 1))
    value = data.draw(st.binary(max_size=3))
    for damaged in (whole[:at] + value + whole[at + 1 :], whole[:at], whole[at:], value):
        _read_or_rejected(read, damaged)


def test_every_version_and_value_type_is_read_or_rejected(pair: Pair, crl: bytes) -> None:
    """The library raises other exceptions than ValueError for some of them."""
    places = [pair.der.index(b"\xa0\x03\x02\x01\x02") + 4, pair.der.index(b"\x0c\x0bsas.example")]
    for at in places:
        for value in range(256):
            _read_or_rejected(read_certificate, pair.der[:at] + bytes([value]) + pair.der[at + 1 :])
    places = [crl.index(b"\x02\x01\x01") + 2, crl.index(b"\x0c\x09authority")]
    for at in places:
        for value in range(256):
            _read_or_rejected(read_revocation_lists, crl[:at] + bytes([value]) + crl[at + 1 :])


@pytest.mark.parametrize(
    "der",
    [b"", b"\x30", b"\x30\x80\x00\x00", b"\x02\x01\x01", b"\x30\x03\x30\x01\x02", b"\x30\x00", b"\x00" * 70000],
    ids=["nothing", "no length", "indefinite", "a number", "cut off", "empty", "long"],
)
def test_data_that_is_not_a_certificate_is_rejected(der: bytes) -> None:
    with pytest.raises(ValueError, match=r"not an X\.509 certificate"):
        from_der(der)
    with pytest.raises(ValueError, match=r"not an X\.509 revocation list"):
        read_revocation_lists(der)


def test_a_list_is_not_a_certificate_nor_the_reverse(pair: Pair, crl: bytes) -> None:
    with pytest.raises(ValueError, match=r"not an X\.509 certificate"):
        read_certificate(crl)
    with pytest.raises(ValueError, match=r"not an X\.509 revocation list"):
        read_revocation_lists(pair.der)


def test_a_server_without_tls_does_not_load_the_library(tmp_path: Path) -> None:
    code = """
import sys
import fhirstore.commands.serve
from fhirstore.http.app import make_app
from fhirstore.server import build
from fhirstore.settings import Settings
make_app(build(Settings(store=sys.argv[1])))
print([m for m in sys.modules if m.startswith("cryptography")])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{tmp_path}/s.db"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def _read_or_rejected(read: Callable[[bytes], object], data: bytes) -> None:
    try:
        read(data)
    except ValueError as e:
        problem = str(e)
    else:
        return
    assert problem.startswith(("not an X.509 ", "a name or a date in it"))


def _with_subject(authority: Authority, *attributes: x509.NameAttribute[str]) -> bytes:
    builder = x509.CertificateBuilder().subject_name(x509.Name(attributes)).issuer_name(authority.name)
    builder = builder.public_key(authority.key.public_key()).serial_number(1)
    builder = builder.not_valid_before(NOW - DAY).not_valid_after(NOW + DAY)
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.DER)
