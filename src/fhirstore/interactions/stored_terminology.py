"""The terminology resources that clients write to the store, and the change marker that each write of one replaces.

Each commit that changes a terminology resource sets one record to a new random value. `Terminology.current` reads this
record for every request and discards its snapshot if the value differs. All processes therefore see an acknowledged
write at once.
"""

from __future__ import annotations

import uuid
from collections.abc import Container, Hashable, Iterable, Iterator, Sequence
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
    """The record to commit with the changes; empty if they change no terminology resource."""
    if TERMINOLOGY_TYPES.isdisjoint(change.type for change in changes):
        return []
    return [Record(RECORD_KIND, _MARKER_KEY, uuid.uuid4().bytes)]


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
