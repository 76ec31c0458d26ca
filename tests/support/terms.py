"""Small code systems and value sets for tests."""

from __future__ import annotations

from typing import Any

from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load
from fhirstore.definitions.model import Package

Json = dict[str, Any]


def value_set(url: str, *include: Json, exclude: tuple[Json, ...] = ()) -> Json:
    compose: Json = {"include": list(include)}
    if exclude:
        compose["exclude"] = list(exclude)
    return {"resourceType": "ValueSet", "url": url, "compose": compose}


def code_system(url: str, *codes: Any, content: str = "complete", **more: Any) -> Json:
    """codes: a code, or a concept with children."""
    concepts = [c if isinstance(c, dict) else {"code": c} for c in codes]
    return {"resourceType": "CodeSystem", "url": url, "content": content, "concept": concepts, **more}


def catalog(*packages: list[Json]) -> Catalog:
    """R4 and packages that come from a file "test.json"."""
    made = [
        Package(f"test{i}", "1", {}, tuple(rs), {(r["resourceType"], r["url"]): "test.json" for r in rs})
        for i, rs in enumerate(packages)
    ]
    return Catalog(load(), made)
