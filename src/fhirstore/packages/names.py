"""Names and versions of packages, safe in paths and URLs: https://hl7.org/fhir/packages.html."""

from __future__ import annotations

import re
from typing import NamedTuple

from fhirstore.errors import StartupError

CORE = ("hl7.fhir.r4.core", "hl7.fhir.core")
CORE_VERSION = "4.0.1"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}")
_VERSION_PATTERN = re.compile(r"[A-Za-z0-9*][A-Za-z0-9.+_*-]{0,63}")


class PackageRequest(NamedTuple):
    """The name and version of a package; the version may be a wildcard."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


def parse_package_request(text: str, default: str = "latest") -> PackageRequest:
    """Parses name@version or a name alone. Raises StartupError if it is malformed."""
    name, _, version = text.partition("@")
    check_name(name, text)
    if not _VERSION_PATTERN.fullmatch(version or default):
        raise StartupError(f"{text[:200]!a}: {version[:100]!a} is not a version of a package, such as 1.2.0 or 1.2.x.")
    return PackageRequest(name, version or default)


def check_name(name: str, where: str) -> None:
    if not _NAME.fullmatch(name):
        raise StartupError(f"{where[:200]}: name: {name[:200]!a} is not a name of a package, such as hl7.fhir.us.core.")


def check_version(version: str, where: str) -> None:
    if not _VERSION.fullmatch(version):
        raise StartupError(f"{where[:200]}: version: {version[:100]!a} is not a version of a package, such as 1.2.0.")
