"""The closures of search expressions: steps, tests, and `extraction`, which runs them on a resource.

A step is called with a value, the resource that contains it (as `ContainedResources`), and the list that collects the
results. Each step passes the values it finds to the next one; the last one, `leaf`, adds them to the list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fhirstore.fhirpath.evaluation import Environment, Evaluate, boolean
from fhirstore.fhirpath.services import ContainedResources, NoServices

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
    return Step(lambda value, root, out: run(root.resource, root, out))


def extraction(step: Step, only_first: bool, can_fail: bool, uses_root: bool) -> Extract:
    """Runs a step on resources. only_first: one value is enough. can_fail: a resource on which a test raises ValueError
    or TypeError has no values. uses_root: a step looks at the resource or at its contained resources."""
    run = step.run

    def extract(resource: dict[str, Any]) -> list[TypedValue]:
        out: list[TypedValue] = []
        run(resource, ContainedResources(resource) if uses_root else None, out)
        return out

    def extract_first(resource: dict[str, Any]) -> list[TypedValue]:
        return extract(resource)[:1]

    def extract_or_nothing(resource: dict[str, Any]) -> list[TypedValue]:
        try:
            found = extract(resource)
        except (ValueError, TypeError):
            return []
        return found[:1] if only_first else found

    return extract_or_nothing if can_fail else extract_first if only_first else extract


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


def general(evaluate: Evaluate, resource_types: Set[str]) -> Test:
    """A criterion that `compiler` compiled. The test raises ValueError if its evaluation fails."""

    def test(value: Any, root: Any) -> bool | None:
        services = ReferenceTypes(root, resource_types)
        resource = root.resource
        return boolean(evaluate(value, Environment(resource, resource, resource, services)))

    return test


def resolves_to(matching: Set[str], resource_types: Set[str]) -> Test:
    """`resolve() is Type` of a reference."""

    def test(value: Any, root: Any) -> bool | None:
        found = target_type(value, root, resource_types)
        return None if found is None else found in matching

    return test


def all_resolve_to(collect: Run, matching: Set[str], resource_types: Set[str]) -> Test:
    """`path.resolve() is Type`: empty unless one reference names a type."""

    def test(value: Any, root: Any) -> bool | None:
        out: list[TypedValue] = []
        collect(value, root, out)
        named = [t for t in (target_type(v, root, resource_types) for _, v in out) if t is not None]
        return named[0] in matching if len(named) == 1 else None

    return test


# --- references: https://hl7.org/fhir/R4/references.html ----------------------------------------------


def target_type(reference: Any, root: ContainedResources, resource_types: Set[str]) -> str | None:
    """The resource type that a Reference (or canonical) names. None if it names none.

    reference: a Reference as a dict, or a canonical as a str. root: the resource that contains the reference, for
    "#id". The text of the reference ("Patient/1", "http://host/fhir/Patient/1/_history/2", "Patient?…", "#id") takes
    precedence over its `type`."""
    if type(reference) is dict:
        text, declared = reference.get("reference"), reference.get("type")
    else:
        text, declared = reference, None
    if type(text) is str and text:
        if text[0] == "#":
            found = root.find(text[1:])
            if found is not None:
                declared = found.get("resourceType")
        else:
            parts = text.partition("?")[0].split("/")
            if len(parts) > 3 and parts[-2] == "_history":
                del parts[-2:]
            # "Patient/1" and "…/Patient/1". Only the type remains of a query "Patient?identifier=…".
            named = parts[-2] if len(parts) > 1 else parts[0]
            if named in resource_types:
                return named
    return declared if type(declared) is str and declared in resource_types else None


class ReferenceTypes(NoServices):
    """Services for search expressions: contained resources are resolved, others to their resource type alone."""

    __slots__ = ("_resource_types", "_root")

    def __init__(self, root: ContainedResources, resource_types: Set[str]):
        self._root, self._resource_types = root, resource_types

    def resolve(self, reference: Any) -> dict[str, Any] | None:
        text = reference.get("reference") if type(reference) is dict else reference
        if type(text) is str and text.startswith("#"):
            return self._root.find(text[1:])
        named = target_type(reference, self._root, self._resource_types)
        return {"resourceType": named} if named else None
