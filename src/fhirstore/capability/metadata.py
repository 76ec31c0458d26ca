"""https://hl7.org/fhir/R4/http.html#capabilities: the effective statement, which states what the server supports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fhirstore import __version__
from fhirstore.capability.declared import Declarations, DeclaredType
from fhirstore.capability.registry import ServedOperation, ServedType
from fhirstore.capability.type_searches import TypeSearches, search_param_entry

COPIED_ELEMENTS = (
    "id",
    "url",
    "version",
    "name",
    "title",
    "experimental",
    "publisher",
    "contact",
    "description",
    "copyright",
)
"""Elements of the deployment's statement that are copied."""

RESOURCE_ID = "http://hl7.org/fhir/SearchParameter/Resource-id"
RESOURCE_LAST_UPDATED = "http://hl7.org/fhir/SearchParameter/Resource-lastUpdated"


def effective_statement(
    statement: Mapping[str, Any],
    declared: Declarations,
    served: Mapping[str, ServedType],
    searches: Mapping[str, TypeSearches],
    operations: Mapping[str, ServedOperation],
) -> dict[str, Any]:
    """The CapabilityStatement of /metadata without date and implementation.url, which a running server adds."""
    about = statement.get("implementation", {}).get("description") or statement.get("title") or statement.get("name")
    resources = [_resource(declared.types[name], served[name], searches[name]) for name in served]
    rest = {
        "mode": "server",
        **declared.rest,
        "resource": resources,
        "interaction": _codes(declared.interactions),
        "operation": _operations(operations),
    }
    return {
        "resourceType": "CapabilityStatement",
        **{key: statement[key] for key in COPIED_ELEMENTS if key in statement},
        "status": statement.get("status", "active"),
        "kind": "instance",
        **{key: statement[key] for key in ("instantiates", "implementationGuide") if key in statement},
        "software": {"name": "fhirstore", "version": __version__},
        "implementation": {"description": about or "fhirstore"},
        "fhirVersion": "4.0.1",
        "format": list(declared.formats),
        "rest": [_without_empty(rest)],
    }


def _resource(declared: DeclaredType, served: ServedType, search: TypeSearches) -> dict[str, Any]:
    flags = declared.flags
    return _without_empty(
        {
            "type": served.name,
            "profile": served.profile or f"http://hl7.org/fhir/StructureDefinition/{served.name}",
            "supportedProfile": list(served.supported_profiles),
            "documentation": flags.get("documentation"),
            "interaction": _codes(declared.interactions),
            "versioning": served.versioning,
            "readHistory": served.allows("vread"),
            "updateCreate": served.update_create,
            "conditionalCreate": served.conditional_create,
            "conditionalRead": served.conditional_read,
            "conditionalUpdate": served.conditional_update,
            "conditionalDelete": served.conditional_delete,
            "referencePolicy": flags.get("referencePolicy"),
            "searchInclude": list(dict.fromkeys(one.text for one in declared.includes)),
            "searchRevInclude": list(dict.fromkeys(one.text for one in declared.rev_includes)),
            "searchParam": _search_params(search),
            "operation": _operations(served.operations),
        }
    )


def _search_params(search: TypeSearches) -> list[dict[str, Any]]:
    return [
        search_param_entry("_id", "token", RESOURCE_ID, None),
        search_param_entry("_lastUpdated", "date", RESOURCE_LAST_UPDATED, None),
        *(
            search_param_entry(
                code, r.definition.type, r.definition.url, r.declared.documentation if r.declared else None
            )
            for code, r in search.params.items()
        ),
        *search.metadata_entries.values(),
    ]


def _operations(operations: Mapping[str, ServedOperation]) -> list[dict[str, Any]]:
    return [
        _without_empty({"name": o.name, "definition": o.url, "documentation": o.documentation})
        for o in operations.values()
    ]


def _codes(codes: Iterable[str]) -> list[dict[str, str]]:
    return [{"code": code} for code in codes]


def _without_empty(part: dict[str, Any]) -> dict[str, Any]:
    """FHIR JSON has neither empty arrays nor nulls. False is kept."""
    return {key: value for key, value in part.items() if value not in (None, [], "")}
