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
