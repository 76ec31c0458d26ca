"""https://hl7.org/fhir/R4/fhirpath.html: an expression that is true or false of a value, such as an invariant."""

from __future__ import annotations

from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.fhirpath.compiler import compile_native_predicate
from fhirstore.fhirpath.coverage import check_functions
from fhirstore.fhirpath.evaluation import DecisiveEnvironment, Environment, Predicate, Unsupported
from fhirstore.fhirpath.parser import parse


def compile_predicate(core: Definitions, expression: str, path: str) -> Predicate:
    """(value, environment) -> true, false, None if the result is empty.

    path: the type or backbone of the value. The predicate raises ValueError if FHIRPath calls the evaluation an error;
    if fhirpathpy evaluates the expression, it may raise any exception. Raises ValueError for an expression that cannot
    be parsed or calls an unknown or missing function."""
    tree = parse(expression)
    check_functions(tree)
    try:
        return compile_native_predicate(core, tree, path)
    except Unsupported:
        # Imported here because it loads fhirpathpy and its grammar, which most deployments never need.
        from fhirstore.fhirpath.adapter import library_predicate

        return library_predicate(core, tree, path)


def is_violated(predicate: Predicate, value: Any, env: Environment) -> bool:
    """Whether a value violates an invariant: docs/adr/0017-one-fhirpath-package.md.

    An invariant is violated if it is false. If its result is empty, it is evaluated again with each `=`, `is` and `in`
    that lacks an operand as false, as the reference validator does: a Bundle of the type document without a Composition
    violates bdl-11, a prediction without a probability does not violate ras-2. If the result is still empty, the data
    gives the invariant nothing to judge, and it is not violated. Raises what the predicate raises."""
    verdict = predicate(value, env)
    if verdict is None:
        verdict = predicate(value, DecisiveEnvironment(env.context, env.resource, env.root, env.services))
    return verdict is False
