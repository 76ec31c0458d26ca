"""https://hl7.org/fhir/R4/codesystem-operation-lookup.html and
https://hl7.org/fhir/R4/codesystem-operation-subsumes.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fhirstore.terminology.code_systems import CodeSystem
from fhirstore.terminology.display import designation_json, display_in
from fhirstore.terminology.model import Concept

_ALWAYS_RETURNED = frozenset({"url", "system", "name", "version", "display", "designation"})
"""Properties that have their own out parameters, which are always returned."""


def look_up(
    code_system: CodeSystem,
    code: str,
    requested: Sequence[str],
    language: str | None,
    definitions: Mapping[str, str],
) -> dict[str, Any]:
    """The out parameters of $lookup.

    requested: codes of properties, empty = all. definitions: by code, for concepts without a definition of their own.
    Raises Unresolved if the code system does not contain the code."""
    concept = code_system.require(code)
    names = set(requested) - _ALWAYS_RETURNED
    properties = _properties(code_system, concept, definitions)
    if requested:
        properties = [p for p in properties if p["code"] in names]
    languages = {name.removeprefix("lang.") for name in names if name.startswith("lang.")}
    designations = concept.designation if not languages or "designation" in requested else ()
    out: dict[str, Any] = {
        "name": code_system.name,
        "version": code_system.version,
        "display": display_in(concept.display, concept.designation, language) or concept.code,
        "designation": [
            designation_json(d) for d in (designations or [d for d in concept.designation if d.language in languages])
        ],
        "property": properties,
    }
    return {key: value for key, value in out.items() if value}


def _properties(code_system: CodeSystem, concept: Concept, definitions: Mapping[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if definition := concept.definition or definitions.get(concept.code):
        found.append({"code": "definition", "value": ("string", definition)})
    own = {item.get("code") for item in concept.property}
    for item in concept.property:
        key = next((k for k in item if k.startswith("value")), None)
        if key is not None:
            type = key[5].lower() + key[6:]
            row = {"code": str(item.get("code")), "value": (type, item[key])}
            if text := code_system.descriptions.get(str(item.get("code"))):
                row["description"] = text
            found.append(row)
    if "inactive" not in own:
        found.append({"code": "inactive", "value": ("boolean", code_system.is_inactive(concept))})
    for name, edges in (("parent", code_system.parents), ("child", code_system.children)):
        known = {str(i.get("valueCode")) for i in concept.property if i.get("code") == name}
        found += [_related(code_system, name, other) for other in edges.get(concept.code, ()) if other not in known]
    return found


def _related(code_system: CodeSystem, name: str, code: str) -> dict[str, Any]:
    concept = code_system.concepts.get(code)
    row: dict[str, Any] = {"code": name, "value": ("code", code)}
    return row | ({"description": concept.display} if concept is not None and concept.display else {})


def subsumption(code_system: CodeSystem, code_a: str, code_b: str) -> str:
    """equivalent | subsumes | subsumed-by | not-subsumed. Raises Unresolved for an unknown code."""
    a, b = code_system.require(code_a).code, code_system.require(code_b).code
    if a == b:
        return "equivalent"
    if b in code_system.descendants(a):
        return "subsumes"
    return "subsumed-by" if a in code_system.descendants(b) else "not-subsumed"
