"""The pieces of a server, put together from its settings."""

from __future__ import annotations

import time

from fhirstore.capability.build import build_registry, read_statement
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load
from fhirstore.interactions.context import Context
from fhirstore.interactions.operations.table import implementations
from fhirstore.interactions.terms import make_terminology
from fhirstore.plugins.manager import Plugins
from fhirstore.search.schema import make_schema
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.validation.conformance import Conformance

Server = Context


def build(settings: Settings) -> Context:
    """Reads plugins and statement, builds the Registry, opens the store. Raises StartupError."""
    plugins = Plugins.load(settings.plugins)
    core = load()
    catalog = Catalog(core, plugins.packages())
    statement, where = read_statement(settings.capability, catalog)
    registry = build_registry(catalog, statement, where)
    operations = implementations(registry, plugins.operations())
    store = open_store(settings.store, settings)
    store.open(make_schema(registry, plugins.compounds()))
    secret = settings.page_secret.encode() if settings.page_secret else store.secret()
    terminology = make_terminology(settings, registry, store)
    conformance = Conformance(catalog, terminology)
    started = time.time_ns() // 1000
    return Context(settings, registry, store, plugins, conformance, secret, started, terminology, operations)
