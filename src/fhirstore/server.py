"""The pieces of a server, put together from its settings."""

from __future__ import annotations

import time

from fhirstore.capability.build import build_registry, read_statement
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load
from fhirstore.errors import StartupError
from fhirstore.interactions.context import Context
from fhirstore.plugins.manager import Plugins
from fhirstore.search.schema import make_schema
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.base import Store
from fhirstore.store.transfer import UNFINISHED
from fhirstore.validation.structure import Validator

Server = Context


def build(settings: Settings) -> Context:
    """Reads plugins and statement, builds the Registry, opens the store. Raises StartupError."""
    server = assemble(settings, open_store(settings.store, settings))
    if server.store.records(UNFINISHED, limit=1):
        server.store.close()
        raise StartupError(
            "store: a migration into this store is not finished; run the same `fhirstore migrate` again, it goes on "
            "where it stopped"
        )
    return server


def assemble(settings: Settings, store: Store) -> Context:
    """A server on this store, which is opened, whatever it holds. Raises StartupError."""
    plugins = Plugins.load(settings.plugins)
    core = load()
    catalog = Catalog(core, plugins.packages())
    statement, where = read_statement(settings.capability, catalog)
    registry = build_registry(catalog, statement, where)
    store.open(make_schema(registry, plugins.compounds()))
    secret = settings.page_secret.encode() if settings.page_secret else store.secret()
    return Context(settings, registry, store, plugins, Validator(core), secret, time.time_ns() // 1000)
