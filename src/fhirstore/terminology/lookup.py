"""https://hl7.org/fhir/R4/codesystem-operation-lookup.html and
https://hl7.org/fhir/R4/codesystem-operation-subsumes.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fhirstore.terminology.display import designation_json, display_in
from fhirstore.terminology.model import Concept
from fhirstore.terminology.systems import System

_NAMED = frozenset({"url", "system", "name", "version", "display", "designation"})
"""Properties that have out parameters of their own, which are always given."""


def look_up(
    system: System,
    code: str,
    wanted: Sequence[str],
    language: str | None,
    definitions: Mapping[str, str],
) -> dict[str, Any]:
    """The out parameters of $lookup. wanted: codes of properties, none = all. definitions: of concepts that have none
    themselves. Raises Undecided where the system does not have the code."""
    concept = system.known(code)
    asked = set(wanted) - _NAMED
    properties = _properties(system, concept, definitions)
    if wanted:
        properties = [p for p in properties if p["code"] in asked]
    languages = {name.removeprefix("lang.") for name in asked if name.startswith("lang.")}
    designations = concept.designation if not languages or "designation" in wanted else ()
    out: dict[str, Any] = {
        "name": system.name,
        "version": system.version,
        "display": display_in(concept.display, concept.designation, language) or concept.code,
        "designation": [
            designation_json(d) for d in (designations or [d for d in concept.designation if d.language in languages])
        ],
        "property": properties,
    }
    return {key: value for key, value in out.items() if value}


def _properties(system: System, concept: Concept, definitions: Mapping[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if definition := concept.definition or definitions.get(concept.code):
        found.append({"code": "definition", "value": ("string", definition)})
    own = {item.get("code") for item in concept.property}
    for item in concept.property:
        key = next((k for k in item if k.startswith("value")), None)
        if key is not None:
            type = key[5].lower() + key[6:]
            row = {"code": str(item.get("code")), "value": (type, item[key])}
            if text := system.descriptions.get(str(item.get("code"))):
                row["description"] = text
            found.append(row)
    if "inactive" not in own:
        found.append({"code": "inactive", "value": ("boolean", system.is_inactive(concept))})
    for name, edges in (("parent", system.parents), ("child", system.children)):
        known = {str(i.get("valueCode")) for i in concept.property if i.get("code") == name}
        found += [_related(system, name, other) for other in edges.get(concept.code, ()) if other not in known]
    return found


def _related(system: System, name: str, code: str) -> dict[str, Any]:
    concept = system.concepts.get(code)
    row: dict[str, Any] = {"code": name, "value": ("code", code)}
    return row | ({"description": concept.display} if concept is not None and concept.display else {})


def subsumption(system: System, code_a: str, code_b: str) -> str:
    """equivalent | subsumes | subsumed-by | not-subsumed. Raises Undecided for codes that the system does not have."""
    a, b = system.known(code_a).code, system.known(code_b).code
    if a == b:
        return "equivalent"
    if b in system.descendants(a):
        return "subsumes"
    return "subsumed-by" if a in system.descendants(b) else "not-subsumed"
