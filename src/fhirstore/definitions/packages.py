"""https://hl7.org/fhir/R4/packages.html: reads a FHIR package, a .tgz or a folder.

A package is `package/package.json` beside JSON files, one conformance resource each. In a folder the files may also
stand beside a bare `package.json`. Subfolders (examples, openapi…) and `.index.json` are not read, nothing is
unpacked to disk, and files beyond the limits below are refused before they are read.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from fhirstore.definitions.model import Package
from fhirstore.errors import StartupError

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_PACKAGE_BYTES = 512 * 1024 * 1024
MAX_FILES = 50_000

MANIFEST = "package.json"
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


def read_package(path: str | Path) -> Package:
    """The package at `path`. Fractions in its resources are Decimal.

    Raises StartupError, which names the file and the key, when there is none or it is defective."""
    source = Path(path)
    files = dict(_folder(source) if source.is_dir() else _archive(source))
    if MANIFEST not in files:
        raise StartupError(f"{source}: this is no FHIR package: it has no {MANIFEST}")
    manifest = _object(files.pop(MANIFEST), f"{source}: {MANIFEST}")
    name, version = (_text(manifest, key, f"{source}: {MANIFEST}") for key in ("name", "version"))
    dependencies = manifest.get("dependencies", {})
    if not isinstance(dependencies, dict) or not all(isinstance(v, str) for v in dependencies.values()):
        raise StartupError(f"{source}: {MANIFEST}: dependencies: an object of package name to version is expected")
    resources: list[dict[str, Any]] = []
    where: dict[tuple[str, str], str] = {}
    for file, data in sorted(files.items()):
        place = f"{source}: {file}"
        resource = _object(data, place)
        kind = resource.get("resourceType")
        if kind not in CONFORMANCE_TYPES:
            continue
        key = (kind, _text(resource, "id" if kind in WITHOUT_URL else "url", place))
        if key in where and _same_version(resource, resources, key):
            raise StartupError(f"{place}: url: {key[1]} is already defined by {where[key]}")
        where.setdefault(key, place)
        resources.append(resource)
    return Package(name, version, dependencies, tuple(resources), where)


def _same_version(resource: dict[str, Any], others: list[dict[str, Any]], key: tuple[str, str]) -> bool:
    return any(
        (o["resourceType"], o.get("url") or o.get("id")) == key and o.get("version") == resource.get("version")
        for o in others
    )


# --- sources ----------------------------------------------------------------------------------------


def _folder(source: Path) -> Iterator[tuple[str, bytes]]:
    root = source / "package" if (source / "package" / MANIFEST).is_file() else source
    top = root.resolve()
    budget = _Budget(source)
    for path in sorted(root.glob("*.json")):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.resolve().parent != top:
            raise StartupError(f"{path}: a link that leads out of the package is not followed")
        budget.spend(path.name, path.stat().st_size)
        yield path.name, path.read_bytes()


def _archive(source: Path) -> Iterator[tuple[str, bytes]]:
    budget = _Budget(source)
    try:
        # A stream: it is read once from front to back, and stops at the first file that exceeds the budget.
        with gzip.open(source) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.name.startswith("/") or ".." in member.name.split("/"):
                    raise StartupError(f"{source}: {member.name}: this name leads out of the package")
                budget.spend(member.name, member.size)
                folder, _, name = member.name.removeprefix("./").rpartition("/")
                if folder != "package" or not name.endswith(".json") or name.startswith(".") or not member.isfile():
                    continue
                file = archive.extractfile(member)
                if file is not None:
                    yield name, file.read()
            while padding := stream.read(1024 * 1024):  # to the end, where the checksum stands
                budget.spend("what follows the archive", len(padding))
    except FileNotFoundError:
        raise StartupError(f"{source}: there is no such file or folder") from None
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, OSError) as e:
        raise StartupError(f"{source}: this is no readable .tgz archive: {e}") from e


class _Budget:
    """Counts files and bytes of one package and refuses absurd ones."""

    def __init__(self, source: Path):
        self._source = source
        self._files = 0
        self._bytes = 0

    def spend(self, name: str, size: int) -> None:
        self._files += 1
        self._bytes += size
        if size > MAX_FILE_BYTES:
            raise StartupError(f"{self._source}: {name}: {size} bytes; at most {MAX_FILE_BYTES} are read of one file")
        if self._files > MAX_FILES or self._bytes > MAX_PACKAGE_BYTES:
            limit = f"{MAX_FILES} files or {MAX_PACKAGE_BYTES} bytes"
            raise StartupError(f"{self._source}: {name}: the package is larger than {limit}")


# --- contents ---------------------------------------------------------------------------------------


def _object(data: bytes, place: str) -> dict[str, Any]:
    try:
        value = _decoder.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise StartupError(f"{place}: this is no valid JSON: {e}") from e
    if not isinstance(value, dict):
        raise StartupError(f"{place}: a JSON object is expected")
    return value


def _text(value: dict[str, Any], key: str, place: str) -> str:
    text = value.get(key)
    if not isinstance(text, str) or not text:
        raise StartupError(f"{place}: {key}: a text is expected, found {text!r}")
    return text
