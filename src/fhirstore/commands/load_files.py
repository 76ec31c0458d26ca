"""Resources in files: JSON and NDJSON, plain or gzipped, single resources or Bundles."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fhirstore.errors import FhirError, Issue, StartupError
from fhirstore.formats.json import parse
from fhirstore.interactions.references import rewrite
from fhirstore.interactions.write import new_id

LINES = (".ndjson", ".jsonl")
SUFFIXES = (".json", *LINES)
REQUESTS = ("batch", "transaction")
WHOLE = ("document", "message")


@dataclass(frozen=True, slots=True)
class Item:
    """What is loaded as one: a resource, or a batch or transaction.

    number: the line of an NDJSON file, the entry (from 1) of a Bundle in a JSON file. ends: no other item of the file
    has this number (a Bundle on a line makes several items). offset: bytes of the file read so far. raw: the JSON of a
    batch or transaction. resource None: see problem."""

    file: Path
    number: int
    offset: int
    resource: dict[str, Any] | None = None
    raw: bytes | None = None
    problem: tuple[Issue, ...] = ()
    ends: bool = True

    @property
    def where(self) -> str:
        return f"{self.file}:{self.number}"


def find_files(paths: Iterable[str]) -> list[Path]:
    """The files named, and those with a known suffix in the folders named, in order of name.
    Raises StartupError for a path that is neither."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.is_file() and _kind(p) in SUFFIXES and p.name[0] != ".")
        elif path.is_file():
            if _kind(path) not in SUFFIXES:
                raise StartupError(f"{path}: one of {', '.join(SUFFIXES)} (or the same with .gz) is wanted.")
            found.append(path)
        else:
            raise StartupError(f"{path}: there is no such file or folder.")
    return found


def _kind(path: Path) -> str:
    return Path(path.stem).suffix if path.suffix == ".gz" else path.suffix


def read_items(file: Path, done: int, max_nesting: int) -> Iterator[Item]:
    """The items of a file whose number is greater than `done`."""
    with file.open("rb") as raw:
        stream: BinaryIO = gzip.GzipFile(fileobj=raw) if file.suffix == ".gz" else raw  # type: ignore[assignment]
        try:
            if _kind(file) in LINES:
                for number, line in enumerate(stream, 1):
                    if number > done and line.strip():
                        yield from _items(file, number, raw.tell(), line, max_nesting, line=True)
            else:
                yield from (i for i in _items(file, 1, _size(raw), stream.read(), max_nesting) if i.number > done)
        except (OSError, EOFError) as e:  # a broken gzip file
            yield _refused(file, done + 1, raw.tell(), f"The file cannot be read: {e}.")


def _size(raw: BinaryIO) -> int:
    here = raw.tell()
    size = raw.seek(0, io.SEEK_END)
    raw.seek(here)
    return size


def _refused(file: Path, number: int, offset: int, text: str) -> Item:
    return Item(file, number, offset, problem=(Issue("error", "invalid", text),))


def _items(file: Path, number: int, offset: int, raw: bytes, nesting: int, *, line: bool = False) -> Iterator[Item]:
    """line: `raw` is a line of NDJSON, all of whose items bear `number`."""
    try:
        resource = parse(raw, nesting)
    except FhirError as e:
        yield Item(file, number, offset, problem=e.issues)
        return
    kind = resource.get("type")
    if resource.get("resourceType") != "Bundle" or kind in WHOLE:
        resource.setdefault("id", new_id())
        yield Item(file, number, offset, resource)
    elif kind in REQUESTS:
        yield Item(file, number, offset, resource, raw)
    elif kind == "history":
        yield _refused(file, number, offset, "A history Bundle holds versions, not resources; it cannot be loaded.")
    else:
        entries = _entries(resource)
        for n, entry in enumerate(entries, 1):
            problem = () if entry else (Issue("error", "required", f"Bundle.entry[{n - 1}] has no resource."),)
            ends = n == len(entries) or not line
            yield Item(file, number if line else n, offset, entry, problem=problem, ends=ends)


def _entries(bundle: dict[str, Any]) -> list[dict[str, Any] | None]:
    """The resources of a Bundle (but for outcomes), with links by fullUrl urn:uuid turned into Type/id."""
    entries = [e if isinstance(e, dict) else {} for e in bundle.get("entry") or () if not _is_outcome(e)]
    resources = [e["resource"] if isinstance(e.get("resource"), dict) else None for e in entries]
    links: dict[str, str] = {}
    for entry, resource in zip(entries, resources, strict=True):
        url = entry.get("fullUrl")
        if resource is not None and isinstance(url, str) and url.startswith("urn:uuid:"):
            resource.setdefault("id", url.removeprefix("urn:uuid:"))
            links[url] = f"{resource.get('resourceType')}/{resource['id']}"
        elif resource is not None:
            resource.setdefault("id", new_id())
    for resource in resources:
        if links and resource is not None:
            rewrite(resource, links, lambda reference: reference)
    return resources


def _is_outcome(entry: Any) -> bool:
    search = entry.get("search") if isinstance(entry, dict) else None
    return isinstance(search, dict) and search.get("mode") == "outcome"
