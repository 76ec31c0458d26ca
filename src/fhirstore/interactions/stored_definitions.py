"""The definitions that clients write to the store: terminology, profiles and Questionnaires.

Each commit that changes one of them sets a record to a new random value, the marker. `Terminology.current` and
`ResourceValidator` compare it for every request, and discard what they have compiled if it differs. All processes
therefore see an acknowledged write at once.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from fhirstore.capability.registry import Registry
from fhirstore.definitions.versions import version_key
from fhirstore.formats.json import compose
from fhirstore.model.conditions import MATCH_ALL, Token, Uri
from fhirstore.model.messages import Message
from fhirstore.model.stored import Change, Record, Stored
from fhirstore.settings import Settings
from fhirstore.store.protocol import Store
from fhirstore.terminology.cache import SharedCache
from fhirstore.terminology.model import TERMINOLOGY_TYPES, TerminologyResource, Unresolved
from fhirstore.terminology.remote import RemoteLimits, RemoteTerminology
from fhirstore.terminology.service import Terminology

_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)

RECORD_KIND = "fhirstore.terminology"
STRUCTURES_RECORD_KIND = "fhirstore.structures"
_STRUCTURE = "StructureDefinition"
_STRUCTURE_TYPES = (_STRUCTURE, "Questionnaire")
_KINDS = dict.fromkeys(TERMINOLOGY_TYPES, (RECORD_KIND,)) | {_STRUCTURE: (STRUCTURES_RECORD_KIND,)}
_MARKER_KEY = "changed"
_PAGE_SIZE = 50
_CACHED_HEADERS = 20_000


class _Header(msgspec.Struct):
    """The elements that select a resource before it is parsed."""

    version: str = ""
    content: str = ""


_headers = msgspec.json.Decoder(_Header)


def make_terminology(
    settings: Settings, registry: Registry, store: Store, package_owned: Container[str] = frozenset()
) -> Terminology:
    """The terminology of a deployment. package_owned: see `StoredTerminology`."""
    remote = None
    if settings.terminology_server is not None:
        limits = RemoteLimits(
            timeout_s=settings.terminology_timeout_s,
            cache_s=settings.terminology_cache_s,
            retry_s=settings.terminology_retry_s,
            max_codes=settings.max_expansion,
        )
        remote = RemoteTerminology(settings.terminology_server, limits)
    return Terminology(registry.catalog, StoredTerminology(store, registry, package_owned), remote)


def change_markers(changes: Sequence[Change]) -> list[Record]:
    """The records to commit with the changes; empty if they change no definition."""
    kinds = {kind for change in changes for kind in _KINDS.get(change.type, ())}
    return [Record(kind, _MARKER_KEY, uuid.uuid4().bytes) for kind in sorted(kinds)]


class StoredTerminology:
    """`terminology.model.TerminologySource`: the stored resources of the served types.

    package_owned: "Type/id" of the stored copies of packages' resources. They are left out because the packages
    themselves provide them."""

    def __init__(self, store: Store, registry: Registry, package_owned: Container[str] = frozenset()):
        self._store, self._package_owned = store, package_owned
        self._types = TERMINOLOGY_TYPES & registry.types.keys()
        self._indexed_by_url = frozenset(t for t in self._types if "url" in registry.indexed_types.get(t, ()))
        self._supplements_are_indexed = "content-mode" in registry.indexed_types.get("CodeSystem", ())
        self._headers: SharedCache[_Header] = SharedCache(_CACHED_HEADERS)

    def marker(self) -> Hashable:
        if not self._types:
            return None
        record = self._store.get_record(RECORD_KIND, _MARKER_KEY)
        return record.value if record else None

    def find(self, type: str, url: str) -> list[TerminologyResource]:
        if type not in self._types:
            return []
        rows: Iterable[Stored]
        if type in self._indexed_by_url and (type, "url") not in self._store.pending_parameters():
            rows = self._rows(type, Uri("url", url))
        else:
            rows = (row for row in self._rows(type, MATCH_ALL) if parse_stored(row).get("url") == url)
        found = [(self._resource(row), row.updated) for row in rows]
        return [f for f, _ in sorted(found, key=lambda one: (version_key(one[0].version), one[1]), reverse=True)]

    def all(self, type: str) -> Iterator[TerminologyResource]:
        if type in self._types:
            yield from (self._resource(row) for row in self._rows(type, MATCH_ALL))

    def supplements(self) -> Iterator[TerminologyResource]:
        """Those that are found by their search parameter: a search without the index would read all CodeSystems."""
        if self._supplements_are_indexed and ("CodeSystem", "content-mode") not in self._store.pending_parameters():
            yield from (
                self._resource(row) for row in self._rows("CodeSystem", Token("content-mode", None, "supplement"))
            )

    def _rows(self, type: str, where: Any) -> Iterator[Stored]:
        after: list[Any] | None = None
        while True:
            page = self._store.find(type, where, after=after, limit=_PAGE_SIZE)
            yield from (row for row in page.entries if row.ref not in self._package_owned)
            if page.next is None:
                return
            after = page.next

    def _resource(self, row: Stored) -> TerminologyResource:
        type, id, version = row.type, row.id, row.version
        key = (type, id, version)
        header = self._headers.get(key, lambda: _read_header(row))

        def load() -> dict[str, Any]:
            # Reads the row again instead of keeping it: a code system may have many megabytes.
            stored = self._store.read(type, id, version)
            if stored is None or stored.deleted:
                raise Unresolved(Message("{type}/{id} is no longer in the store", type=type, id=id))
            return parse_stored(stored)

        return TerminologyResource(key, (type, id), header.version, header.content, load)


def parse_stored(row: Stored) -> dict[str, Any]:
    """The resource as parsed JSON."""
    return _decoder.decode(compose(row))


def _read_header(row: Stored) -> _Header:
    try:
        return _headers.decode(b"{%b}" % row.body)
    except msgspec.ValidationError:  # stored while validation was off
        return _Header()


class StoredStructures:
    """`validation.stored_structures.StructureSource` for the store of a server.

    They are found if their url is indexed: if the search parameter is served, and after `fhirstore reindex`.
    package_owned: "Type/id" of the stored copies of packages' resources. They are left out because the packages
    themselves provide them."""

    def __init__(self, store: Store, registry: Registry, package_owned: Container[str] = frozenset()):
        self._store, self._package_owned = store, package_owned
        self._indexed = frozenset(type for type in _STRUCTURE_TYPES if "url" in registry.indexed_types.get(type, ()))

    def marker(self) -> Hashable:
        record = self._store.get_record(STRUCTURES_RECORD_KIND, _MARKER_KEY)
        return record.value if record else None

    def find(self, canonical: str, type: str = _STRUCTURE) -> dict[str, Any] | None:
        """Of several resources with one canonical, the one that was written last."""
        url, _, version = canonical.partition("|")
        found = [r for r in self._with_url(type, url) if not version or r[0].get("version") == version]
        return max(found, key=lambda one: (version_key(str(one[0].get("version", ""))), one[1]))[0] if found else None

    def _with_url(self, type: str, url: str) -> list[tuple[dict[str, Any], int]]:
        """The resources with this url and the times of their changes."""
        if type not in self._indexed or (type, "url") in self._store.pending_parameters():
            return []  # a search without the index would read all of them for each unknown canonical
        found: list[tuple[dict[str, Any], int]] = []
        after: list[Any] | None = None
        while True:
            page = self._store.find(type, Uri("url", url), after=after, limit=_PAGE_SIZE)
            for row in page.entries:
                if row.ref not in self._package_owned:
                    resource = parse_stored(row)
                    if resource.get("url") == url:
                        found.append((resource, row.updated))
            if page.next is None:
                return found
            after = page.next


def questionnaires(
    store: Store, registry: Registry, package_owned: Container[str] = frozenset()
) -> Callable[[str], dict[str, Any] | None]:
    """Finds a Questionnaire by its canonical, first in the store, then in the packages."""
    stored = StoredStructures(store, registry, package_owned)

    def find(canonical: str) -> dict[str, Any] | None:
        return stored.find(canonical, "Questionnaire") or registry.catalog.resource("Questionnaire", canonical)

    return find
