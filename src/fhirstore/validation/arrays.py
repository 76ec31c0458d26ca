"""https://hl7.org/fhir/R4/json.html#primitive: arrays, and the `_name` siblings with ids and extensions of primitives.

`"given": ["Ann", null], "_given": [null, {"extension": […]}]`: both arrays are padded with null, so that the items at
the same index belong together. At least one of them must have a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhirstore.model.messages import Message
from fhirstore.validation.issue_list import IssueList, RelativeIssue, merged, single_error, wrong_json
from fhirstore.validation.value_checks import Check, StructureScope, repeated_check


def repeated(item: Check) -> Check:
    """See `value_checks.repeated_check`."""
    return repeated_check(item, no_array)


def no_array(values: Any) -> IssueList:
    """The error of a value that is no array, or an empty one."""
    if type(values) is not list:
        return wrong_json(values, Message("an array (the element repeats)"))
    return single_error("structure", Message("the array is empty; omit the property if it has no value"))


def check_padded(values: list[Any], scope: StructureScope, item: Check, siblings: Sequence[Any]) -> IssueList | None:
    """Like `repeated`, but a value can be null if `siblings`, the array `_name`, has an object at its index."""
    found: IssueList | None = None
    for index, value in enumerate(values):
        part = item(value, scope)
        if part is None or (value is None and index < len(siblings) and siblings[index] is not None):
            continue
        found = merged(found, part, f"[{index}]")
        if found is not None and found.is_full:
            break
    return found


def check_sibling(sibling: Any, scope: StructureScope, element: Check, *, has_value: bool) -> IssueList | None:
    """Checks `_name` of a primitive that does not repeat. element: the check of an object with id and extensions."""
    if type(sibling) is not dict:
        return wrong_json(sibling, Message("an object with the id and the extensions of the primitive"))
    found = element(sibling, scope)
    if found is None and not has_value and "extension" not in sibling:
        return single_error("structure", Message("the element has neither a value nor an extension"))
    return found


def check_siblings(siblings: Any, scope: StructureScope, element: Check, values: Any) -> IssueList | None:
    """Checks `_name` of a primitive that repeats. values: the array `name`, None if it is absent."""
    if type(siblings) is not list:
        return wrong_json(siblings, Message("an array (the element repeats) with null or an object for each value"))
    if not siblings:
        return single_error("structure", Message("the array is empty; omit the property if there are no extensions"))
    padded: list[Any] = values if type(values) is list else [None] * len(siblings)
    found = IssueList()
    if len(padded) != len(siblings):
        text = Message(
            "{count} values, but {siblings} entries for their extensions; pad the shorter array with null",
            count=len(padded),
            siblings=len(siblings),
        )
        found.errors.append(RelativeIssue("structure", text))
    for index, sibling in enumerate(siblings):
        value = padded[index] if index < len(padded) else None
        if sibling is None:
            # A null in the array of values is reported there.
            if value is None and values is None:
                text = Message(
                    "null without a value at the same index; the element has neither a value nor an extension"
                )
                found.errors.append(RelativeIssue("structure", text, f"[{index}]"))
        elif part := check_sibling(sibling, scope, element, has_value=value is not None):
            found.merge(part, f"[{index}]")
        if found.is_full:
            break
    return found if found.errors or found.warnings else None
