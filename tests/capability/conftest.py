"""Statements and packages made in the test, read and built by the real parts."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from fhirstore.capability.build import build_registry
from fhirstore.capability.registry import Registry
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load
from fhirstore.definitions.model import Package
from fhirstore.definitions.packages import read_package

Resource = dict[str, Any]


@pytest.fixture
def statement() -> Callable[..., Resource]:
    """statement(*resources, **members of rest): a statement with one rest of mode server."""

    def make(*resources: Resource, **rest: Any) -> Resource:
        return {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "kind": "instance",
            "fhirVersion": "4.0.1",
            "format": ["application/fhir+json"],
            "rest": [{"mode": "server", "resource": list(resources), **rest}],
        }

    return make


@pytest.fixture
def package(tmp_path: Path) -> Callable[..., Package]:
    """package(*resources, name=…): a FHIR package with these resources, written to disk and read back."""

    def make(*resources: Resource, name: str = "test.package") -> Package:
        folder = tmp_path / name / "package"
        folder.mkdir(parents=True)
        (folder / "package.json").write_text(json.dumps({"name": name, "version": "1.0.0"}))
        for number, resource in enumerate(resources):
            (folder / f"{number}.json").write_text(json.dumps(resource))
        return read_package(folder.parent)

    return make


@pytest.fixture
def build() -> Callable[..., Registry]:
    """build(statement, *packages, able=…): the registry; messages call the statement `x.json`."""

    def make(statement: Resource, *packages: Package, able: Collection[str] = ()) -> Registry:
        return build_registry(Catalog(load(), packages), statement, "x.json", able)

    return make


@pytest.fixture
def parameter() -> Callable[..., Resource]:
    """parameter(base, code, type, expression, **more): a SearchParameter with the url http://p/<code>."""

    def make(base: str, code: str, type: str, expression: str, **more: Any) -> Resource:
        return {
            "resourceType": "SearchParameter",
            "url": f"http://p/{code}",
            "name": code,
            "status": "active",
            "description": code,
            "code": code,
            "base": [base],
            "type": type,
            "expression": expression,
        } | more

    return make


@pytest.fixture
def profile() -> Callable[..., Resource]:
    """profile(type, url): a profile on a resource type."""

    def make(type: str, url: str) -> Resource:
        return {
            "resourceType": "StructureDefinition",
            "url": url,
            "name": "Profile",
            "status": "active",
            "kind": "resource",
            "abstract": False,
            "type": type,
            "baseDefinition": f"http://hl7.org/fhir/StructureDefinition/{type}",
            "derivation": "constraint",
        }

    return make
