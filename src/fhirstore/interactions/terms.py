"""The terminology that clients keep in the store, and the mark that every write of it leaves.

Every commit that changes such a resource replaces one record by a new random value. Whoever answers reads it first
and, where it is another than before, forgets what was found: so an acknowledged write counts at once, in all processes.
"""

from __future__ import annotations

import uuid
from collections.abc import Container, Hashable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from fhirstore.capability.registry import Registry
from fhirstore.definitions.versions import version_key
from fhirstore.formats.compose import compose
from fhirstore.model.conditions import MATCH_ALL, Uri
from fhirstore.model.stored import Change, Record, Stored
from fhirstore.settings import Settings
from fhirstore.store.protocol import Store
from fhirstore.terminology.catalog import TYPES
from fhirstore.terminology.model import TerminologyResource, Unresolved
from fhirstore.terminology.recent import Recent
from fhirstore.terminology.remote import Limits, Remote
from fhirstore.terminology.service import Terminology

_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)

KIND = "fhirstore.terminology"
_CHANGED = "changed"
_PAGE = 50
_HEADS = 20_000


class _Head(msgspec.Struct):
    """What is looked at before a resource is read in full."""

    version: str = ""
    content: str = ""


_heads = msgspec.json.Decoder(_Head)


def make_terminology(
    settings: Settings, registry: Registry, store: Store, owned: Container[str] = frozenset()
) -> Terminology:
    """What is at hand in a deployment. owned: the "Type/id" in the store that are copies of packages' resources."""
    remote = None
    if settings.terminology_server is not None:
        limits = Limits(
            timeout_s=settings.terminology_timeout_s,
            cache_s=settings.terminology_cache_s,
            retry_s=settings.terminology_retry_s,
            most=settings.max_expansion,
        )
        remote = Remote(settings.terminology_server, limits)
    return Terminology(registry.catalog, StoredTerms(store, registry, owned), remote)


def marks(changes: Sequence[Change]) -> list[Record]:
    """The record that goes with the changes, if any is of terminology."""
    if TYPES.isdisjoint(change.type for change in changes):
        return []
    return [Record(KIND, _CHANGED, uuid.uuid4().bytes)]


class StoredTerms:
    """`terminology.model.Source`: the resources of the types that this deployment serves, but for copies of packages'
    resources (owned), which are found in their packages."""

    def __init__(self, store: Store, registry: Registry, owned: Container[str] = frozenset()):
        self._store, self._owned = store, owned
        self._types = TYPES & registry.types.keys()
        self._by_url = frozenset(t for t in self._types if "url" in registry.indexed_types.get(t, ()))
        self._heads: Recent[_Head] = Recent(_HEADS)

    def marker(self) -> Hashable:
        if not self._types:
            return None
        record = self._store.get_record(KIND, _CHANGED)
        return record.value if record else None

    def find(self, type: str, url: str) -> list[TerminologyResource]:
        if type not in self._types:
            return []
        rows: Iterable[Stored]
        if type in self._by_url and (type, "url") not in self._store.pending():
            rows = self._rows(type, Uri("url", url))
        else:
            rows = (row for row in self._rows(type, MATCH_ALL) if read(row).get("url") == url)
        found = [(self._found(row), row.updated) for row in rows]
        return [f for f, _ in sorted(found, key=lambda one: (version_key(one[0].version), one[1]), reverse=True)]

    def all(self, type: str) -> Iterator[TerminologyResource]:
        if type in self._types:
            yield from (self._found(row) for row in self._rows(type, MATCH_ALL))

    def _rows(self, type: str, where: Any) -> Iterator[Stored]:
        after: list[Any] | None = None
        while True:
            page = self._store.find(type, where, after=after, limit=_PAGE)
            yield from (row for row in page.entries if row.ref not in self._owned)
            if page.next is None:
                return
            after = page.next

    def _found(self, row: Stored) -> TerminologyResource:
        type, id, version = row.type, row.id, row.version
        key = (type, id, version)
        head = self._heads.get(key, lambda: _head(row))

        def load() -> dict[str, Any]:
            # read again instead of kept: the body of a code system may have many megabytes
            stored = self._store.read(type, id, version)
            if stored is None or stored.deleted:
                raise Unresolved(f"{type}/{id} is no longer in the store")
            return read(stored)

        return TerminologyResource(key, (type, id), head.version, head.content, load)


def read(row: Stored) -> dict[str, Any]:
    """The resource as parsed JSON."""
    return _decoder.decode(compose(row))


def _head(row: Stored) -> _Head:
    try:
        return _heads.decode(b"{%b}" % row.body)
    except msgspec.ValidationError:  # stored while validation was off
        return _Head()
