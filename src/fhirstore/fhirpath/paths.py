"""http://hl7.org/fhirpath/N1/#path-selection: paths, indexes, type tests and extensions as closures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fhirstore.fhirpath.values import EMPTY, Environment, Evaluate, Values, single
from fhirstore.model.messages import Message


def this(value: Any, env: Environment) -> Values:
    """`$this`"""
    return [value] if value is not None else []


def property_of_this(key: str) -> Evaluate:
    """The values of a JSON property of `$this`."""
    sibling_key = "_" + key

    def run(this: Any, env: Environment) -> Values:
        if type(this) is not dict:
            return EMPTY
        found = this.get(key)
        if found is None:
            return _objects(this[sibling_key]) if sibling_key in this else EMPTY
        if type(found) is list:
            return found if None not in found else _filled(found, this.get(sibling_key))
        return [found]

    return run


def choice_of_this(keys: tuple[str, ...]) -> Evaluate:
    """The value of whichever of these properties is present (`value[x]`)."""
    names = {name: None for key in keys for name in (key, "_" + key)}

    def run(this: Any, env: Environment) -> Values:
        if type(this) is dict:
            for name, found in this.items():
                if name in names:
                    return found if type(found) is list else [found]
        return EMPTY

    return run


def untyped_property_of_this(name: str, is_type: Callable[[str], bool]) -> Evaluate:
    """The values of an element of `$this` if the type of `$this` is unknown. is_type: whether a name is a FHIR type,
    so that "valueQuantity" is found as `value`."""
    direct = property_of_this(name)

    def run(this: Any, env: Environment) -> Values:
        if type(this) is not dict:
            return EMPTY
        if name in this:
            return direct(this, env)
        for key, found in this.items():
            suffix = key[len(name) :]
            if key.startswith(name) and (is_type(suffix) or is_type(suffix[:1].lower() + suffix[1:])):
                return found if type(found) is list else [found]
        return direct(this, env)

    return run


def siblings_of_this(keys: tuple[str, ...]) -> Evaluate:
    """The objects with id and extension beside the primitives in these properties (`_birthDate`)."""
    names = frozenset("_" + key for key in keys)

    def run(this: Any, env: Environment) -> Values:
        if type(this) is not dict:
            return EMPTY
        return [value for key, found in this.items() if key in names for value in _objects(found)]

    return run


def step(target: Evaluate, of_this: Evaluate) -> Evaluate:
    """A path: `of_this` for each value of the target."""
    if target is this:
        return of_this

    def run(this: Any, env: Environment) -> Values:
        out: Values = []
        for value in target(this, env):
            out += of_this(value, env)
        return out

    return run


def _objects(sibling: Any) -> Values:
    return [s for s in sibling if s is not None] if type(sibling) is list else [sibling]


def _filled(values: Values, siblings: Any) -> Values:
    """An array of primitives. A null stands for a primitive that has only an extension."""
    others = siblings if type(siblings) is list else []
    both = [v if v is not None or i >= len(others) else others[i] for i, v in enumerate(values)]
    return [v for v in both if v is not None]


def nth(target: Evaluate, index: int) -> Evaluate:
    """`target[index]` with a literal index."""

    def run(this: Any, env: Environment) -> Values:
        return target(this, env)[index : index + 1]

    return run


def at_index(target: Evaluate, index: Evaluate) -> Evaluate:
    """`target[index]` with a computed index."""

    def run(this: Any, env: Environment) -> Values:
        number = single(index(this, env))
        if type(number) is not int:
            raise ValueError(Message("an index must be an integer"))
        return target(this, env)[number : number + 1] if number >= 0 else EMPTY

    return run


def of_type(target: Evaluate, test: Callable[[Any], bool]) -> Evaluate:
    """The values that pass a type test."""
    return lambda this, env: [v for v in target(this, env) if test(v)]


def is_type(target: Evaluate, test: Callable[[Any], bool]) -> Evaluate:
    """Whether the single value passes a type test."""

    def run(this: Any, env: Environment) -> Values:
        values = target(this, env)
        return [test(single(values))] if values else env.if_missing

    return run


def is_choice(chosen: Evaluate, any_choice: Evaluate) -> Evaluate:
    """`value is Quantity`: whether `chosen` has a value, empty if the choice has none."""
    return lambda this, env: [bool(chosen(this, env))] if any_choice(this, env) else env.if_missing


def extension(target: Evaluate, url: Evaluate) -> Evaluate:
    """The extensions with a URL: https://hl7.org/fhir/R4/fhirpath.html#functions."""

    def run(this: Any, env: Environment) -> Values:
        expected = single(url(this, env))
        lists = [v.get("extension") for v in target(this, env) if type(v) is dict]
        return [e for many in lists if type(many) is list for e in many if type(e) is dict and e.get("url") == expected]

    return run
