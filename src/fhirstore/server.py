"""The pieces of a server, put together from its settings."""

from __future__ import annotations

import logging
import time

from fhirstore.capability.build import build_registry, read_statement
from fhirstore.capability.omissions import Omissions
from fhirstore.capability.profiles import with_checkable_profiles
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load
from fhirstore.definitions.packages import PackageLimits
from fhirstore.errors import StartupError
from fhirstore.interactions.operations.table import BUILT_IN, implementations
from fhirstore.interactions.package_ownership import read_package_owners
from fhirstore.interactions.server import Server
from fhirstore.interactions.stored_definitions import StoredStructures, make_terminology, questionnaires
from fhirstore.interactions.table import ROUTER
from fhirstore.packages import dependencies
from fhirstore.packages.installed import read_installed
from fhirstore.plugins.manager import Plugins
from fhirstore.search.schema import make_schema
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.protocol import Store
from fhirstore.store.transfer import UNFINISHED
from fhirstore.validation.validator import ResourceValidator

log = logging.getLogger(__name__)


def read_definitions(settings: Settings) -> tuple[Plugins, Catalog]:
    """The plugins, and all definitions: R4, the packages of plugins, and installed packages. Raises StartupError,
    also when a package lacks what it depends on."""
    plugins = Plugins.load(settings.plugins, PackageLimits.of(settings))
    installed = read_installed(settings)
    loaded = plugins.packages()
    dependencies.check(loaded, (*loaded, *installed.packages), {})
    installed.check(loaded)
    return plugins, Catalog(load(), loaded, installed.packages)


def build(settings: Settings) -> Server:
    """Reads plugins, packages and statement, builds the Registry, opens the store. Raises StartupError."""
    server = assemble(settings, open_store(settings.store, settings))
    if server.store.records(UNFINISHED, limit=1):
        server.store.close()
        raise StartupError(
            "store: a migration into this store is not finished; run the same `fhirstore migrate` again, it goes on "
            "where it stopped"
        )
    return server


def assemble(settings: Settings, store: Store) -> Server:
    """A server on this store, which is opened, whatever it holds. Raises StartupError."""
    plugins, catalog = read_definitions(settings)
    statement, where = read_statement(settings.capability, catalog)
    able = plugins.operations()
    omissions = Omissions()
    registry = build_registry(catalog, statement, where, able, omissions, BUILT_IN)
    operations = implementations(registry, able)
    plugins.configure(settings.plugin_options)  # refuses wrong options before the store is opened
    store.open(make_schema(registry, plugins.compounds()))
    secret = settings.page_secret.encode() if settings.page_secret else store.secret()
    owned = read_package_owners(store)
    terminology = make_terminology(settings, registry, store, owned)
    structures = None
    if settings.stored_profiles == "on" and "StructureDefinition" in registry.types:
        structures = StoredStructures(store, registry, owned)
    validator = ResourceValidator(catalog, terminology, structures)
    validator = validator.with_questionnaires(questionnaires(store, registry, owned))
    registry = with_checkable_profiles(registry, validator.can_check, omissions)
    _report(settings, omissions)
    return Server(
        settings,
        registry,
        store,
        plugins,
        validator,
        secret,
        time.time_ns() // 1000,
        terminology,
        operations,
        owned,
        ROUTER,
    )


def _report(settings: Settings, omissions: Omissions) -> None:
    """Logs what is left out. Raises StartupError instead if the setting package_problems is refuse."""
    if omissions.texts and settings.package_problems == "refuse":
        raise StartupError("\n".join((*omissions.texts, "Setting package_problems: refuse.")))
    for text in omissions.texts:
        log.warning("left out: %s", text)
