"""Reads FHIR packages from .tgz files and folders: https://hl7.org/fhir/R4/packages.html.

A package has `package/package.json` and JSON files with one conformance resource each. In a folder, the directory
`package` may be missing. Subfolders (examples, openapi…) and `.index.json` are ignored. Nothing is unpacked to disk,
and files that exceed the limits are refused before they are read."""

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
"""The ratio is checked from this number of bytes: the smallest archives consist mostly of headers."""

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
class PackageLimits:
    """The limits of one package.

    files: number of files. file_bytes: size of one file. bytes: size of all files. ratio: unpacked bytes per byte of
    the archive."""

    files: int
    file_bytes: int
    bytes: int
    ratio: int

    @classmethod
    def of(cls, settings: Settings) -> PackageLimits:
        return cls(
            settings.max_package_files,
            settings.max_package_file_bytes,
            settings.max_package_bytes,
            settings.max_package_ratio,
        )


DEFAULT = PackageLimits.of(Settings())


def read_package(path: str | Path, limits: PackageLimits = DEFAULT, *, lenient: bool = False) -> Package:
    """The package at `path`. Decimals in its resources are Decimal objects.

    Raises StartupError, which names the file and the key, if it is missing or malformed. lenient: see
    `parse_package`."""
    return parse_package(str(path), read_files(path, limits), lenient=lenient)


def read_files(path: str | Path, limits: PackageLimits = DEFAULT, name: str | None = None) -> dict[str, bytes]:
    """The JSON files of the package at `path`, by name. name: of the package in messages, by default its path.

    Raises StartupError if it is not a package or exceeds a limit."""
    path = Path(path)
    source = str(path) if name is None else name
    files: dict[str, bytes] = {}
    for file, data in _folder(path, source, limits) if path.is_dir() else _archive(path, source, limits):
        if file in files:
            raise StartupError(f"{source}: {file}: the archive contains this file twice")
        files[file] = data
    if MANIFEST not in files:
        raise StartupError(f"{source}: not a FHIR package: {MANIFEST} is missing")
    return files


def parse_package(source: str, files: Mapping[str, bytes], *, lenient: bool = False) -> Package:
    """The package with these files. source: for messages.

    lenient: leaves out malformed resources, and all but one definition of a canonical, and lists them in `problems`;
    otherwise, and for a malformed manifest, StartupError is raised. It names the file and the key."""
    at = f"{source}: {MANIFEST}"
    manifest = _object(files[MANIFEST], at)
    name, version = (_text(manifest, key, at) for key in ("name", "version"))
    dependencies = manifest.get("dependencies", {})
    if not isinstance(dependencies, dict) or not all(isinstance(v, str) for v in dependencies.values()):
        raise StartupError(f"{at}: dependencies: an object with versions by package name is required")
    _check_fhir_version(manifest, at)
    contents = _Contents(source)
    digest = sha256()
    for file, data in sorted(files.items()):
        digest.update(f"{file}\0{len(data)}\0".encode() + data)
        if file != MANIFEST:
            contents.add(file, data)
    if contents.problems and not lenient:
        raise StartupError(next(iter(contents.problems.values())))
    return Package(
        name,
        version,
        dependencies,
        tuple(contents.resources.values()),
        contents.where,
        digest.hexdigest(),
        contents.problems,
    )


class _Contents:
    """The conformance resources in the files of a package. The first file that defines a canonical applies.

    problems: file -> why it is left out."""

    def __init__(self, source: str):
        self._source = source
        self.resources: dict[tuple[str, str, str | None], dict[str, Any]] = {}
        self.where: dict[tuple[str, str], str] = {}
        self.problems: dict[str, str] = {}
        self._places: dict[tuple[str, str, str | None], str] = {}

    def add(self, file: str, data: bytes) -> None:
        place = f"{self._source}: {file}"
        try:
            resource = _object(data, place)
            kind = resource.get("resourceType")
            if kind not in CONFORMANCE_TYPES:
                return
            key = (kind, _text(resource, "id" if kind in WITHOUT_URL else "url", place))
            version = _text(resource, "version", place) if resource.get("version") is not None else None
        except StartupError as e:
            self.problems[file] = str(e)
            return
        identity = (*key, version)
        if identity in self.resources:
            self.problems[file] = f"{place}: url: {key[1]} is already defined by {self._places[identity]}"
            return
        self.where.setdefault(key, place)
        self._places[identity] = place
        self.resources[identity] = resource


def _check_fhir_version(manifest: Mapping[str, Any], at: str) -> None:
    """Raises StartupError if the package states FHIR versions other than R4."""
    for key in ("fhirVersions", "fhir-version-list"):
        versions = manifest.get(key)
        if versions is None:
            continue
        if not isinstance(versions, list) or not all(isinstance(v, str) for v in versions):
            raise StartupError(f"{at}: {key}: an array of FHIR versions is required, found {versions!r}")
        if not any(v == FHIR_VERSION or v.startswith(FHIR_VERSION + ".") for v in versions):
            raise StartupError(
                f"{at}: {key}: the package is for FHIR {', '.join(versions) or 'no version'}; "
                "fhirstore supports R4 (4.0.1). Use the edition of the package for R4."
            )


# --- sources ----------------------------------------------------------------------------------------


