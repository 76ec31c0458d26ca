"""_summary and _elements: https://hl7.org/fhir/R4/search.html#summary and #elements."""

from __future__ import annotations

from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.formats.json import dumps, parse

SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
ALWAYS = frozenset(("resourceType", "id", "meta"))


def subset(
    core: Definitions, resource: dict[str, Any], summary: str | None, elements: tuple[str, ...]
) -> dict[str, Any]:
    """A copy with only what was asked for, labelled SUBSETTED. Mandatory elements always stay.

    summary: true | text | data. elements: top-level names, "Type.name" for one type only; they win over summary."""
    type = resource["resourceType"]
    node = core.node(type)
    assert node is not None
    mandatory = {e.name for e in node.elements.values() if e.min > 0}
    if elements:
        mine = {
            e.split(".", 1)[1] if e.startswith(f"{type}.") else e
            for e in elements
            if "." not in e or e.startswith(f"{type}.")
        }
        kept = {n.split("[")[0] for n in mine} | mandatory
    elif summary == "text":
        kept = {"text"} | mandatory
    elif summary == "data":
        kept = {e.name for e in node.elements.values()} - {"text"}
    else:
        kept = {e.name for e in node.elements.values() if e.summary} | mandatory
    out: dict[str, Any] = {}
    for key, value in resource.items():
        bare = key[1:] if key.startswith("_") else key
        entry = node.keys.get(bare)
        if key in ALWAYS or (entry is not None and entry[0].name in kept):
            out[key] = value
    # What was stored with validation off may have another form than FHIR's.
    found = out.get("meta")
    meta = dict(found) if isinstance(found, dict) else {}
    tags = meta.get("tag")
    tags = tags if isinstance(tags, list) else []
    if not any(isinstance(t, dict) and t.get("code") == "SUBSETTED" for t in tags):
        meta["tag"] = [*tags, SUBSETTED]
    out["meta"] = meta
    return out


def subset_bytes(core: Definitions, raw: bytes, summary: str | None, elements: tuple[str, ...], nesting: int) -> bytes:
    """The same on bytes. Nothing asked: the bytes as they are."""
    if not elements and summary not in ("true", "text", "data"):
        return raw
    out: bytes = dumps(subset(core, parse(raw, nesting + 10), summary, elements))
    return out
