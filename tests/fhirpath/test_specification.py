"""All search expressions of the specification: they compile, and find what fhirpathpy finds."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.fhirpath.adapter import library_expression
from fhirstore.fhirpath.evaluation import Environment
from fhirstore.fhirpath.parser import parse
from fhirstore.fhirpath.search_expressions import SearchExpression, applies, branches, compile_search_expression
from fhirstore.fhirpath.search_steps import ReferenceTypes
from fhirstore.fhirpath.services import ContainedResources

Sample = Callable[[str, random.Random], dict[str, Any]]


def concrete(core: Definitions, base: str) -> str:
    return "Patient" if base in ("Resource", "DomainResource") else base


def compiled(core: Definitions) -> dict[tuple[str, str], SearchExpression]:
    return {
        (p.url, base): compile_search_expression(core, concrete(core, base), p.expression)
        for p in core.search_parameters().values()
        for base in p.bases
    }


def test_every_expression_compiles_to_closures_for_each_of_its_bases(core: Definitions) -> None:
    found = compiled(core)
    assert len(found) == 1712
    assert [key for key, c in found.items() if not c.native] == []
    assert [key for key, c in found.items() if not c.types] == []


def test_a_resource_without_the_properties_of_an_expression_has_no_values(core: Definitions, sample: Sample) -> None:
    chance = random.Random(20240613)
    resources: dict[str, dict[str, Any]] = {}
    known = 0
    for (url, base), expression in compiled(core).items():
        if expression.properties is None:
            continue
        known += 1
        type = concrete(core, base)
        resource = resources.setdefault(type, sample(type, chance))
        rest = {key: value for key, value in resource.items() if key not in expression.properties}
        assert expression.extract(rest) == [], url
    assert known > 1690


def test_component_expressions_compile_too(core: Definitions) -> None:
    for parameter in core.search_parameters().values():
        for _, expression in parameter.components:
            for base in parameter.bases:
                for at in compile_search_expression(core, base, parameter.expression).types:
                    start = base if expression.startswith("%resource") else at
                    assert compile_search_expression(core, start, expression).types


def unique(values: list[tuple[str, Any]]) -> list[str]:
    """A union of FHIRPath holds no duplicates, and its order is open. fhirpathpy calls an id a string."""
    return sorted({json.dumps(["string" if t == "id" else t, v], sort_keys=True) for t, v in values})


def plainly(expression: str) -> str:
    """`as` is defined for a single value, yet the specification writes it where there are many: a filter is meant.
    fhirpathpy lacks hasExtension()."""
    expression = re.sub(r"\((\S+) as (\w+)\)", r"\1.ofType(\2)", expression).replace(".as(", ".ofType(")
    return re.sub(r"hasExtension\(([^)]*)\)", r"extension(\1).exists()", expression)


def test_the_closures_find_what_fhirpathpy_finds(core: Definitions, sample: Sample) -> None:
    chance = random.Random(20240612)
    resources: dict[str, list[dict[str, Any]]] = {}
    seen: set[tuple[str, str]] = set()
    yielded = 0
    for parameter in core.search_parameters().values():
        for base in (concrete(core, b) for b in parameter.bases):
            for branch in branches(parse(parameter.expression)):
                if not applies(core, base, branch) or (base, branch.text) in seen:
                    continue
                seen.add((base, branch.text))
                made = compile_search_expression(core, base, branch.text)
                oracle = library_expression(core, parse(plainly(branch.text)), base)
                if base not in resources:
                    resources[base] = [sample(base, chance) for _ in range(3)]
                for resource in resources[base]:
                    found = made.extract(resource)
                    env = Environment(
                        resource, resource, resource, ReferenceTypes(ContainedResources(resource), core.resource_types)
                    )
                    assert unique(found) == unique(oracle(resource, env)), (base, branch.text, resource)
                    assert len(found) <= 1 or not made.single
                    assert made.types & {"Resource"} or {t for t, _ in found} <= made.types
                    yielded += bool(found)
    assert len(seen) > 1600
    assert yielded > 2 * len(seen)
