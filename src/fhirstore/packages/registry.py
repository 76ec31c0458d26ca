"""A registry of FHIR packages, with the API of npm: https://hl7.org/fhir/packages.html#registry.

GET {registry}/{name} lists the versions of a package with the URL of the archive (dist.tarball) and its hash. GET
{registry}/{name}/{version} returns the archive if the list has no URL.
"""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import httpx

from fhirstore.definitions.versions import is_wildcard, satisfies, version_key
from fhirstore.errors import StartupError
from fhirstore.packages.names import PackageRequest
from fhirstore.settings import Settings

_UNPUBLISHED = ("current", "dev")


@dataclass(frozen=True, slots=True)
class PackageOffer:
    """A version in the registry. hash: (algorithm, hex digest) of the archive, None if the registry has none."""

    name: str
    version: str
    url: str
    hash: tuple[str, str] | None


class PackageRegistry:
    """The registry at a base URL. All methods raise StartupError, which names the URL.

    tls: the context of connections, None for the authorities of the system and no client certificate."""

    def __init__(self, url: str, settings: Settings, tls: ssl.SSLContext | None = None):
        self._url, self._max_bytes = url.rstrip("/"), settings.max_package_bytes
        headers = {"User-Agent": "fhirstore", "Accept-Encoding": "identity"}
        timeout = settings.package_timeout_s
        verify = True if tls is None else tls
        self._client = httpx.Client(verify=verify, timeout=timeout, follow_redirects=True, headers=headers)

    def close(self) -> None:
        self._client.close()

    def find(self, request: PackageRequest) -> PackageOffer:
        """The latest version that matches."""
        if request.version in _UNPUBLISHED:
            raise StartupError(
                f"{request}: the registry does not have the build {request.version}. Use a version, or a file of the "
                "build."
            )
        location = f"{self._url}/{quote(request.name, safe='')}"
        listed = self._list(location, request)
        versions = {v: d for v, d in listed.get("versions", {}).items() if isinstance(d, Mapping)}
        version = _choose(versions, listed.get("dist-tags"), request.version)
        if version is None:
            known = ", ".join(sorted(versions, key=version_key)) or "none"
            raise StartupError(
                f"{request}: {self._url} does not have this version of {request.name}. Available: {known}."
            )
        dist = versions[version].get("dist")
        dist = dist if isinstance(dist, Mapping) else {}
        tarball = dist.get("tarball")
        url = (
            urljoin(location, tarball)
            if isinstance(tarball, str) and tarball
            else f"{location}/{quote(version, safe='')}"
        )
        return PackageOffer(request.name, version, url, _hash(dist))

    def fetch(self, offer: PackageOffer, target: Path) -> None:
        """Downloads the archive of a version to a file."""
        digest = hashlib.new(offer.hash[0]) if offer.hash else None
        size = 0
        with self._get(offer.url) as response, target.open("wb") as out:
            for part in response.iter_raw(1 << 16):  # raw: a .tgz with Content-Encoding gzip must not be unpacked
                size += len(part)
                if size > self._max_bytes:
                    raise StartupError(
                        f"{offer.url}: the archive exceeds the limit of {self._max_bytes} bytes (setting "
                        "max_package_bytes)."
                    )
                if digest is not None:
                    digest.update(part)
                out.write(part)
        if offer.hash and digest is not None and digest.hexdigest() != offer.hash[1]:
            raise StartupError(
                f"{offer.url}: the {offer.hash[0]} of the archive is {digest.hexdigest()}, but the registry states "
                f"{offer.hash[1]}. Nothing was installed. Try again later."
            )

    def _list(self, location: str, request: PackageRequest) -> Mapping[str, Any]:
        with self._get(location, request.name) as response:
            data = bytearray()
            for part in response.iter_bytes(1 << 16):
                data += part
                if len(data) > self._max_bytes:
                    raise StartupError(
                        f"{location}: the list of versions exceeds the limit of {self._max_bytes} bytes (setting "
                        "max_package_bytes)."
                    )
        try:
            listed = httpx.Response(200, content=bytes(data)).json()
        except (ValueError, RecursionError) as e:
            raise StartupError(f"{location}: not a list of the versions of a package: {e}") from e
        if not isinstance(listed, dict) or not isinstance(listed.get("versions"), dict):
            raise StartupError(f"{location}: not a list of the versions of a package: `versions` is missing.")
        return listed

    @contextmanager
    def _get(self, url: str, package: str = "") -> Iterator[httpx.Response]:
        try:
            with self._client.stream("GET", url) as response:
                if response.status_code == 404 and package:
                    raise StartupError(f"{package}: {self._url} does not have this package.")
                if response.status_code != 200:
                    raise StartupError(f"{url}: the registry of packages answered {response.status_code}.")
                yield response
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            raise StartupError(
                f"{url}: the registry of packages cannot be reached: {e or type(e).__name__}. Check the settings "
                "package_registry and package_timeout_s, or use a file of the package."
            ) from e


def _choose(versions: Mapping[str, Any], tags: Any, pattern: str) -> str | None:
    if pattern == "latest" and isinstance(tags, Mapping) and tags.get("latest") in versions:
        return str(tags["latest"])
    if not is_wildcard(pattern):
        return pattern if pattern in versions else None
    return max((v for v in versions if satisfies(v, pattern)), key=version_key, default=None)


def _hash(dist: Mapping[str, Any]) -> tuple[str, str] | None:
    """integrity is `sha512-BASE64`, shasum a SHA-1 in hex."""
    integrity, shasum = dist.get("integrity"), dist.get("shasum")
    if isinstance(integrity, str) and integrity.startswith("sha512-"):
        try:
            return "sha512", base64.b64decode(integrity.split()[0].removeprefix("sha512-")).hex()
        except ValueError:
            return "sha512", integrity
    return ("sha1", shasum.lower()) if isinstance(shasum, str) and shasum else None
