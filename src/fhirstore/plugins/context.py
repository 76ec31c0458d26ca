"""The services of the server that a plugin may use: the object `context` of the hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fhirstore.capability.registry import Registry
from fhirstore.model.conditions import Condition, Sort
from fhirstore.model.stored import Record, RecordGuard, Stored
from fhirstore.search.paging import read_token, write_token
from fhirstore.store.errors import StoreError
from fhirstore.store.protocol import ResultPage, Store, with_snapshot

if TYPE_CHECKING:
    from fhirstore.jobs.facade import PluginJobs
    from fhirstore.jobs.handler import JobHandler

_decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode

T = TypeVar("T")
Configurations = Mapping[str, object]
"""By plugin, the instance of the dataclass that the plugin declares."""


def resource_of(stored: Stored) -> dict[str, Any]:
    """The parsed resource of a version, a new object for each call. Numbers with a fraction are Decimal. A deleted
    version has only type and id."""
    meta = _decode(b"{" + stored.meta + b"}")
    head = {"resourceType": stored.type, "id": stored.id} | ({"meta": meta} if meta else {})
    return head | _decode(b"{" + stored.body + b"}")


class ResourceReader:
    """Reads live resources. All methods raise `StoreError` if the store is not available."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, type: str, id: str) -> Stored | None:
        """The resource; None if it does not exist or is deleted."""
        found = self._store.read(type, id)
        return None if found is None or found.deleted else found

    def current(self, type: str, id: str) -> Stored | None:
        """The current version, also if it is a deletion; None if the id was never used. It is the `previous` of an
        additional write."""
        return self._store.read(type, id)

    def read_many(self, references: Iterable[str]) -> list[Stored]:
        """The live resources among these references ("Type/id"), each once, in no particular order."""
        return self._store.read_many(references)

    def find(
        self,
        type: str,
        where: Condition,
        sort: Sequence[Sort] = (),
        after: list[Any] | None = None,
        limit: int | None = None,
    ) -> ResultPage:
        """The resources that satisfy the condition, in order. after: the `next` of an earlier page. limit: resources
        per page, None for all of them."""
        return self._store.find(type, where, sort, after, limit)

    def count(self, type: str, where: Condition, at_most: int | None = None) -> int:
        """The number of resources that satisfy the condition. Counting stops at `at_most`."""
        return self._store.count(type, where, at_most)

    def references(self, sources: Sequence[Stored], param: str) -> list[str]:
        """The distinct targets ("Type/id") of a reference parameter of these resources, which have one type."""
        return self._store.references(sources, param)

    def with_snapshot(self, read: Callable[[], T]) -> T:
        """The result of `read`, whose reads see one state of the store, if the engine supports it. `read` is called
        again if that state is lost."""
        return with_snapshot(self._store, read)


class PluginRecords:
    """The key-value store of a plugin. Values are bytes.

    A record has a kind and a key. The name of a kind is that of the plugin, or starts with it and a hyphen
    ("sas-audit"); other kinds raise ValueError. Records that belong to a write are stored with it: see `Write.records`
    and `PendingCommit.records`."""

    __slots__ = ("_plugin", "_store")

    def __init__(self, plugin: str, store: Store) -> None:
        self._plugin, self._store = plugin, store

    def get(self, kind: str, key: str) -> bytes | None:
        """The value; None if there is no such record."""
        self._check(kind)
        found = self._store.get_record(kind, key)
        return None if found is None else found.value

    def list(self, kind: str, after: str = "", limit: int = 1000) -> list[Record]:
        """The records of a kind whose key is greater than `after`, in the order of their keys."""
        self._check(kind)
        return self._store.records(kind, after, limit)

    def commit(self, records: Sequence[Record], guards: Sequence[RecordGuard] = ()) -> None:
        """Stores records at once, all or none. Each guarded record must be among them. Raises `GuardChanged` if a
        record does not have the value that its guard names."""
        for kind in {*(one.kind for one in records), *(one.kind for one in guards)}:
            self._check(kind)
        self._store.commit((), guards, records)

    def _check(self, kind: str) -> None:
        if kind != self._plugin and not kind.startswith(f"{self._plugin}-"):
            raise ValueError(f"The kind {kind!r} belongs to another plugin. Use {self._plugin}-NAME.")


