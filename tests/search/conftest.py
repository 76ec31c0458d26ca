"""A small deployment for the tests of search: its registry, built from a statement, and what is searched in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.stores import open_empty

from fhirstore.capability.build import build_registry
from fhirstore.capability.registry import Registry
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load
from fhirstore.formats.json import split
from fhirstore.model.indexing import Schema
from fhirstore.model.queries import Query
from fhirstore.model.stored import Change, Stored
from fhirstore.search.index import extract
from fhirstore.search.parse import parse
from fhirstore.search.results import SearchPage, run
from fhirstore.search.schema import make_schema
from fhirstore.settings import Settings

DECLARED = {
    "Patient": "name family given birthdate gender identifier general-practitioner organization active telecom",
    "Practitioner": "name family identifier active",
    "PractitionerRole": "practitioner organization location identifier",
    "Organization": "name identifier partof",
    "Location": "name identifier organization partof",
    "Schedule": "actor identifier active date",
    "Slot": "schedule start status identifier specialty service-type",
    "Observation": "code status subject patient date value-quantity performer encounter based-on focus",
    "Encounter": "patient subject status class date length location-period",
    "RiskAssessment": "probability subject",
    "ValueSet": "url name status",
    "QuestionnaireResponse": "questionnaire subject status",
}
INCLUDES = {"Slot": ["Slot:schedule", "Schedule:actor"], "Schedule": ["Schedule:actor:Location"]}
REV_INCLUDES = {"Schedule": ["Slot:schedule"]}
SECRET = b"a key of this test"
SETTINGS = Settings(base_url="http://server.example/fhir", total_limit=20, default_count=10, max_count=40)


def statement(declared: Mapping[str, str] = DECLARED) -> dict[str, Any]:
    core = load()
    resources = []
    for type, codes in declared.items():
        known = {p.code: p for p in core.search_parameters().values() if type in p.bases}
        resources.append(
            {
                "type": type,
                "interaction": [{"code": code} for code in ("read", "create", "search-type")],
                "searchParam": [{"name": code, "type": known[code].type} for code in codes.split()],
                "searchInclude": INCLUDES.get(type, ["*"]),
                "searchRevInclude": REV_INCLUDES.get(type, ["*"]),
            }
        )
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-01-01",
        "kind": "requirements",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{"mode": "server", "resource": resources}],
    }


@pytest.fixture(scope="session")
def registry_of() -> Callable[[Mapping[str, str]], Registry]:
    """The registry of a deployment that declares these parameters by type."""
    catalog = Catalog(load())
    return lambda declared: build_registry(catalog, statement(declared), "tests")


@pytest.fixture(scope="session")
def registry(registry_of: Callable[[Mapping[str, str]], Registry]) -> Registry:
    return registry_of(DECLARED)


@pytest.fixture
def settings() -> Settings:
    return SETTINGS


@pytest.fixture
def read(registry: Registry) -> Callable[..., Query]:
    """read("Slot", "status=free&start=ge2024", strict=True): the query that (decoded) parameters mean."""

    def parsed(type: str, query: str, *, strict: bool = False, settings: Settings = SETTINGS) -> Query:
        pairs = [(n, v) for n, _, v in (part.partition("=") for part in query.split("&") if part)]
        return parse(registry, type, pairs, settings, strict=strict, secret=SECRET)

    return parsed


_schemas: dict[int, tuple[Registry, Schema]] = {}
"""By the identity of a registry, which is kept alive here."""


def _schema(registry: Registry) -> Schema:
    if id(registry) not in _schemas:
        _schemas[id(registry)] = registry, make_schema(registry, ())
    return _schemas[id(registry)][1]


class Server:
    """A store with resources in it, and searches on it."""

    def __init__(self, registry: Registry, url: str):
        self.registry = registry
        self.store = open_empty(Settings(store=url, write_timeout_s=5, search_timeout_s=5), _schema(registry))

    def put(self, *resources: dict[str, Any]) -> None:
        """Stores resources ({"resourceType", "id", …}), new or changed, in one commit."""
        self.store.commit([self._change(resource) for resource in resources])

    def delete(self, type: str, id: str) -> None:
        current = self.store.read(type, id)
        assert current is not None
        self.store.commit([Change(type, id, current.version, "DELETE", deleted=True)])

    def _change(self, resource: dict[str, Any]) -> Change:
        type, id = resource["resourceType"], resource["id"]
        current = self.store.read(type, id)
        meta, body = split(resource)
        index = extract(self.registry.indexed_types[type], resource)
        return Change(type, id, current.version if current else None, "PUT", meta, body, index)

    def query(self, type: str, query: str, *, strict: bool = True, settings: Settings = SETTINGS) -> Query:
        pairs = [(n, v) for n, _, v in (part.partition("=") for part in query.split("&") if part)]
        return parse(self.registry, type, pairs, settings, strict=strict, secret=SECRET)

    def search(self, type: str, query: str = "", *, settings: Settings = SETTINGS) -> SearchPage:
        asked = self.query(type, query, settings=settings)
        return run(self.store, self.registry, asked, settings, SECRET)

    def ids(self, type: str, query: str = "") -> list[str]:
        """The ids of the matches, in order."""
        return [stored.id for stored in self.search(type, query).matches]

    def pages(self, type: str, query: str) -> Iterator[list[Stored]]:
        """The matches of each page, following the next links."""
        page: str | None = ""
        while page is not None:
            found = self.search(type, query + (f"&_page={page}" if page else ""))
            yield found.matches
            page = found.next

    def includes(self, type: str, query: str) -> list[str]:
        """The references of what is included, sorted."""
        return sorted(stored.ref for stored in self.search(type, query).includes)


@pytest.fixture
def server_of(registry: Registry) -> Iterator[Callable[[str], Server]]:
    """server_of(url): a server on that store."""
    made: list[Server] = []

    def make(url: str) -> Server:
        made.append(Server(registry, url))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


@pytest.fixture
def server(server_of: Callable[[str], Server], tmp_path: Path) -> Server:
    return server_of(f"sqlite:///{tmp_path}/db")
