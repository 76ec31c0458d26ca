"""The closures of search expressions.

A step is called with a value, its resource, and the list that collects the results. Each step passes the values it
finds to the next one; the last one, `leaf`, adds them to the list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

TypedValue = tuple[str, Any]
"""(FHIR type, JSON value)"""
Extract = Callable[[dict[str, Any]], list[TypedValue]]
Run = Callable[[Any, Any, list[TypedValue]], None]
Test = Callable[[Any, Any], bool | None]
"""(value, resource) -> true, false, None if the result is empty"""

TEXTS = frozenset({"string", "code", "uri", "url", "canonical", "id", "markdown", "oid", "uuid", "base64Binary"})
TIMES = frozenset({"date", "dateTime", "instant", "time"})
STRINGS = TEXTS | TIMES | {"xhtml"}
INTEGERS = frozenset({"integer", "positiveInt", "unsignedInt"})
NUMBERS = INTEGERS | {"decimal"}


@dataclass(frozen=True, slots=True)
class Step:
    """run: the closure. leaf: the type that it collects; None if it does more than that."""

    run: Run
    leaf: str | None = None


def json_types(fhir_type: str) -> frozenset[type]:
    """The Python types of a FHIR type's JSON values."""
    if fhir_type in STRINGS:
        return frozenset({str})
    if fhir_type in INTEGERS:
        return frozenset({int})
    if fhir_type == "boolean":
        return frozenset({bool})
    if fhir_type == "decimal":
        return frozenset({int, float, Decimal})
    return frozenset({dict})


def leaf(fhir_type: str) -> Step:
    """Collects the value as a `fhir_type`."""
    accepted = json_types(fhir_type)

    def collect(value: Any, root: Any, out: list[TypedValue]) -> None:
        if type(value) in accepted:
            out.append((fhir_type, value))

    return Step(collect, fhir_type)


def resource_leaf() -> Step:
    """Collects a resource with its own resourceType as the type."""

    def collect(value: Any, root: Any, out: list[TypedValue]) -> None:
        if type(value) is dict and type(value.get("resourceType")) is str:
            out.append((value["resourceType"], value))

    return Step(collect)


def key(name: str, repeats: bool, then: Step) -> Step:
    """The value of a property, or each item of its list."""
    if then.leaf is not None:
        return Step(_key_leaf(name, repeats, then.leaf))
    run = then.run

    def one(value: Any, root: Any, out: list[TypedValue]) -> None:
        if type(value) is dict:
            found = value.get(name)
            if found is not None:
                run(found, root, out)

    def each(value: Any, root: Any, out: list[TypedValue]) -> None:
        if type(value) is dict:
            found = value.get(name)
            if type(found) is list:
                for item in found:
                    run(item, root, out)

    return Step(each if repeats else one)


def _key_leaf(name: str, repeats: bool, fhir_type: str) -> Run:
    """`key` and `leaf` in one call, because most search expressions end with them."""
    accepted = json_types(fhir_type)

    def one(value: Any, root: Any, out: list[TypedValue]) -> None:
        if type(value) is dict:
            found = value.get(name)
            if type(found) in accepted:
                out.append((fhir_type, found))

    def each(value: Any, root: Any, out: list[TypedValue]) -> None:
        if type(value) is dict:
            found = value.get(name)
            if type(found) is list:
                out.extend([(fhir_type, item) for item in found if type(item) in accepted])

    return each if repeats else one


def choice(by_key: Mapping[str, Step]) -> Step:
    """The value of whichever of these properties is present (`value[x]`, which never repeats)."""
    runs = {name: step.run for name, step in by_key.items()}

    def one_of(value: Any, root: Any, out: list[TypedValue]) -> None:
        if type(value) is dict:
            for name, found in value.items():
                run = runs.get(name)
                if run is not None:
                    run(found, root, out)

    return Step(one_of)


def sequence(steps: Sequence[Step]) -> Step:
    """All steps in order, on the same value."""
    if len(steps) == 1:
        return steps[0]
    runs = tuple(step.run for step in steps)

    def every(value: Any, root: Any, out: list[TypedValue]) -> None:
        for run in runs:
            run(value, root, out)

    return Step(every)


def when(test: Test, then: Step) -> Step:
    """The value if the test is true."""
    run = then.run

    def filtered(value: Any, root: Any, out: list[TypedValue]) -> None:
        if test(value, root) is True:
            run(value, root, out)

    return Step(filtered)


def answer(test: Test, then: Step) -> Step:
    """The result of the test as a value; nothing if it is empty."""
    run = then.run

    def answered(value: Any, root: Any, out: list[TypedValue]) -> None:
        result = test(value, root)
        if result is not None:
            run(result, root, out)

    return Step(answered)


def nth(collect: Run, index: int, then: Mapping[str, Step]) -> Step:
    """The value at `index` (from 0) of those that `collect` finds. then: the step for its type; "" for other types."""

    def picked(value: Any, root: Any, out: list[TypedValue]) -> None:
        found: list[TypedValue] = []
        collect(value, root, found)
        if index < len(found):
            fhir_type, item = found[index]
            step = then.get(fhir_type) or then.get("")
            if step is not None:
                step.run(item, root, out)

    return Step(picked)


def at_root(then: Step) -> Step:
    """Continues with the resource instead of the value."""
    run = then.run
    return Step(lambda value, root, out: run(root, root, out))


# --- tests ------------------------------------------------------------------------------------------


def equals_key(name: str, literal: str | bool) -> Test:
    """`name = literal` for an element that does not repeat."""
    kind = type(literal)

    def test(value: Any, root: Any) -> bool | None:
        found = value.get(name) if type(value) is dict else None
        return None if found is None else type(found) is kind and found == literal

    return test


def equals(collect: Run, comparable: frozenset[str], literal: Any) -> Test:
    """`path = literal`: a single value of a comparable type that is equal."""

    def test(value: Any, root: Any) -> bool | None:
        found: list[TypedValue] = []
        collect(value, root, found)
        if not found:
            return None
        return len(found) == 1 and found[0][0] in comparable and bool(found[0][1] == literal)

    return test


def exists(collect: Run) -> Test:
    def test(value: Any, root: Any) -> bool | None:
        found: list[TypedValue] = []
        collect(value, root, found)
        return bool(found)

    return test


def truth(collect: Run) -> Test:
    """A path as a test: its boolean. Any other single value is true."""

    def test(value: Any, root: Any) -> bool | None:
        found: list[TypedValue] = []
        collect(value, root, found)
        return found[0][1] is not False if len(found) == 1 else None

    return test


def negated(inner: Test) -> Test:
    def test(value: Any, root: Any) -> bool | None:
        result = inner(value, root)
        return None if result is None else not result

    return test


def both(left: Test, right: Test) -> Test:
    def test(value: Any, root: Any) -> bool | None:
        first = left(value, root)
        if first is False:
            return False
        second = right(value, root)
        if second is False:
            return False
        return True if first and second else None

    return test


def either(left: Test, right: Test) -> Test:
    def test(value: Any, root: Any) -> bool | None:
        first = left(value, root)
        if first is True:
            return True
        second = right(value, root)
        if second is True:
            return True
        return False if first is False and second is False else None

    return test
