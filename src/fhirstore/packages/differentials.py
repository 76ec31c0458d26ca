"""Compares the differential of a profile with its base: https://hl7.org/fhir/R4/profiling.html#limitations.

A profile can only restrict its base. `validation.snapshot` ignores relaxations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.validation.snapshot import max_as_number

Element = Mapping[str, Any]


_STRUCTURED = frozenset({"Element", "BackboneElement"})
"""The types of elements with children; guides use them interchangeably."""


def relaxations(differential: list[Element], base: Mapping[str, Element]) -> Iterator[str]:
    """A text for each cardinality that is wider than in the base. base: elements by id."""
    for element in differential:
        own = base.get(str(element.get("id", element.get("path"))))
        if own is None:
            continue
        if "min" in element and int(element["min"]) < int(own.get("min", 0)):
            yield f"{element['path']}: min {element['min']}, but {own['min']} in its base, which applies"
        if "max" in element and max_as_number(element["max"]) > max_as_number(own.get("max", "*")):
            yield f"{element['path']}: max {element['max']}, but {own['max']} in its base, which applies"


def contradictions(differential: list[Element], base: Mapping[str, Element], core: Definitions) -> Iterator[str]:
    """A text for each element that no resource can satisfy."""
    for element in differential:
        own = base.get(str(element.get("id", element.get("path"))), {})
        minimum, maximum = element.get("min", own.get("min", 0)), element.get("max", own.get("max", "*"))
        if int(minimum) > max_as_number(maximum) and max_as_number(maximum) > 0:
            yield f"{element['path']}: min {minimum} is more than max {maximum}"
        allowed = [t["code"] for t in own.get("type", ())]
        for code in (t["code"] for t in element.get("type", ())):
            known = core.node(code) is not None and code not in _STRUCTURED
            if known and allowed and not any(core.is_a(code, other) for other in allowed):
                yield f"{element['path']}: type {code}, but {', '.join(allowed)} in its base"
