"""The registry of FHIR packages: https://hl7.org/fhir/packages.html#registry (that of npm, with two requests).

GET {registry}/{name} lists the versions of a package, each with the URL of its archive (dist.tarball) and its hash;
GET {registry}/{name}/{version} is the archive where no URL is given.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import httpx

from fhirstore.definitions.versions import is_wildcard, satisfies, version_key
from fhirstore.errors import StartupError
from fhirstore.packages.names import Wanted
from fhirstore.settings import Settings

_UNPUBLISHED = ("current", "dev")


@dataclass(frozen=True, slots=True)
class Offer:
    """One version in the registry. hash: (algorithm, hex digest) of the archive; None = the registry gives none."""

    name: str
    version: str
    url: str
    hash: tuple[str, str] | None


class PackageRegistry:
    """The registry at a base URL. Every method raises StartupError, which names the URL and what to do."""

    def __init__(self, url: str, settings: Settings):
        self._url, self._most = url.rstrip("/"), settings.max_package_bytes
        headers = {"User-Agent": "fhirstore", "Accept-Encoding": "identity"}
        timeout = settings.package_timeout_s
        self._client = httpx.Client(timeout=timeout, follow_redirects=True, headers=headers)

    def close(self) -> None:
        self._client.close()

    def find(self, wanted: Wanted) -> Offer:
        """The version wanted; of several that do, the latest."""
        if wanted.version in _UNPUBLISHED:
            raise StartupError(
                f"{wanted}: {wanted.version} is a build that no registry has; name a version, or a file of that build."
            )
        place = f"{self._url}/{quote(wanted.name, safe='')}"
        listed = self._list(place, wanted)
        versions = {v: d for v, d in listed.get("versions", {}).items() if isinstance(d, Mapping)}
        version = _choose(versions, listed.get("dist-tags"), wanted.version)
        if version is None:
            known = ", ".join(sorted(versions, key=version_key)) or "none"
            raise StartupError(f"{wanted}: {self._url} has no such version of {wanted.name}; it has {known}.")
        dist = versions[version].get("dist")
        dist = dist if isinstance(dist, Mapping) else {}
        tarball = dist.get("tarball")
        url = urljoin(place, tarball) if isinstance(tarball, str) and tarball else f"{place}/{quote(version, safe='')}"
        return Offer(wanted.name, version, url, _hash(dist))

    def fetch(self, offer: Offer, target: Path) -> None:
        """Writes the archive of an offer into a file."""
        digest = hashlib.new(offer.hash[0]) if offer.hash else None
        size = 0
        with self._get(offer.url) as answer, target.open("wb") as out:
            for part in answer.iter_raw(1 << 16):  # a .tgz that is declared as gzip-encoded stays one
                size += len(part)
                if size > self._most:
                    raise StartupError(
                        f"{offer.url}: the archive is larger than {self._most} bytes (setting max_package_bytes)."
                    )
                if digest is not None:
                    digest.update(part)
                out.write(part)
        if offer.hash and digest is not None and digest.hexdigest() != offer.hash[1]:
            raise StartupError(
                f"{offer.url}: the archive is not the one that the registry lists: its {offer.hash[0]} is "
                f"{digest.hexdigest()}, not {offer.hash[1]}. Nothing was installed; try again later."
            )

    def _list(self, place: str, wanted: Wanted) -> Mapping[str, Any]:
        with self._get(place, wanted.name) as answer:
            data = bytearray()
            for part in answer.iter_bytes(1 << 16):
                data += part
                if len(data) > self._most:
                    raise StartupError(
                        f"{place}: the list of versions is larger than {self._most} bytes (setting max_package_bytes)."
                    )
        try:
            listed = httpx.Response(200, content=bytes(data)).json()
        except (ValueError, RecursionError) as e:
            raise StartupError(f"{place}: this is no list of the versions of a package: {e}") from e
        if not isinstance(listed, dict) or not isinstance(listed.get("versions"), dict):
            raise StartupError(f"{place}: this is no list of the versions of a package: it has no `versions`.")
        return listed

    @contextmanager
    def _get(self, url: str, package: str = "") -> Iterator[httpx.Response]:
        try:
            with self._client.stream("GET", url) as answer:
                if answer.status_code == 404 and package:
                    raise StartupError(f"{package}: {self._url} has no package of this name.")
                if answer.status_code != 200:
                    raise StartupError(f"{url}: the registry of packages answered {answer.status_code}.")
                yield answer
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            raise StartupError(
                f"{url}: the registry of packages cannot be reached: {e or type(e).__name__}; see the settings "
                "package_registry and package_timeout_s, or name the package's file."
            ) from e


def _choose(versions: Mapping[str, Any], tags: Any, wanted: str) -> str | None:
    if wanted == "latest" and isinstance(tags, Mapping) and tags.get("latest") in versions:
        return str(tags["latest"])
    if not is_wildcard(wanted):
        return wanted if wanted in versions else None
    return max((v for v in versions if satisfies(v, wanted)), key=version_key, default=None)


def _hash(dist: Mapping[str, Any]) -> tuple[str, str] | None:
    """integrity is `sha512-BASE64`, shasum a SHA-1 in hex."""
    integrity, shasum = dist.get("integrity"), dist.get("shasum")
    if isinstance(integrity, str) and integrity.startswith("sha512-"):
        try:
            return "sha512", base64.b64decode(integrity.split()[0].removeprefix("sha512-")).hex()
        except ValueError:
            return "sha512", integrity
    return ("sha1", shasum.lower()) if isinstance(shasum, str) and shasum else None
