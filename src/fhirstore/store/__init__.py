"""Engines behind one protocol (`store.base.Store`); `open_store` picks one by its URL."""

from __future__ import annotations

from fhirstore.errors import StartupError
from fhirstore.settings import Settings
from fhirstore.store.base import Store


def open_store(url: str, settings: Settings) -> Store:
    """The engine for `url` (sqlite:///PATH: three slashes and a relative path, four for an absolute one).

    The store connects on first use; call its `open(schema)` once before. Raises StartupError for other URLs."""
    scheme, separator, path = url.partition(":///")
    if scheme != "sqlite" or not separator or not path:
        raise StartupError(f"store: {url!r} is no store URL that this server knows; use sqlite:///PATH")
    from fhirstore.store.sqlite import SqliteStore

    return SqliteStore(path, write_timeout_s=settings.write_timeout_s, search_timeout_s=settings.search_timeout_s)
