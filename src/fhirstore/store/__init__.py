"""Engines behind one protocol (`store.protocol.Store`); `open_store` picks one by its URL."""

from __future__ import annotations

from fhirstore.errors import StartupError
from fhirstore.settings import Settings
from fhirstore.store.transfer import Transferable


def open_store(url: str, settings: Settings) -> Transferable:
    """The engine for `url`: sqlite:///PATH (three slashes and a relative path, four for an absolute one), or a MongoDB
    URL (mongodb:// or mongodb+srv://) that names the database.

    The store connects on first use; call its `open(schema)` once before. Raises StartupError for other URLs."""
    scheme, separator, path = url.partition("://")
    if scheme in ("mongodb", "mongodb+srv") and separator:
        return _mongo_store(url, settings)
    if scheme != "sqlite" or not path.startswith("/") or path == "/":
        raise StartupError(
            f"store: {url!r} is no store URL that this server knows; use sqlite:///PATH or mongodb://HOST/DATABASE"
        )
    from fhirstore.store.sqlite import SqliteStore

    return SqliteStore(
        path[1:],
        write_timeout_s=settings.write_timeout_s,
        search_timeout_s=settings.search_timeout_s,
        cache_bytes=settings.cache_bytes,
    )


def _mongo_store(url: str, settings: Settings) -> Transferable:
    try:
        from fhirstore.store.mongo import MongoStore
    except ModuleNotFoundError as problem:
        if problem.name is None or problem.name.partition(".")[0] not in ("pymongo", "bson"):
            raise
        raise StartupError(
            "store: MongoDB needs the package pymongo; install it with: pip install 'fhirstore-server[mongo]'"
        ) from problem
    return MongoStore(
        url,
        write_timeout_s=settings.write_timeout_s,
        search_timeout_s=settings.search_timeout_s,
        transactions=settings.mongo_transactions,
    )
