"""Writes capability/r4-full.json: everything of R4 that fhirstore supports, from the R4 definitions.

python tools/build_capability.py            # writes the file
python tools/build_capability.py --stdout   # prints it
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fhirstore.capability.search_parameters import BUILT_IN, unsupported_reason
from fhirstore.capability.statement_schema import SYSTEM_INTERACTIONS, TYPE_INTERACTIONS
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load
from fhirstore.definitions.model import SearchParameterDef
from fhirstore.fhirpath.search_expressions import compile_search_expression
from fhirstore.interactions.operations.table import BUILT_IN as OPERATIONS

TARGET = Path(__file__).resolve().parents[1] / "capability" / "r4-full.json"
DESCRIPTION = (
    "All resource types of FHIR R4 with every interaction, operation and standard search parameter that fhirstore "
    "supports. Written by tools/build_capability.py. _id and _lastUpdated need not be declared: every type has them."
)


def main() -> None:
    text = render(statement(Catalog(load())))
    if "--stdout" in sys.argv[1:]:
        sys.stdout.write(text)
    else:
        TARGET.write_text(text, encoding="utf-8")


def statement(catalog: Catalog) -> dict[str, Any]:
    """The CapabilityStatement. rest.searchParam declares the parameters of all resources."""
    types = sorted(catalog.core.resource_types)
    common = {d.url: d for d in _usable(catalog, types[0]) if "Resource" in d.bases}
    return {
        "resourceType": "CapabilityStatement",
        "id": "r4-full",
        "name": "R4Full",
        "title": "FHIR R4 in full",
        "status": "active",
        "date": "2019-11-01",
        "description": DESCRIPTION,
        "kind": "instance",
        "implementation": {"description": "fhirstore, FHIR R4 in full"},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [
            {
                "mode": "server",
                "resource": [_resource(catalog, type, set(common)) for type in types],
                "interaction": [{"code": code} for code in SYSTEM_INTERACTIONS],
                "searchParam": [_search_param(d) for d in common.values()],
            }
            | ({"operation": system} if (system := _system_operations(catalog)) else {})
        ],
    }


def render(resource: dict[str, Any]) -> str:
    """JSON with one line for each search parameter and each list of interactions, for readable diffs."""
    return _render(resource, "") + "\n"


def _resource(catalog: Catalog, type: str, common: set[str]) -> dict[str, Any]:
    params = [_search_param(d) for d in _usable(catalog, type) if d.url not in common]
    return (
        {
            "type": type,
            "interaction": [{"code": code} for code in TYPE_INTERACTIONS],
            "versioning": "versioned",
            "readHistory": True,
            "updateCreate": True,
            "conditionalCreate": True,
            "conditionalRead": "full-support",
            "conditionalUpdate": True,
            "conditionalDelete": "single",
            "searchInclude": ["*"],
            "searchRevInclude": ["*"],
        }
        | ({"searchParam": params} if params else {})
        | {"operation": _operations(catalog, type)}
    )


def _system_operations(catalog: Catalog) -> list[dict[str, str]]:
    found = [d for url, d in catalog.core.operations().items() if url in OPERATIONS and d["system"]]
    return sorted(({"name": d["code"], "definition": d["url"]} for d in found), key=lambda o: o["name"])


def _operations(catalog: Catalog, type: str) -> list[dict[str, str]]:
    """The supported operations of a type and its instances, by name."""
    definitions = [d for url, d in catalog.core.operations().items() if url in OPERATIONS]
    found = [d for d in definitions if d["type"] or d["instance"]]
    here = [d for d in found if any(catalog.core.is_a(type, base) for base in d["resource"])]
    return sorted(({"name": d["code"], "definition": d["url"]} for d in here), key=lambda o: o["name"])


def _usable(catalog: Catalog, type: str) -> list[SearchParameterDef]:
    """The supported standard parameters of a type, by code."""
    found = catalog.search_parameters_for(type)
    return [
        definition
        for code, definition in sorted(found.items())
        if code not in BUILT_IN and not unsupported_reason(definition) and _compiles(catalog, type, definition)
    ]


def _compiles(catalog: Catalog, type: str, definition: SearchParameterDef) -> bool:
    try:
        compile_search_expression(catalog.core, type, definition.expression)
    except ValueError as problem:
        sys.stderr.write(f"skipped: {type}:{definition.code}: {problem}\n")
        return False
    return True


def _search_param(definition: SearchParameterDef) -> dict[str, str]:
    return {"name": definition.code, "definition": definition.url, "type": definition.type}


def _render(value: Any, indent: str) -> str:
    inner = indent + " "
    if isinstance(value, dict) and any(isinstance(v, list | dict) for v in value.values()):
        members = [f"{inner}{json.dumps(key)}: {_render(v, inner)}" for key, v in value.items()]
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(v, dict) and len(v) > 1 for v in value):
        return "[\n" + ",\n".join(inner + _render(v, inner) for v in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    main()
