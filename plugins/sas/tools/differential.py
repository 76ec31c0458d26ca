"""A small notation for StructureDefinitions as differentials: https://hl7.org/fhir/R4/elementdefinition.html."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

HL7 = "http://hl7.org/fhir/StructureDefinition/"
FR = "http://interopsante.org/fhir/StructureDefinition/"
BY_URL = ("value", "url", "open")


def el(
    path: str,
    card: str | None = None,
    *,
    slices: tuple[str, str, str] | None = None,
    types: Sequence[Json] = (),
    binding: tuple[str, str] | None = None,
    invariant: tuple[str, str, str] | None = None,
    **facts: Any,
) -> Json:
    """One element. path: an element id below the resource type ("serviceType:TypeConsultation.coding.system").

    card: "min..max". slices: (discriminator type, discriminator path, rules). binding: (strength, value set).
    invariant: (key, text, FHIRPath). facts: anything else under its FHIR name (patternUri, fixedCode, mustSupport…)."""
    out: Json = {"path": path}
    last = path.rpartition(".")[2]
    if ":" in last:
        out["sliceName"] = last.partition(":")[2]
    if slices:
        kind, where, rules = slices
        out["slicing"] = {"discriminator": [{"type": kind, "path": where}], "ordered": False, "rules": rules}
    if card:
        low, _, high = card.partition("..")
        out |= {"min": int(low), "max": high}
    if types:
        out["type"] = list(types)
    out |= {name: fact for name, fact in facts.items() if name != "mustSupport"}
    if invariant:
        key, human, expression = invariant
        out["constraint"] = [{"key": key, "severity": "error", "human": human, "expression": expression}]
    if facts.get("mustSupport"):
        out["mustSupport"] = True
    if binding:
        out["binding"] = {"strength": binding[0], "valueSet": binding[1]}
    return out


def ref(*targets: str, aggregation: Sequence[str] = ()) -> list[Json]:
    """The type Reference with its target profiles."""
    out: Json = {"code": "Reference", "targetProfile": list(targets)}
    if aggregation:
        out["aggregation"] = list(aggregation)
    return [out]


def typ(code: str, profile: str | None = None) -> list[Json]:
    """A type, with the profile it must follow."""
    return [{"code": code, "profile": [profile]} if profile else {"code": code}]


def ext(path: str, name: str, url: str, card: str = "0..1") -> list[Json]:
    """The elements that slice extensions by URL and name one of them."""
    prefix = f"{path}." if path else ""
    return [
        el(f"{prefix}extension", slices=BY_URL),
        el(f"{prefix}extension:{name}", card, types=typ("Extension", url)),
    ]


def structure(
    url: str,
    type: str,
    base: str,
    title: str,
    description: str,
    elements: Sequence[Json],
    *,
    name: str | None = None,
    id: str | None = None,
    version: str,
    kind: str = "resource",
    context: Sequence[str] = (),
) -> Json:
    """A StructureDefinition that constrains `base`."""
    slug = url.rpartition("/")[2]
    out: Json = {
        "resourceType": "StructureDefinition",
        "id": id or slug,
        "url": url,
        "version": version,
        "name": name or slug,
        "title": title,
        "status": "active",
        "description": description,
        "fhirVersion": "4.0.1",
        "kind": kind,
        "abstract": False,
    }
    if context:
        out["context"] = [{"type": "element", "expression": one} for one in context]
    out |= {"type": type, "baseDefinition": base, "derivation": "constraint"}
    out["differential"] = {"element": [{"id": type, "path": type}, *(_rooted(type, one) for one in _once(elements))]}
    return out


def extension(
    url: str,
    title: str,
    description: str,
    context: Sequence[str],
    elements: Sequence[Json],
    *,
    version: str,
    **more: Any,
) -> Json:
    """An extension's StructureDefinition; its url is fixed here."""
    fixed = el("url", fixedUri=url)
    before = [one for one in elements if not one["path"].startswith("value")]
    after = [one for one in elements if one["path"].startswith("value")]
    return structure(
        url,
        "Extension",
        HL7 + "Extension",
        title,
        description,
        [*before, fixed, *after],
        version=version,
        kind="complex-type",
        context=context,
        **more,
    )


def _once(elements: Sequence[Json]) -> list[Json]:
    """Without the repetitions of slicing announcements that `ext` makes."""
    seen: set[str] = set()
    out = []
    for one in elements:
        if one["path"] not in seen:
            seen.add(one["path"])
            out.append(one)
    return out


def _rooted(type: str, element: Json) -> Json:
    id = f"{type}.{element['path']}"
    return {"id": id, **element, "path": re.sub(r":[^.]+", "", id)}
