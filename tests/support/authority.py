"""Certificate authorities for tests of TLS: they issue certificates and revoke them."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = datetime.now(UTC).replace(microsecond=0)
"""The validity of certificates is relative to the time of the run."""
DAY = timedelta(days=1)


def name(common: str | None, units: Sequence[str] = ()) -> x509.Name:
    parts = [(NameOID.COUNTRY_NAME, "FR"), (NameOID.ORGANIZATION_NAME, "Essais, s. a.")]
    parts += [(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
    parts += [(NameOID.COMMON_NAME, common)] if common is not None else []
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])


@dataclass(frozen=True)
class Pair:
    """A certificate with its key, as PEM files. chain: the file with the certificate and those of its issuers."""

    certificate: x509.Certificate
    cert: str
    key: str
    chain: str

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


class Authority:
    """folder: for its files. parent: the issuer of its certificate, None if it is self-signed."""

    def __init__(self, folder: Path, common: str, parent: Authority | None = None):
        self.folder, self.parent, self.name = folder, parent, name(common)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = (
            _builder(self.name, (parent or self).name, self.key)
            .not_valid_before(NOW - 30 * DAY)
            .not_valid_after(NOW + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign((parent or self).key, hashes.SHA256())
        )
        self.file = folder / f"{common}.pem"
        self.file.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def issue(
        self,
        common: str | None,
        *units: str,
        begin: datetime = NOW - DAY,
        end: datetime = NOW + DAY,
        hosts: Sequence[str] = (),
    ) -> Pair:
        """Issues a certificate for a client, or for a server at 127.0.0.1 with further host names."""
        names = [x509.IPAddress(ip_address("127.0.0.1")), *map(x509.DNSName, hosts)]
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(name(common, units), self.name, key)
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        base = self.folder / f"{certificate.serial_number:x}"
        pem = certificate.public_bytes(Encoding.PEM)
        between, issuer = b"", self
        while issuer.parent is not None:
            between += issuer.certificate.public_bytes(Encoding.PEM)
            issuer = issuer.parent
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for suffix, content in ((".pem", pem), (".key", secret), (".chain", pem + between)):
            base.with_suffix(suffix).write_bytes(content)
        return Pair(certificate, f"{base}.pem", f"{base}.key", f"{base}.chain")

    def revocations(
        self, *pairs: Pair, until: datetime = NOW + DAY, encoding: Encoding = Encoding.PEM, file: Path | None = None
    ) -> str:
        """Writes a certificate revocation list and returns its path. until: the time of its next update."""
        begin = min(NOW, until) - DAY
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(begin).next_update(until)
        for pair in pairs:
            revoked = x509.RevokedCertificateBuilder().serial_number(pair.certificate.serial_number)
            builder = builder.add_revoked_certificate(revoked.revocation_date(begin).build())
        file = file or self.folder / f"{self.key.private_numbers().private_value:x}.crl"
        written = file.with_suffix(".new")
        written.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(encoding))
        written.replace(file)
        return str(file)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return builder.serial_number(x509.random_serial_number())


def client_context(
    authority: Authority, pair: Pair | None = None, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """The context of a client that trusts the authority and presents a certificate with its chain. version: the only
    version of TLS that it accepts, None for the defaults."""
    context = ssl.create_default_context(cafile=str(authority.file))
    if pair is not None:
        context.load_cert_chain(pair.chain, pair.key)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context
