"""The resource around a value during structure validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fhirstore.fhirpath.evaluation import NoServices, contained
from fhirstore.validation.issue_list import IssueList


class StructureScope(NoServices):
    """The resource that is being checked, with its contained resources, to which "#id" refers.

    in_transaction: whether the resource is an entry of a transaction Bundle, in which references can be searches
    (https://hl7.org/fhir/R4/http.html#trules). current: the resource itself, or the contained one that is being
    checked."""

    __slots__ = ("_contained", "current", "in_transaction", "resource")

    def __init__(self, resource: dict[str, Any], in_transaction: bool):
        self.resource = self.current = resource
        self.in_transaction = in_transaction
        self._contained: dict[str, str] | None = None

    def for_contained(self, resource: dict[str, Any]) -> StructureScope:
        """The scope of a contained resource."""
        scope = StructureScope(self.resource, self.in_transaction)
        scope.current = resource
        return scope

    def resolve(self, reference: Any) -> dict[str, Any] | None:
        """The contained resource that "#id" refers to, or the resource itself ("#"). None for all other references."""
        text = reference.get("reference") if type(reference) is dict else reference
        if type(text) is not str or not text.startswith("#"):
            return None
        found = contained(text[1:], self.resource)
        return found if type(found) is dict else None

    def contained_type(self, id: str) -> str | None:
        """The type of the contained resource `id`, or of the resource itself if `id` is empty.

        None if there is no such resource. Empty if it has no resourceType."""
        if not id:
            return str(self.resource.get("resourceType"))
        if self._contained is None:
            resources = self.resource.get("contained")
            self._contained = {
                r["id"]: str(r.get("resourceType", ""))
                for r in (resources if type(resources) is list else ())
                if type(r) is dict and type(r.get("id")) is str
            }
        return self._contained.get(id)


Check = Callable[[Any, StructureScope], IssueList | None]
"""Checks one JSON value of a resource. None if it finds nothing."""
