"""https://hl7.org/fhir/R4/packages.html: reads a FHIR package, a .tgz or a folder.

A package is `package/package.json` beside JSON files, one conformance resource each. In a folder the files may also
stand beside a bare `package.json`. Subfolders (examples, openapi…) and `.index.json` are not read, nothing is
unpacked to disk here, and what exceeds the limits is refused before it is read.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from fhirstore.definitions.model import Package
from fhirstore.errors import StartupError
from fhirstore.settings import Settings

MANIFEST = "package.json"
FHIR_VERSION = "4.0"
RATIO_FROM = 1024 * 1024
"""Bytes from which on the ratio counts: the smallest archives are mostly headers."""

CONFORMANCE_TYPES = frozenset(
    {
        "CapabilityStatement",
        "CodeSystem",
        "CompartmentDefinition",
        "ConceptMap",
        "GraphDefinition",
        "ImplementationGuide",
        "MessageDefinition",
        "NamingSystem",
        "OperationDefinition",
        "SearchParameter",
        "StructureDefinition",
        "StructureMap",
        "TerminologyCapabilities",
        "ValueSet",
    }
)
WITHOUT_URL = frozenset({"NamingSystem"})

_decoder = msgspec.json.Decoder(float_hook=Decimal)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one package: files, bytes of one and of all of them, bytes unpacked for each byte of an archive."""

    files: int
    file_bytes: int
    bytes: int
    ratio: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        return cls(
            settings.max_package_files,
            settings.max_package_file_bytes,
            settings.max_package_bytes,
            settings.max_package_ratio,
        )


DEFAULT = Limits.of(Settings())


def read_package(path: str | Path, limits: Limits = DEFAULT) -> Package:
    """The package at `path`. Fractions in its resources are Decimal.

    Raises StartupError, which names the file and the key, when there is none or it is defective."""
    return parse_package(str(path), read_files(path, limits))


def read_files(path: str | Path, limits: Limits = DEFAULT, name: str | None = None) -> dict[str, bytes]:
    """The files of the package at `path` that count, by name. name: what it is called in messages, if not by its path.

    Raises StartupError when it is no package or exceeds a limit."""
    path = Path(path)
    source = str(path) if name is None else name
    files: dict[str, bytes] = {}
    for file, data in _folder(path, source, limits) if path.is_dir() else _archive(path, source, limits):
        if file in files:
            raise StartupError(f"{source}: {file}: the archive holds this file twice")
        files[file] = data
    if MANIFEST not in files:
        raise StartupError(f"{source}: this is no FHIR package: it has no {MANIFEST}")
    return files


def parse_package(source: str, files: Mapping[str, bytes]) -> Package:
    """The package of these files. source: for messages. Raises StartupError, which names the file and the key."""
    at = f"{source}: {MANIFEST}"
    manifest = _object(files[MANIFEST], at)
    name, version = (_text(manifest, key, at) for key in ("name", "version"))
    dependencies = manifest.get("dependencies", {})
    if not isinstance(dependencies, dict) or not all(isinstance(v, str) for v in dependencies.values()):
        raise StartupError(f"{at}: dependencies: an object of package name to version is expected")
    _check_fhir_version(manifest, at)
    resources: list[dict[str, Any]] = []
    where: dict[tuple[str, str], str] = {}
    known: dict[tuple[str, str, Any], str] = {}
    digest = sha256()
    for file, data in sorted(files.items()):
        digest.update(f"{file}\0{len(data)}\0".encode() + data)
        if file == MANIFEST:
            continue
        place = f"{source}: {file}"
        resource = _object(data, place)
        kind = resource.get("resourceType")
        if kind not in CONFORMANCE_TYPES:
            continue
        key = (kind, _text(resource, "id" if kind in WITHOUT_URL else "url", place))
        version_of = resource.get("version")
        if version_of is not None:
            _text(resource, "version", place)
        other = known.setdefault((*key, version_of), place)
        if other != place:
            raise StartupError(f"{place}: url: {key[1]} is already defined by {other}")
        where.setdefault(key, place)
        resources.append(resource)
    return Package(name, version, dependencies, tuple(resources), where, digest.hexdigest())


def _check_fhir_version(manifest: Mapping[str, Any], at: str) -> None:
    """Raises StartupError unless the package is for R4, or does not say for what it is."""
    for key in ("fhirVersions", "fhir-version-list"):
        versions = manifest.get(key)
        if versions is None:
            continue
        if not isinstance(versions, list) or not all(isinstance(v, str) for v in versions):
            raise StartupError(f"{at}: {key}: a list of FHIR versions is expected, found {versions!r}")
        if not any(v == FHIR_VERSION or v.startswith(FHIR_VERSION + ".") for v in versions):
            raise StartupError(
                f"{at}: {key}: the package is for FHIR {', '.join(versions) or 'no version'}; "
                "fhirstore serves R4 (4.0.1). Take the edition of the package for R4."
            )


# --- sources ----------------------------------------------------------------------------------------


