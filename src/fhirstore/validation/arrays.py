"""https://hl7.org/fhir/R4/json.html#primitive: arrays, and the `_name` siblings with id and extension of primitives.

`"given": ["Ann", null], "_given": [null, {"extension": […]}]`: both arrays are filled up with null, so that what stands
at one index belongs together; one of the two must be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhirstore.validation.findings import Check, Container, Findings, Problem, refuse, wrong_json


def repeated(item: Check) -> Check:
    """The check of an array of at least one value, each of which passes `item`.

    Core R4 has no elements that repeat with another lower or an upper bound.
    """

    def check(values: Any, container: Container) -> Findings | None:
        return check_array(values, container, item, ())

    return check


def check_array(values: Any, container: Container, item: Check, siblings: Sequence[Any]) -> Findings | None:
    """Like `repeated`; but where `siblings`, the array `_name`, has an object, the value may be null."""
    if type(values) is not list:
        return wrong_json(values, "an array (the element repeats)")
    if not values:
        return refuse("structure", "the array is empty; leave the property out when there is no value")
    found: Findings | None = None
    for index, value in enumerate(values):
        part = item(value, container)
        if part is None or (value is None and index < len(siblings) and siblings[index] is not None):
            continue
        found = found or Findings()
        found.absorb(part, f"[{index}]")
        if found.full:
            break
    return found


def check_sibling(sibling: Any, container: Container, element: Check, *, has_value: bool) -> Findings | None:
    """`_name` of a primitive that does not repeat. element: the check of an object with id and extension."""
    if type(sibling) is not dict:
        return wrong_json(sibling, "an object with id or extension of the primitive value")
    found = element(sibling, container)
    if found is None and not has_value and "extension" not in sibling:
        return refuse("structure", "the element has neither a value nor an extension")
    return found


def check_siblings(siblings: Any, container: Container, element: Check, values: Any) -> Findings | None:
    """`_name` of a primitive that repeats. values: the array `name` beside it, None where there is none."""
    if type(siblings) is not list:
        return wrong_json(siblings, "an array (the element repeats) with null or an object for each value")
    if not siblings:
        return refuse("structure", "the array is empty; leave the property out when there is no extension")
    beside: list[Any] = values if type(values) is list else [None] * len(siblings)
    found = Findings()
    if len(beside) != len(siblings):
        text = f"{len(beside)} values, but {len(siblings)} entries for their extensions; fill up with null"
        found.errors.append(Problem("structure", text))
    for index, sibling in enumerate(siblings):
        value = beside[index] if index < len(beside) else None
        if sibling is None:
            # with a value all is well; a null in the array of values is reported there
            if value is None and values is None:
                text = "null without a value beside it; the element has neither a value nor an extension"
                found.errors.append(Problem("structure", text, f"[{index}]"))
        elif part := check_sibling(sibling, container, element, has_value=value is not None):
            found.absorb(part, f"[{index}]")
        if found.full:
            break
    return found if found.errors or found.warnings else None
