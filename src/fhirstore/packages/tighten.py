"""https://hl7.org/fhir/R4/profiling.html#limitations: a profile only tightens its base.

What a differential states beyond that is no use: the base counts all the same (`validation.snapshot`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.validation.snapshot import max_as_number

Element = Mapping[str, Any]


_PARTS = frozenset({"Element", "BackboneElement"})
"""Of what has parts of its own; guides use the one for the other."""


def loosened(differential: list[Element], base: Mapping[str, Element]) -> Iterator[str]:
    """A text for each cardinality that allows what the base, given by element id, does not."""
    for element in differential:
        own = base.get(str(element.get("id", element.get("path"))))
        if own is None:
            continue
        if "min" in element and int(element["min"]) < int(own.get("min", 0)):
            yield f"{element['path']}: min {element['min']}, but {own['min']} in its base, which counts"
        if "max" in element and max_as_number(element["max"]) > max_as_number(own.get("max", "*")):
            yield f"{element['path']}: max {element['max']}, but {own['max']} in its base, which counts"


def impossible(differential: list[Element], base: Mapping[str, Element], core: Definitions) -> Iterator[str]:
    """A text for each element that no resource can have as it is stated."""
    for element in differential:
        own = base.get(str(element.get("id", element.get("path"))), {})
        least, most = element.get("min", own.get("min", 0)), element.get("max", own.get("max", "*"))
        if int(least) > max_as_number(most) and max_as_number(most) > 0:
            yield f"{element['path']}: min {least} is more than max {most}"
        allowed = [t["code"] for t in own.get("type", ())]
        for code in (t["code"] for t in element.get("type", ())):
            known = core.node(code) is not None and code not in _PARTS
            if known and allowed and not any(core.is_a(code, other) for other in allowed):
                yield f"{element['path']}: type {code}, but {', '.join(allowed)} in its base"