def _folder(folder: Path, source: str, limits: PackageLimits) -> Iterator[tuple[str, bytes]]:
    root = folder / "package" if (folder / "package" / MANIFEST).is_file() else folder
    top = root.resolve()
    sizes = _SizeCheck(source, limits)
    for path in sorted(root.glob("*.json")):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.resolve().parent != top:
            raise StartupError(f"{path}: the link points outside of the package")
        sizes.add_file(path.name, path.stat().st_size)
        try:
            yield path.name, path.read_bytes()
        except OSError as e:
            raise StartupError(f"{path}: the file cannot be read: {e.strerror}") from e


def _archive(path: Path, source: str, limits: PackageLimits) -> Iterator[tuple[str, bytes]]:
    try:
        sizes = _SizeCheck(source, limits, os.path.getsize(path))
        # Reads the archive as a stream and stops at the first file that exceeds the limits.
        with (
            gzip.open(path) as stream,
            tarfile.open(fileobj=_CountedStream(stream, sizes), mode="r|", errors="strict") as archive,  # type: ignore[call-overload]
        ):
            for member in archive:
                _check_member(source, member)
                sizes.add_file(member.name, member.size)
                folder, _, name = member.name.removeprefix("./").rpartition("/")
                if folder != "package" or not name.endswith(".json") or name.startswith(".") or not member.isfile():
                    continue
                file = archive.extractfile(member)
                if file is not None:
                    yield name, file.read()
            while padding := stream.read(1024 * 1024):  # read to the end, so that gzip verifies the checksum
                sizes.add_unpacked(len(padding))
    except FileNotFoundError:
        raise StartupError(f"{source}: no such file or folder") from None
    except UnicodeDecodeError as e:
        raise StartupError(f"{source}: a file name in the archive is not UTF-8: {e}") from e
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, OSError) as e:
        raise StartupError(f"{source}: not a readable .tgz archive: {e}") from e


def _check_member(source: str, member: tarfile.TarInfo) -> None:
    """Raises StartupError for unsafe names, links, devices and sparse files, which no package needs."""
    name = member.name
    if name.startswith("/") or ".." in name.split("/"):
        raise StartupError(f"{source}: {name!a}: the name points outside of the package")
    if not name.isprintable() or "\\" in name:
        raise StartupError(f"{source}: {name!a}: the file name is not allowed")
    if member.islnk() or member.issym():
        raise StartupError(f"{source}: {name}: links are not allowed in a package (target: {member.linkname!a})")
    if member.size < 0 or member.issparse() or not (member.isfile() or member.isdir()):
        raise StartupError(f"{source}: {name}: neither a file nor a folder")


class _SizeCheck:
    """Counts the files and bytes of a package and enforces the limits.

    archive: size of the archive, None = a folder."""

    def __init__(self, source: str, limits: PackageLimits, archive: int | None = None):
        self._source, self._limits = source, limits
        self._files = self._bytes = self._unpacked = 0
        self._max_unpacked = None if archive is None else max(archive * limits.ratio, RATIO_FROM)

    def add_file(self, name: str, size: int) -> None:
        limits = self._limits
        self._files += 1
        self._bytes += size
        if size > limits.file_bytes:
            raise StartupError(
                f"{self._source}: {name}: the file has {size} bytes; the limit is {limits.file_bytes} "
                "(setting max_package_file_bytes)"
            )
        if self._files > limits.files or self._bytes > limits.bytes:
            limit = f"{limits.files} files and {limits.bytes} bytes"
            raise StartupError(
                f"{self._source}: {name}: the package exceeds the limit of {limit} "
                "(settings max_package_files, max_package_bytes)"
            )
        self._check_ratio(self._bytes)

    def add_unpacked(self, size: int) -> None:
        """Counts unpacked bytes, including headers."""
        self._unpacked += size
        if self._unpacked > 2 * self._limits.bytes + RATIO_FROM:
            raise StartupError(
                f"{self._source}: the unpacked archive far exceeds the limit of {self._limits.bytes} bytes "
                "(setting max_package_bytes)"
            )
        self._check_ratio(self._unpacked)

    def _check_ratio(self, size: int) -> None:
        if self._max_unpacked is not None and size > self._max_unpacked:
            raise StartupError(
                f"{self._source}: the unpacked archive has more than {self._limits.ratio} times its size "
                "(setting max_package_ratio)"
            )


class _CountedStream:
    """The unpacked stream. It counts every byte, because tarfile reads headers of any size."""

    def __init__(self, stream: gzip.GzipFile | BinaryIO, sizes: _SizeCheck):
        self._stream, self._sizes = stream, sizes

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._sizes.add_unpacked(len(data))
        return data


# --- contents ---------------------------------------------------------------------------------------


def _object(data: bytes, place: str) -> dict[str, Any]:
    try:
        value = _decoder.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as e:
        raise StartupError(f"{place}: not valid JSON: {e}") from e
    if not isinstance(value, dict):
        raise StartupError(f"{place}: a JSON object is required")
    return value


def _text(value: dict[str, Any], key: str, place: str) -> str:
    text = value.get(key)
    if not isinstance(text, str) or not text:
        raise StartupError(f"{place}: {key}: a string is required, found {text!r}")
    return text
