"""Database engines behind one protocol, `store.protocol.Store`. `open_store` finds the engine by its URL scheme.

An engine is an entry point of the group `fhirstore.stores`. The name of the entry point is the URL scheme; the object
is a callable that takes the URL and the `Settings` and returns a `Store` that is not connected yet. It raises
StartupError for a URL that it cannot use. If the entry point names an extra of its distribution, the extra installs the
packages that the engine needs:

    [project.entry-points."fhirstore.stores"]
    mongodb = "fhirstore.store.mongo:MongoStore.from_url [mongo]"
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from fhirstore.errors import StartupError
from fhirstore.settings import Settings
from fhirstore.store.protocol import Store

GROUP = "fhirstore.stores"
StoreFactory = Callable[[str, Settings], Store]


def open_store(url: str, settings: Settings) -> Store:
    """Returns the engine for `url`. The engine connects on first use; call its `open(schema)` once before.

    Raises StartupError if the URL has no scheme, if no installed engine serves the scheme, if the driver of the engine
    is missing, or if the engine refuses the URL. The error never shows the URL, which may hold a password."""
    scheme, separator, _ = url.partition("://")
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if not separator or scheme not in found:
        problem = f"no engine serves the URL scheme {scheme!r}" if separator else "the setting is not a URL"
        raise StartupError(
            f"store: {problem}. Installed engines: {', '.join(f'{name}://' for name in sorted(found)) or 'none'}. "
            "Examples: sqlite:///PATH or mongodb://HOST/DATABASE"
        )
    return _load(found[scheme])(url, settings)


def _load(entry: EntryPoint) -> StoreFactory:
    try:
        return cast(StoreFactory, entry.load())
    except ModuleNotFoundError as problem:
        missing = (problem.name or "").partition(".")[0]
        if not entry.extras or missing in ("", entry.module.partition(".")[0]):
            raise
        distribution = entry.dist.name if entry.dist else "fhirstore-server"
        raise StartupError(
            f"store: {entry.name}:// URLs need the package {missing}. "
            f"Install it with: pip install '{distribution}[{','.join(entry.extras)}]'"
        ) from problem
