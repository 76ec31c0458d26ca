"""http://hl7.org/fhirpath/N1/#types: closures of paths and tests that depend on the type of a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fhirstore.fhirpath.evaluation import EMPTY, Environment, Evaluate, Values, objects, property_of_this, single
from fhirstore.model.messages import Message


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
        return [value for key, found in this.items() if key in names for value in objects(found)]

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
