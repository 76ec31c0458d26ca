"""The folder of installed packages: NAME#VERSION/package/*.json, as in the package caches of other FHIR tools.

A package is installed atomically: it is written to a folder with a temporary name, synchronised to disk, and renamed. A
record beside its files contains the hash of each file.
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
from fhirstore.definitions.packages import DEFAULT, PackageLimits, read_package
from fhirstore.definitions.versions import version_key
from fhirstore.errors import StartupError

RECORD = "installed.json"
FILES = "package"
_NEW, _OLD = ".new-", ".old-"


class InstallationRecord(msgspec.Struct, frozen=True):
    """The record of an installation.

    source: the file, folder or URL. files: name -> SHA-256 in hex. missing: dependencies ("name@version") that were
    missing. faulty: names of the files that are left out."""

    source: str
    files: dict[str, str]
    missing: tuple[str, ...] = ()
    faulty: tuple[str, ...] = ()


_records = msgspec.json.Decoder(InstallationRecord)


@dataclass(frozen=True, slots=True)
class InstalledPackage:
    """One installed package. record: None if another tool installed it."""

    name: str
    version: str
    path: Path
    record: InstallationRecord | None

    @property
    def label(self) -> str:
        return f"{self.name}#{self.version}"


class PackageFolder:
    """The folder of installed packages at `path`, which need not exist."""

    def __init__(self, path: str | Path, limits: PackageLimits = DEFAULT):
        self.path, self._limits = Path(path), limits

    def entries(self) -> list[InstalledPackage]:
        """The installed packages by name, the latest version of each name first.

        Raises StartupError for a broken record."""
        with self._shared():
            found = [self._entry(p) for p in self._folders()]
        found.sort(key=lambda e: version_key(e.version), reverse=True)
        return sorted(found, key=lambda e: e.name)

    def read(self, entry: InstalledPackage) -> Package:
        """The package without the files that were faulty on installation.

        Raises StartupError, which names the file, if it is damaged. Of a package without record, which another tool
        installed, all faulty files are left out."""
        try:
            with self._shared():
                package = read_package(entry.path, self._limits, lenient=True)
            if entry.record is not None:
                damaged = [text for file, text in package.problems.items() if file not in entry.record.faulty]
                if damaged:
                    raise StartupError(damaged[0])
        except StartupError as e:
            raise StartupError(
                f"{e}. The installed package {entry.name} {entry.version} is damaged. Remove it with fhirstore package "
                f"remove {entry.name}@{entry.version} --force, and add it again."
            ) from e
        if package.label != entry.label:
            raise StartupError(f"{entry.path}: the folder contains {package.name} {package.version}")
        return package

    def put(self, package: Package, files: Mapping[str, bytes], record: InstallationRecord) -> None:
        """Installs a package with these files, and replaces an installed one of the same name and version."""
        new = self.path / f"{_NEW}{uuid.uuid4().hex}"
        target = self.path / package.label
        try:
            (new / FILES).mkdir(parents=True)
            for name, data in files.items():
                _write(new / FILES / name, data)
            _write(new / RECORD, msgspec.json.encode(record))
            _sync(new / FILES)
            _sync(new)
            with self._exclusive():
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

    def remove(self, entry: InstalledPackage) -> None:
        removed = self.path / f"{_NEW}{uuid.uuid4().hex}"
        try:
            with self._exclusive():
                entry.path.rename(removed)
                _sync(self.path)
            shutil.rmtree(removed)
        except OSError as e:
            raise StartupError(f"{entry.path}: the package cannot be removed: {e.strerror or e}") from e

    def faults(self, entry: InstalledPackage) -> Iterator[str]:
        """A line for each file that differs from the installation."""
        if entry.record is None:
            yield f"{entry.path}: {RECORD} is missing: another tool installed the package"
            return
        present = {p.name for p in (entry.path / FILES).iterdir()} if (entry.path / FILES).is_dir() else set()
        for name, expected in entry.record.files.items():
            file = entry.path / FILES / name
            if name not in present:
                yield f"{file}: the file is missing"
            elif not file.is_file() or sha256(file.read_bytes()).hexdigest() != expected:
                yield f"{file}: the file was changed after the installation"
        yield from (f"{entry.path / FILES / n}: the file was added" for n in sorted(present - set(entry.record.files)))

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Locks the folder for changes by this process, and completes or reverts those of a killed process."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / ".changing").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._recover()
                yield
        except OSError as e:
            raise StartupError(f"{self.path}: the folder of packages cannot be changed: {e.strerror or e}") from e

    def _recover(self) -> None:
        with self._exclusive():
            for old in self.path.glob(f"{_OLD}*"):
                target = self.path / old.name.removeprefix(_OLD)
                if not target.exists():
                    old.rename(target)
            for leftover in (*self.path.glob(f"{_NEW}*"), *self.path.glob(f"{_OLD}*")):
                shutil.rmtree(leftover, ignore_errors=True)

    def _folders(self) -> list[Path]:
        try:
            return [p for p in self.path.iterdir() if "#" in p.name and not p.name.startswith(".") and p.is_dir()]
        except FileNotFoundError:
            return []
        except OSError as e:
            raise StartupError(f"{self.path}: the folder of packages cannot be read: {e.strerror}") from e

    def _entry(self, path: Path) -> InstalledPackage:
        name, _, version = path.name.partition("#")
        file = path / RECORD
        try:
            record = _records.decode(file.read_bytes()) if file.exists() else None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as e:
            raise StartupError(
                f"{file}: the record of the installation cannot be read: {e}. Delete {path} and add the package again."
            ) from e
        return InstalledPackage(name, version, path, record)

    @contextmanager
    def _shared(self) -> Iterator[None]:
        """Waits while another process renames folders. A read-only folder needs no lock."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                fcntl.flock(stack.enter_context((self.path / ".swapping").open("rb")), fcntl.LOCK_SH)
            yield

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with (self.path / ".swapping").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def file_hashes(files: Mapping[str, bytes]) -> dict[str, str]:
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
