"""What the evaluation of an expression needs beyond the resource itself."""

from __future__ import annotations

from typing import Any, Protocol

from fhirstore.model.messages import Message


class Services(Protocol):
    """What an evaluation needs beyond the resource itself."""

    def resolve(self, reference: Any) -> dict[str, Any] | None:
        """The target of a Reference (a dict) or of a canonical or URI (a str). None if it is not available."""

    def member_of(self, value: Any, value_set: str) -> bool:
        """Whether a code, Coding or CodeableConcept is in a value set. Raises ValueError if that cannot be decided."""

    def conforms_to(self, value: Any, profile: str) -> bool:
        """Whether a value conforms to a profile. Raises ValueError if that cannot be decided."""


class NoServices:
    """Services of an evaluation that sees one resource and nothing else."""

    __slots__ = ()

    def resolve(self, reference: Any) -> dict[str, Any] | None:
        return None

    def member_of(self, value: Any, value_set: str) -> bool:
        raise ValueError(Message("memberOf('{value_set}'): no terminology is available here", value_set=value_set))

    def conforms_to(self, value: Any, profile: str) -> bool:
        raise ValueError(Message("conformsTo('{profile}'): no profiles are available here", profile=profile))


class ContainedResources:
    """A resource and, by id, the resources that it contains. The index is made with the first look-up."""

    __slots__ = ("_by_id", "resource")

    def __init__(self, resource: Any):
        self.resource = resource
        self._by_id: dict[Any, dict[str, Any]] | None = None

    def find(self, id: str) -> dict[str, Any] | None:
        """The contained resource with this id, the resource itself for "". None if there is no such resource."""
        if type(self.resource) is not dict:
            return None
        if not id:
            return self.resource
        if self._by_id is None:
            self._by_id = {}
            found = self.resource.get("contained")
            for one in found if type(found) is list else ():
                if type(one) is dict and type(one.get("id")) is str:
                    self._by_id.setdefault(one["id"], one)
        return self._by_id.get(id)