def _folder(folder: Path, source: str, limits: Limits) -> Iterator[tuple[str, bytes]]:
    root = folder / "package" if (folder / "package" / MANIFEST).is_file() else folder
    top = root.resolve()
    budget = _Budget(source, limits)
    for path in sorted(root.glob("*.json")):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.resolve().parent != top:
            raise StartupError(f"{path}: a link that leads out of the package is not followed")
        budget.spend(path.name, path.stat().st_size)
        try:
            yield path.name, path.read_bytes()
        except OSError as e:
            raise StartupError(f"{path}: the file cannot be read: {e.strerror}") from e


def _archive(path: Path, source: str, limits: Limits) -> Iterator[tuple[str, bytes]]:
    try:
        budget = _Budget(source, limits, os.path.getsize(path))
        # A stream: it is read once from front to back, and stops at the first file that exceeds the budget.
        with (
            gzip.open(path) as stream,
            tarfile.open(fileobj=_Counted(stream, budget), mode="r|", errors="strict") as archive,  # type: ignore[call-overload]
        ):
            for member in archive:
                _check_member(source, member)
                budget.spend(member.name, member.size)
                folder, _, name = member.name.removeprefix("./").rpartition("/")
                if folder != "package" or not name.endswith(".json") or name.startswith(".") or not member.isfile():
                    continue
                file = archive.extractfile(member)
                if file is not None:
                    yield name, file.read()
            while padding := stream.read(1024 * 1024):  # to the end, where the checksum stands
                budget.unpack(len(padding))
    except FileNotFoundError:
        raise StartupError(f"{source}: there is no such file or folder") from None
    except UnicodeDecodeError as e:
        raise StartupError(f"{source}: a file's name in the archive is no UTF-8: {e}") from e
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, OSError) as e:
        raise StartupError(f"{source}: this is no readable .tgz archive: {e}") from e


def _check_member(source: str, member: tarfile.TarInfo) -> None:
    """Raises StartupError for what no package needs: names that lead out or hide, links, devices, sparse files."""
    name = member.name
    if name.startswith("/") or ".." in name.split("/"):
        raise StartupError(f"{source}: {name!a}: this name leads out of the package")
    if not name.isprintable() or "\\" in name:
        raise StartupError(f"{source}: {name!a}: this is no name for a file of a package")
    if member.islnk() or member.issym():
        raise StartupError(f"{source}: {name}: a link, to {member.linkname!a}; a package holds files only")
    if member.size < 0 or member.issparse() or not (member.isfile() or member.isdir()):
        raise StartupError(f"{source}: {name}: neither a file nor a folder; a package holds files only")


class _Budget:
    """Counts files and bytes of one package and refuses absurd ones. archive: bytes of the archive, None = a folder."""

    def __init__(self, source: str, limits: Limits, archive: int | None = None):
        self._source, self._limits = source, limits
        self._files = self._bytes = self._unpacked = 0
        self._most = None if archive is None else max(archive * limits.ratio, RATIO_FROM)

    def spend(self, name: str, size: int) -> None:
        limits = self._limits
        self._files += 1
        self._bytes += size
        if size > limits.file_bytes:
            raise StartupError(
                f"{self._source}: {name}: {size} bytes; at most {limits.file_bytes} are read of one file "
                "(setting max_package_file_bytes)"
            )
        if self._files > limits.files or self._bytes > limits.bytes:
            limit = f"{limits.files} files or {limits.bytes} bytes"
            raise StartupError(
                f"{self._source}: {name}: the package is larger than {limit} "
                "(settings max_package_files, max_package_bytes)"
            )
        self._check_ratio(self._bytes)

    def unpack(self, size: int) -> None:
        """Counts what comes out of the archive, headers too."""
        self._unpacked += size
        if self._unpacked > 2 * self._limits.bytes + RATIO_FROM:
            raise StartupError(
                f"{self._source}: the archive unpacks to far more than {self._limits.bytes} bytes "
                "(setting max_package_bytes)"
            )
        self._check_ratio(self._unpacked)

    def _check_ratio(self, size: int) -> None:
        if self._most is not None and size > self._most:
            raise StartupError(
                f"{self._source}: the archive unpacks to more than {self._limits.ratio} times its size "
                "(setting max_package_ratio)"
            )


class _Counted:
    """The unpacked stream; tarfile reads headers of any size, so each byte is counted as it comes."""

    def __init__(self, stream: gzip.GzipFile | BinaryIO, budget: _Budget):
        self._stream, self._budget = stream, budget

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._budget.unpack(len(data))
        return data


# --- contents ---------------------------------------------------------------------------------------


def _object(data: bytes, place: str) -> dict[str, Any]:
    try:
        value = _decoder.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as e:
        raise StartupError(f"{place}: this is no valid JSON: {e}") from e
    if not isinstance(value, dict):
        raise StartupError(f"{place}: a JSON object is expected")
    return value


def _text(value: dict[str, Any], key: str, place: str) -> str:
    text = value.get(key)
    if not isinstance(text, str) or not text:
        raise StartupError(f"{place}: {key}: a text is expected, found {text!r}")
    return text
