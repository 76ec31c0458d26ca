"""https://hl7.org/fhir/R4/references.html: which resource type a reference names, told without following it."""

from __future__ import annotations

from collections.abc import Set
from typing import Any


def target_type(reference: Any, root: Any, resource_types: Set[str]) -> str | None:
    """The resource type that a Reference (or canonical) names; None when it cannot be told.

    reference: a Reference as a dict, or a canonical as a str. root: the resource it stands in, for "#id". The
    reference's text decides ("Patient/1", "http://host/fhir/Patient/1/_history/2", "Patient?…", "#id"), then its
    `type`."""
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
            # "Patient/1" and "…/Patient/1"; of a query "Patient?identifier=…" only the type is left.
            named = parts[-2] if len(parts) > 1 else parts[0]
            if named in resource_types:
                return named
    return declared if type(declared) is str and declared in resource_types else None


def contained(id: str, root: Any) -> Any:
    """The contained resource with this id; the resource itself for ""; None when there is none."""
    if type(root) is not dict:
        return None
    if not id:
        return root
    inside = root.get("contained")
    if type(inside) is not list:
        return None
    return next((r for r in inside if type(r) is dict and r.get("id") == id), None)
