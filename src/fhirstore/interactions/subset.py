"""_summary and _elements: https://hl7.org/fhir/R4/search.html#summary and #elements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from fhirstore.definitions.core import Definitions
from fhirstore.formats.json import dumps, parse
from fhirstore.interactions.base import RestRequest
from fhirstore.interactions.server import Server

SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
_ALWAYS = frozenset(("resourceType", "id", "meta"))
PARTIAL_SUMMARIES = frozenset(("true", "text", "data"))
_NESTING_OF_ENTRIES = 10
"""A stored resource may have been an entry of a Bundle, which is nested deeper than the limit of a resource alone."""


@dataclass(frozen=True, slots=True)
class Subset:
    """The elements of a resource that a client asks for.

    summary: true | text | data, anything else means the whole resource. elements: top-level names, or "Type.name" for
    one type only; they take precedence over summary. Mandatory elements are always included."""

    summary: str | None
    elements: tuple[str, ...]

    @classmethod
    def requested(cls, rest: RestRequest) -> Self | None:
        """What the query parameters ask for, None for whole resources."""
        elements = tuple(e.strip() for e in (rest.parameter("_elements") or "").split(",") if e.strip())
        summary = rest.parameter("_summary")
        return cls(summary, elements) if elements or summary in PARTIAL_SUMMARIES else None

    @property
    def is_partial(self) -> bool:
        return bool(self.elements) or self.summary in PARTIAL_SUMMARIES

    def of(self, server: Server, resource: bytes) -> bytes:
        """The subset of a resource in JSON, tagged SUBSETTED."""
        if not self.is_partial:
            return resource
        parsed = parse(resource, server.settings.max_nesting + _NESTING_OF_ENTRIES)
        out: bytes = dumps(self._of_parsed(server.registry.catalog.core, parsed))
        return out

    def _of_parsed(self, core: Definitions, resource: dict[str, Any]) -> dict[str, Any]:
        names = self._names(core, resource["resourceType"])
        node = core.node(resource["resourceType"])
        assert node is not None
        out: dict[str, Any] = {}
        for key, value in resource.items():
            entry = node.keys.get(key.removeprefix("_"))
            if key in _ALWAYS or (entry is not None and entry[0].name in names):
                out[key] = value
        out["meta"] = _tagged(out.get("meta"))
        return out

    def _names(self, core: Definitions, type: str) -> set[str]:
        """The names of the elements that are included."""
        node = core.node(type)
        assert node is not None
        mandatory = {e.name for e in node.elements.values() if e.min > 0}
        if self.elements:
            own = {e.removeprefix(f"{type}.") for e in self.elements if "." not in e or e.startswith(f"{type}.")}
            return {name.split("[")[0] for name in own} | mandatory
        if self.summary == "text":
            return {"text"} | mandatory
        if self.summary == "data":
            return {e.name for e in node.elements.values()} - {"text"}
        return {e.name for e in node.elements.values() if e.summary} | mandatory


def _tagged(meta: Any) -> dict[str, Any]:
    """The meta element with the tag SUBSETTED. Resources stored with validation off may be malformed."""
    tagged = dict(meta) if isinstance(meta, dict) else {}
    tags = tagged.get("tag")
    tags = tags if isinstance(tags, list) else []
    if not any(isinstance(tag, dict) and tag.get("code") == "SUBSETTED" for tag in tags):
        tagged["tag"] = [*tags, SUBSETTED]
    return tagged
