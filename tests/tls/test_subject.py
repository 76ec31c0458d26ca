"""Subjects of certificates, in every format that proxies send."""

from __future__ import annotations

import contextlib
from base64 import b64encode
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from support.authority import DAY, NOW, Authority, Pair

from fhirstore.tls.subject import Subject, distinguished_name, from_der, from_header, same_name

SAS = Subject(
    "sas.example",
    frozenset(
        (
            "318751275100020",
            "Équipe, nuit",
        )
    ),
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Authority(tmp_path_factory.mktemp("ca"), "authority").issue(SAS.common_name, *SAS.units)


def as_header(text: str) -> str:
    """UTF-8 as a WSGI server passes it."""
    return text.encode().decode("latin-1")


def forms(pair: Pair) -> dict[str, str]:
    base64 = b64encode(pair.der).decode()
    return {
        "RFC 9440": f":{base64}:",
        "nginx, escaped": quote(pair.pem, safe=""),
        "PEM, spaces for line breaks": pair.pem.replace("\n", " "),
        "Traefik": base64,
        "RFC 4514": as_header(pair.certificate.subject.rfc4514_string()),
    }


@pytest.mark.parametrize("form", ["RFC 9440", "nginx, escaped", "PEM, spaces for line breaks", "Traefik",
                                  "RFC 4514"])  # fmt: skip
def test_every_format_gives_the_same_subject(pair: Pair, form: str) -> None:
    assert from_header(forms(pair)[form]).subject == SAS


def test_a_certificate_is_valid_only_in_its_period(pair: Pair) -> None:
    identity = from_der(pair.der)
    assert [identity.is_valid(NOW + n * DAY) for n in (-2, 0, 2)] == [False, True, False]
    assert from_header("CN=a").is_valid(NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CN=a,OU=b", Subject("a", frozenset({"b"}))),
        (
            "OU=b + OU=c ,CN = a ",
            Subject(
                "a",
                frozenset(
                    (
                        "b",
                        "c",
                    )
                ),
            ),
        ),
        ("cn=a;ou=b", Subject("a", frozenset({"b"}))),
        ("2.5.4.3=a,OID.2.5.4.11=b", Subject("a", frozenset({"b"}))),
        (r"CN=a\, b\+c,OU=\20x\20", Subject("a, b+c", frozenset({" x "}))),
        (r"CN=\C3\89quipe", Subject("Équipe")),
        (as_header("CN=Équipe"), Subject("Équipe")),
        ('CN="a, b",OU=c', Subject("a, b", frozenset({"c"}))),
        ("CN=#0c0161,OU=#13026263", Subject("a", frozenset({"bc"}))),
        ("CN=a=b,C=FR", Subject("a=b")),
        ("CN=a\\ ,OU=b", Subject("a ", frozenset({"b"}))),
        ("emailAddress=a@b.example,serialNumber=1,CN=a,C=FRA", Subject("a")),
        ("1.2.840.113549.1.9.1=#0402ffff,CN=a", Subject("a")),
        pytest.param("CN=" + "a" * 70, Subject("a" * 70), id="a long name"),
        pytest.param("CN=" + " a" * 3000 + " " * 1000, Subject("a" + " a" * 2999), id="spaces"),
    ],
)
def test_distinguished_names(text: str, expected: Subject) -> None:
    assert from_header(text).subject == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/C=FR/CN=a", "slashes"),
        ("CN", "not a distinguished name"),
        ("CN=a,", "not a distinguished name"),
        ("CN=a,,OU=b", "not a distinguished name"),
        ('CN="a" b', "not a distinguished name"),
        ("CN=#0c0161 b", "not a distinguished name"),
        ("CN= #0c0161 b", "not a distinguished name"),
        ("CN=#0c0261", "is not text"),
        ("CN=#0c01ff", "is not text"),
        ("CN=#0402ffff", "is not text"),
        ("-----BEGIN CERTIFICATE-----", r"not an X\.509 certificate"),
        (":MAA=:", r"not an X\.509 certificate"),
        ("OU=b", "0 Common Names"),
        ("CN=sas.example,OU=1,CN=mallory,OU=2", "2 Common Names"),
        ("OU=1, CN=mallory", "several values"),
        ("OU=1\nCN=mallory", "several values"),
        (r"CN=\FF", "not UTF-8"),
        ("-----BEGIN NOTHING-----", "no PEM certificate"),
        (":not base64:", "not base64"),
        ("::", "not an X"),
    ],
)
def test_an_unreadable_header_is_rejected(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        from_header(text)


@pytest.mark.parametrize("join", [",", ", ", "\n"])
@pytest.mark.parametrize("second", ["RFC 9440", "nginx, escaped", "PEM, spaces for line breaks", "Traefik", "RFC 4514"])
@pytest.mark.parametrize("first", ["RFC 9440", "nginx, escaped", "PEM, spaces for line breaks", "Traefik", "RFC 4514"])
def test_two_values_are_rejected_in_every_format(pair: Pair, first: str, second: str, join: str) -> None:
    """A proxy that appends to the header of the client, instead of replacing it."""
    with pytest.raises(ValueError, match=r"several|not |Common Names"):
        from_header(forms(pair)[first] + join + forms(pair)[second])


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_a_damaged_header_is_read_or_rejected_with_value_error(pair: Pair, data: st.DataObject) -> None:
    header = data.draw(st.sampled_from(list(forms(pair).values())))
    begin, end = sorted((data.draw(st.integers(0, len(header))), data.draw(st.integers(0, len(header)))))
    latin = st.text(st.characters(max_codepoint=255) | st.sampled_from('\\",+;=#% :'), max_size=8)
    between = data.draw(latin)
    for damaged in (
        header[:begin] + between + header[end:],
        header[begin:end],
        between,
        f":{between}:",
        f"CN={between}",
    ):
        with contextlib.suppress(ValueError):
            assert from_header(damaged).subject.common_name is not None


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4))
def test_names_in_the_format_of_the_library_are_read(values: list[str]) -> None:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, v) for v in values if len(v.encode()) <= 64]
    written = x509.Name(attributes).rfc4514_string()
    read = distinguished_name(as_header(written)) if attributes else []
    assert [v for _, v in read] == [a.value for a in reversed(attributes)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("SAS.Example", "sas.example", True), (" a  b ", "a b", True), ("ab", "a b", False), ("É", "é", True)],
)
def test_names_are_compared_without_regard_to_case_and_spaces(one: str, other: str, same: bool) -> None:
    assert same_name(one, other) is same
