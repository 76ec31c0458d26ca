"""Small profiles for tests, and a validator of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support.terms import catalog, code_system, value_set

from fhirstore.validation.validator import ProfileValidator

__all__ = ["catalog", "code_system", "value_set"]

CORE = "http://hl7.org/fhir/StructureDefinition/"
URL = "http://example.org/StructureDefinition/"
P = URL + "p"
Json = dict[str, Any]
Fault = tuple[str, str, str]


def element(id: str, **facts: Any) -> Json:
    """An ElementDefinition; path and sliceName follow from the id."""
    out: Json = {"id": id, "path": ".".join(part.partition(":")[0] for part in id.split("."))}
    if slice_name := id.rpartition(".")[2].partition(":")[2]:
        out["sliceName"] = slice_name
    return out | facts


def sliced(id: str, *discriminators: str, rules: str = "open", ordered: bool = False, **facts: Any) -> Json:
    """An element that is sliced. discriminators: "type path"."""
    split = [d.split(" ", 1) for d in discriminators]
    slicing = {"discriminator": [{"type": t, "path": p} for t, p in split], "rules": rules, "ordered": ordered}
    return element(id, slicing=slicing, **facts)


def profile(url: str, type: str, *elements: Json, base: str | None = "", kind: str = "resource", **more: Any) -> Json:
    """A StructureDefinition with a differential over the R4 type, or over `base`."""
    out = {
        "resourceType": "StructureDefinition",
        "url": url,
        "name": url.rpartition("/")[2],
        "kind": kind,
        "type": type,
        "derivation": "constraint",
        "differential": {"element": list(elements)},
        **more,
    }
    if base is not None:
        out["baseDefinition"] = base or CORE + type
    return out


def extension(url: str, *elements: Json, context: tuple[str, ...] = ("Element",), **more: Any) -> Json:
    """The definition of an extension that may stand in the elements `context`."""
    stands = [{"type": "element", "expression": c} for c in context]
    fixed = element("Extension.url", fixedUri=url)
    return profile(url, "Extension", *elements, fixed, kind="complex-type", context=stands, **more)


def checker(*resources: Json, text_only_severity: str = "error") -> Callable[..., list[Fault]]:
    """A function that gives (code, expression, diagnostics) of the errors of a resource with the profile `P`."""
    validator = ProfileValidator(catalog(list(resources)), text_only_severity=text_only_severity)

    def check(resource: Any, canonical: str = P, severity: str = "error") -> list[Fault]:
        issues = validator.validate(resource, canonical)
        return [(i.code, i.expression[0], i.diagnostics) for i in issues if i.severity == severity]

    return check


def places(faults: list[Fault]) -> list[tuple[str, str]]:
    """Code and expression of each fault."""
    return [(code, expression) for code, expression, _ in faults]