class PluginContext:
    """The services of the server for one plugin, the same for all requests.

    plugin: the name of the plugin. `registry` describes what this deployment serves, `reader` reads resources,
    `records` is the key-value store of the plugin, `jobs` has its durable jobs."""

    def __init__(
        self,
        plugin: str,
        configuration: object | None,
        registry: Registry | None,
        store: Store | None,
        handlers: Callable[[PluginContext], Iterable[JobHandler]],
    ) -> None:
        """registry, store: None if there is none. handlers: returns those of the plugin's jobs."""
        self.plugin, self._configuration = plugin, configuration
        self._registry, self._store, self._handlers = registry, store, handlers

    @cached_property
    def registry(self) -> Registry:
        """The types, interactions, search parameters and profiles of this deployment; immutable. Raises LookupError in
        commands, which read no CapabilityStatement."""
        if self._registry is None:
            raise LookupError("A command has no CapabilityStatement.")
        return self._registry

    @cached_property
    def reader(self) -> ResourceReader:
        """Raises StoreError if there is no store (`fhirstore validate`)."""
        return ResourceReader(self._opened())

    @cached_property
    def records(self) -> PluginRecords:
        """Raises StoreError if there is no store (`fhirstore validate`)."""
        return PluginRecords(self.plugin, self._opened())

    @cached_property
    def jobs(self) -> PluginJobs:
        """The queues that the plugin declares with the hook `jobs`. Raises StoreError if there is no store."""
        from fhirstore.jobs.facade import PluginJobs

        return PluginJobs(self.plugin, self._opened(), self._handlers(self))

    def configuration(self, declared: type[T]) -> T:
        """The configuration of the plugin. declared: the dataclass that its hook `configuration` returns. Raises
        LookupError for another class."""
        if not isinstance(self._configuration, declared):
            raise LookupError(f"The hook configuration of plugin {self.plugin} does not return {declared.__name__}.")
        return self._configuration

    def page_token(self, scope: str, params: Iterable[tuple[str, str]], position: list[Any]) -> str:
        """A signed token for the page that starts after `position` (`ResultPage.next`). It is valid for this scope,
        such as the canonical of an operation, and these parameters."""
        return write_token(self._opened().secret(), scope, params, position, None)

    def page_position(self, scope: str, params: Iterable[tuple[str, str]], token: str) -> list[Any]:
        """The position in a token of `page_token`. Raises `FhirError` 400 for any other token."""
        return read_token(self._opened().secret(), scope, params, token)[0]

    def _opened(self) -> Store:
        if self._store is None:
            raise StoreError("This command has no store.")
        return self._store


class PluginContexts:
    """The contexts of all plugins. Callers pass it as `context` to hooks, and each plugin receives its own context."""

    __slots__ = ("_contexts", "_make")

    def __init__(
        self,
        configurations: Configurations,
        registry: Registry | None = None,
        store: Store | None = None,
        handlers: Callable[[str, PluginContext], Iterable[JobHandler]] | None = None,
    ) -> None:
        def make(plugin: str) -> PluginContext:
            def own(context: PluginContext) -> Iterable[JobHandler]:
                return () if handlers is None else handlers(plugin, context)

            return PluginContext(plugin, configurations.get(plugin), registry, store, own)

        self._make = make
        self._contexts: dict[str, PluginContext] = {}

    def of(self, plugin: str) -> PluginContext:
        """The context of one plugin."""
        found = self._contexts.get(plugin)
        if found is None:
            found = self._contexts.setdefault(plugin, self._make(plugin))
        return found
