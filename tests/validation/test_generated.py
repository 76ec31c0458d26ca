"""Every type of R4: what the definitions allow passes, and one fault put into it is found where it is."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from generate import VALUES, Generator, Place, is_attribute

from fhirstore.definitions.core import Definitions, load
from fhirstore.errors import Issue

TYPES = sorted(load().resource_types)
MUTATIONS_OF_A_KIND = 4

Validate = Callable[[Any], list[Issue]]


def errors(issues: list[Issue]) -> list[Issue]:
    """What is recommended (a name that programs can use) the generator does not heed."""
    return [i for i in issues if i.is_error]


def test_r4_has_146_resource_types() -> None:
    assert len(TYPES) == 146


def test_generated_values_cover_every_primitive_type(core: Definitions) -> None:
    from fhirstore.validation.primitives import PRIMITIVES

    assert set(VALUES) == set(PRIMITIVES)
    assert all((node := core.node(name)) and node.kind == "primitive-type" for name in PRIMITIVES)


@pytest.mark.parametrize("resource_type", TYPES)
def test_minimal_resource_has_no_error(resource_type: str, core: Definitions, validate: Validate) -> None:
    assert errors(validate(Generator(core).minimal(resource_type))) == []


@pytest.mark.parametrize("resource_type", TYPES)
def test_maximal_resource_has_no_error(resource_type: str, core: Definitions, validate: Validate) -> None:
    for seed in range(3):
        assert errors(validate(Generator(core, seed).maximal(resource_type))) == []


def drop_required(place: Place) -> str | None:
    if not place.element.min:
        return None
    del place.parent[place.key]
    place.parent.pop("_" + place.key, None)
    return place.path


def rename(place: Place) -> str | None:
    renamed = place.key + "x"
    place.parent[renamed] = place.parent.pop(place.key)
    return place.path.removesuffix(place.element.name) + renamed


def array_and_single(place: Place) -> str | None:
    value = place.parent[place.key]
    place.parent[place.key] = value[0] if place.repeats else [value]
    return place.path


def other_json_type(place: Place) -> str | None:
    def wrong(value: Any) -> Any:
        return 7 if isinstance(value, str | dict | bool) else "7"

    value = place.parent[place.key]
    if not place.repeats:
        place.parent[place.key] = wrong(value)
        return place.path
    index = len(value) - 1
    value[index] = wrong(value[index])
    return f"{place.path}[{index}]"


def nothing(place: Place) -> str | None:
    place.parent[place.key] = [] if place.repeats else None
    return place.path


def empty(place: Place) -> str | None:
    hollow: Any = "" if place.is_primitive else {}
    place.parent[place.key] = [hollow] if place.repeats else hollow
    place.parent.pop("_" + place.key, None)
    return place.path + ("[0]" if place.repeats else "")


def unknown_code(place: Place) -> str | None:
    binding = place.element.binding
    if not place.is_primitive or not binding or binding.strength != "required" or not load().codes(binding.value_set):
        return None
    place.parent[place.key] = ["no-such-code"] if place.repeats else "no-such-code"
    place.parent.pop("_" + place.key, None)
    return place.path + ("[0]" if place.repeats else "")


def second_choice(place: Place) -> str | None:
    others = [k for k, (e, _) in place.node.keys.items() if e.name == place.element.name and k != place.key]
    if not place.element.choice or not others:
        return None
    place.parent[others[0]] = True
    return place.path


def strange_sibling(place: Place) -> str | None:
    if not place.is_primitive:
        return None
    if is_attribute(place.node, place.element, place.type_ref):
        place.parent["_" + place.key] = {"id": "a"}
        return place.path.removesuffix(place.key) + "_" + place.key
    sibling: Any = {"foo": 1}
    place.parent["_" + place.key] = [sibling] * len(place.parent[place.key]) if place.repeats else sibling
    return place.path


MUTATIONS = [
    drop_required,
    rename,
    array_and_single,
    other_json_type,
    nothing,
    empty,
    unknown_code,
    second_choice,
    strange_sibling,
]


@pytest.mark.parametrize("resource_type", TYPES)
def test_single_fault_is_found_where_it_is(resource_type: str, core: Definitions, validate: Validate) -> None:
    for mutate in MUTATIONS:
        for resource, where in faulty(resource_type, mutate, core):
            errors = [i for i in validate(resource) if i.is_error]
            assert any(i.expression[0].startswith(where) for i in errors), (mutate, where, errors)
            assert all(i.expression[0].startswith(where.rpartition(".")[0]) for i in errors), (mutate, where, errors)


def faulty(
    resource_type: str, mutate: Callable[[Place], str | None], core: Definitions
) -> Iterator[tuple[dict[str, Any], str]]:
    """Some resources with one fault of this kind each, and the FHIRPath of the fault."""
    generator = Generator(core, seed=1)
    whole = generator.maximal(resource_type, depth=1)
    numbers = list(range(sum(1 for _ in generator.places(whole))))
    Random(resource_type + mutate.__name__).shuffle(numbers)
    made = 0
    for number in numbers:
        resource = copy.deepcopy(whole)
        place = next(itertools.islice(generator.places(resource), number, None))
        where = mutate(place)
        if where is not None:
            yield resource, where
            made += 1
            if made == MUTATIONS_OF_A_KIND:
                return
