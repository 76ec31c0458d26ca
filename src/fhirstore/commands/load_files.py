"""Reads resources and Bundles from JSON and NDJSON files, plain or gzipped."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fhirstore.definitions.core import load
from fhirstore.errors import FhirError, Issue, StartupError
from fhirstore.formats.json import parse
from fhirstore.interactions.references import Links, rewrite
from fhirstore.interactions.write import new_id
from fhirstore.model.messages import Message

LINES = (".ndjson", ".jsonl")
SUFFIXES = (".json", *LINES)
REQUESTS = ("batch", "transaction")
STORED_AS_BUNDLE = ("document", "message")


@dataclass(frozen=True, slots=True)
class LoadItem:
    """The unit of loading: one resource, or one batch or transaction.

    number: the line in an NDJSON file, or the entry (from 1) of a Bundle in a JSON file.
    offset: bytes of the file read so far.
    resource: None if the item is invalid; `problem` has the reason.
    raw: the JSON of a batch or transaction.
    is_last: no later item has this number. A Bundle in an NDJSON line gives several items with one number.
    """

    file: Path
    number: int
    offset: int
    resource: dict[str, Any] | None = None
    raw: bytes | None = None
    problem: tuple[Issue, ...] = ()
    is_last: bool = True

    @property
    def where(self) -> str:
        return f"{self.file}:{self.number}"


def find_files(paths: Iterable[str]) -> list[Path]:
    """The files in `paths`, and the files with a known suffix in its folders, sorted by name.

    Raises StartupError for other paths and for files with another suffix.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.is_file() and _kind(p) in SUFFIXES and p.name[0] != ".")
        elif path.is_file():
            if _kind(path) not in SUFFIXES:
                raise StartupError(f"{path}: unknown suffix. Use {', '.join(SUFFIXES)}, each also with .gz.")
            found.append(path)
        else:
            raise StartupError(f"{path}: no such file or folder.")
    return found


def _kind(path: Path) -> str:
    return Path(path.stem).suffix if path.suffix == ".gz" else path.suffix


def read_items(file: Path, done: int, max_nesting: int) -> Iterator[LoadItem]:
    """The items of a file with a number greater than `done`."""
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
            yield _invalid(file, done + 1, raw.tell(), f"Cannot read the file: {e}.")


def _size(raw: BinaryIO) -> int:
    position = raw.tell()
    size = raw.seek(0, io.SEEK_END)
    raw.seek(position)
    return size


def _invalid(file: Path, number: int, offset: int, text: str) -> LoadItem:
    return LoadItem(file, number, offset, problem=(Issue("error", "invalid", text),))


def _items(file: Path, number: int, offset: int, raw: bytes, nesting: int, *, line: bool = False) -> Iterator[LoadItem]:
    """line: whether `raw` is a line of NDJSON. All of its items get `number`."""
    try:
        resource = parse(raw, nesting)
    except FhirError as e:
        yield LoadItem(file, number, offset, problem=e.issues)
        return
    kind = resource.get("type")
    if resource.get("resourceType") != "Bundle" or kind in STORED_AS_BUNDLE:
        resource.setdefault("id", new_id())
        yield LoadItem(file, number, offset, resource)
    elif kind in REQUESTS:
        yield LoadItem(file, number, offset, resource, raw)
    elif kind == "history":
        yield _invalid(file, number, offset, "A history Bundle cannot be loaded, because it contains versions.")
    else:
        entries = _entries(resource)
        for n, entry in enumerate(entries, 1):
            problem = (
                ()
                if entry
                else (Issue("error", "required", Message("Bundle.entry[{count}] has no resource.", count=n - 1)),)
            )
            is_last = n == len(entries) or not line
            yield LoadItem(file, number if line else n, offset, entry, problem=problem, is_last=is_last)


def _entries(bundle: dict[str, Any]) -> list[dict[str, Any] | None]:
    """The resources of a Bundle, without outcomes. References to urn:uuid fullUrls become Type/id."""
    entries = [e if isinstance(e, dict) else {} for e in bundle.get("entry") or () if not _is_outcome(e)]
    resources = [e["resource"] if isinstance(e.get("resource"), dict) else None for e in entries]
    links = Links()
    for entry, resource in zip(entries, resources, strict=True):
        url = entry.get("fullUrl")
        if resource is not None and isinstance(url, str) and url.startswith("urn:uuid:"):
            resource.setdefault("id", url.removeprefix("urn:uuid:"))
            links.targets[url] = f"{resource.get('resourceType')}/{resource['id']}"
        elif resource is not None:
            resource.setdefault("id", new_id())
    for resource in resources:
        if links.targets and resource is not None:
            rewrite(load(), resource, links, lambda reference: reference)
    return resources


def _is_outcome(entry: Any) -> bool:
    search = entry.get("search") if isinstance(entry, dict) else None
    return isinstance(search, dict) and search.get("mode") == "outcome"
