"""The folder of installed packages: NAME#VERSION/package/*.json, as in the package caches of other FHIR tools.

A package appears whole or not at all: it is written into a folder with another name, made durable, and renamed.
Beside its files stands a record of what was installed, with the hash of each file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from fhirstore.definitions.model import Package
from fhirstore.definitions.packages import DEFAULT, Limits, read_package
from fhirstore.definitions.versions import version_key
from fhirstore.errors import StartupError

RECORD = "installed.json"
FILES = "package"
_NEW, _OLD = ".new-", ".old-"


class Record(msgspec.Struct, frozen=True):
    """What was installed. source: the file, folder or URL that it came from. files: name -> SHA-256 in hex.
    missing: dependencies ("name@version") that were accepted as missing."""

    source: str
    files: dict[str, str]
    missing: tuple[str, ...] = ()


_records = msgspec.json.Decoder(Record)


@dataclass(frozen=True, slots=True)
class Entry:
    """One installed package. record: None where another tool put it there."""

    name: str
    version: str
    path: Path
    record: Record | None

    @property
    def label(self) -> str:
        return f"{self.name}#{self.version}"


class PackageFolder:
    """The packages installed at `path`, which need not exist yet."""

    def __init__(self, path: str | Path, limits: Limits = DEFAULT):
        self.path, self._limits = Path(path), limits

    def entries(self) -> list[Entry]:
        """What is installed, by name, of each name the latest version first. Raises StartupError: a broken record."""
        with self._reading():
            found = [self._entry(p) for p in self._folders()]
        found.sort(key=lambda e: version_key(e.version), reverse=True)
        return sorted(found, key=lambda e: e.name)

    def read(self, entry: Entry) -> Package:
        """Raises StartupError, which names the file, when it is no longer a package."""
        try:
            with self._reading():
                package = read_package(entry.path, self._limits)
        except StartupError as e:
            raise StartupError(
                f"{e}. The installed package {entry.name} {entry.version} is damaged: remove it (fhirstore package "
                f"remove {entry.name}@{entry.version} --force) and add it again."
            ) from e
        if package.label != entry.label:
            raise StartupError(f"{entry.path}: this folder holds {package.name} {package.version}")
        return package

    def put(self, package: Package, files: Mapping[str, bytes], record: Record) -> None:
        """Makes these files the installed package of its name and version, in place of what may be there."""
        new = self.path / f"{_NEW}{uuid.uuid4().hex}"
        target = self.path / package.label
        try:
            (new / FILES).mkdir(parents=True)
            for name, data in files.items():
                _write(new / FILES / name, data)
            _write(new / RECORD, msgspec.json.encode(record))
            _sync(new / FILES)
            _sync(new)
            with self._swapping():
                if target.exists():
                    old = self.path / f"{_OLD}{package.label}"
                    target.rename(old)
                    new.rename(target)
                    shutil.rmtree(old)
                else:
                    new.rename(target)
                _sync(self.path)
        except OSError as e:
            shutil.rmtree(new, ignore_errors=True)
            raise StartupError(f"{target}: the package cannot be written: {e.strerror or e}") from e

    def remove(self, entry: Entry) -> None:
        gone = self.path / f"{_NEW}{uuid.uuid4().hex}"
        try:
            with self._swapping():
                entry.path.rename(gone)
                _sync(self.path)
            shutil.rmtree(gone)
        except OSError as e:
            raise StartupError(f"{entry.path}: the package cannot be removed: {e.strerror or e}") from e

    def faults(self, entry: Entry) -> Iterator[str]:
        """What is no longer as it was installed, a line for each file."""
        if entry.record is None:
            yield f"{entry.path}: there is no {RECORD}: it was not installed by fhirstore package add"
            return
        present = {p.name for p in (entry.path / FILES).iterdir()} if (entry.path / FILES).is_dir() else set()
        for name, wanted in entry.record.files.items():
            file = entry.path / FILES / name
            if name not in present:
                yield f"{file}: the file is missing"
            elif not file.is_file() or sha256(file.read_bytes()).hexdigest() != wanted:
                yield f"{file}: the file has changed since it was installed"
        yield from (f"{entry.path / FILES / n}: the file was added" for n in sorted(present - set(entry.record.files)))

    @contextmanager
    def changing(self) -> Iterator[None]:
        """One process at a time changes the folder; what one that was killed left behind is put in order."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / ".changing").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._tidy()
                yield
        except OSError as e:
            raise StartupError(f"{self.path}: packages cannot be put there: {e.strerror or e}") from e

    def _tidy(self) -> None:
        with self._swapping():
            for old in self.path.glob(f"{_OLD}*"):
                target = self.path / old.name.removeprefix(_OLD)
                if not target.exists():
                    old.rename(target)
            for rest in (*self.path.glob(f"{_NEW}*"), *self.path.glob(f"{_OLD}*")):
                shutil.rmtree(rest, ignore_errors=True)

    def _folders(self) -> list[Path]:
        try:
            return [p for p in self.path.iterdir() if "#" in p.name and not p.name.startswith(".") and p.is_dir()]
        except FileNotFoundError:
            return []
        except OSError as e:
            raise StartupError(f"{self.path}: the folder of packages cannot be read: {e.strerror}") from e

    def _entry(self, path: Path) -> Entry:
        name, _, version = path.name.partition("#")
        file = path / RECORD
        try:
            record = _records.decode(file.read_bytes()) if file.exists() else None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as e:
            raise StartupError(
                f"{file}: the record of the installation cannot be read: {e}; delete {path} and add the package again."
            ) from e
        return Entry(name, version, path, record)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Waits while folders are renamed. A folder that cannot be written to is never changed, and needs no lock."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                fcntl.flock(stack.enter_context((self.path / ".swapping").open("rb")), fcntl.LOCK_SH)
            yield

    @contextmanager
    def _swapping(self) -> Iterator[None]:
        with (self.path / ".swapping").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of each file, in hex."""
    return {name: sha256(data).hexdigest() for name, data in sorted(files.items())}


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
