"""Certificates that openssl makes: an authority, a server on this machine, a client."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_CA = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign", "subjectKeyIdentifier=hash")
_LEAF = "basicConstraints=CA:FALSE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"


@dataclass(frozen=True)
class Certificates:
    """PEM files in a folder."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        """Skips the test if openssl is not installed."""
        if shutil.which("openssl") is None:
            pytest.skip("no openssl here, which makes the certificates")
        made = cls(folder)
        more = [part for extension in _CA for part in ("-addext", extension)]
        made._openssl("req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA", *more)
        made._leaf(
            "server", "/CN=localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
        )
        made._leaf("client", "/OU=urn:test/CN=editor.example", "extendedKeyUsage=clientAuth\n")
        return made

    def path(self, name: str) -> str:
        """ca.pem, server.pem, server.key, client.pem, client.key."""
        return str(self.folder / name)

    def rename_server(self, name: str) -> None:
        """Replaces the certificate of the server by one for this name only."""
        self._leaf("server", f"/CN={name}", f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\n")

    def _leaf(self, name: str, subject: str, extensions: str) -> None:
        (self.folder / f"{name}.ext").write_text(_LEAF + extensions)
        self._openssl("req", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "30", "-out", f"{name}.pem", "-extfile", f"{name}.ext",
        )  # fmt: skip

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)
