"""https://hl7.org/fhir/R4/references.html: the resource type that a reference names, and contained resources."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from fhirstore.fhirpath.values import NoServices


def target_type(reference: Any, root: Any, resource_types: Set[str]) -> str | None:
    """The resource type that a Reference (or canonical) names. None if it names none.

    reference: a Reference as a dict, or a canonical as a str. root: the resource that contains the reference, for
    "#id". The text of the reference ("Patient/1", "http://host/fhir/Patient/1/_history/2", "Patient?…", "#id") takes
    precedence over its `type`."""
    if type(reference) is dict:
        text, declared = reference.get("reference"), reference.get("type")
    else:
        text, declared = reference, None
    if type(text) is str and text:
        if text[0] == "#":
            found = contained(text[1:], root)
            if found is not None:
                declared = found.get("resourceType")
        else:
            parts = text.partition("?")[0].split("/")
            if len(parts) > 3 and parts[-2] == "_history":
                del parts[-2:]
            # "Patient/1" and "…/Patient/1". Only the type remains of a query "Patient?identifier=…".
            named = parts[-2] if len(parts) > 1 else parts[0]
            if named in resource_types:
                return named
    return declared if type(declared) is str and declared in resource_types else None


def contained(id: str, root: Any) -> Any:
    """The contained resource with this id, the resource itself for "". None if the resource contains no such one."""
    if type(root) is not dict:
        return None
    if not id:
        return root
    resources = root.get("contained")
    if type(resources) is not list:
        return None
    return next((r for r in resources if type(r) is dict and r.get("id") == id), None)


class ReferenceTypes(NoServices):
    """Services for search expressions: contained resources are resolved, others to their resource type alone."""

    __slots__ = ("_resource_types", "_root")

    def __init__(self, root: Any, resource_types: Set[str]):
        self._root, self._resource_types = root, resource_types

    def resolve(self, reference: Any) -> dict[str, Any] | None:
        text = reference.get("reference") if type(reference) is dict else reference
        if type(text) is str and text.startswith("#"):
            found = contained(text[1:], self._root)
            return found if type(found) is dict else None
        named = target_type(reference, self._root, self._resource_types)
        return {"resourceType": named} if named else None
