"""https://hl7.org/fhir/R4/validation.html#invariants: the invariants that R4 states for its types.

`fhirpath.compiler` compiles their expressions, `fhirpath.predicates.is_violated` decides about empty results. Four are
written in Python, because that reports the exact path or needs more than FHIRPath: unique fullUrls, unreferenced
contained resources, and narratives. ele-1, ext-1 (`object_checks`) and ref-1 (`references`) are checked with the
structure. dom-6 is advice (`StructureValidator.advise`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.definitions.model import Invariant, Node
from fhirstore.fhirpath.compiler import compile_native_predicate
from fhirstore.fhirpath.evaluation import Environment
from fhirstore.fhirpath.parser import parse
from fhirstore.fhirpath.predicates import is_violated
from fhirstore.model.messages import Message
from fhirstore.validation.bundles import check_entries
from fhirstore.validation.concept_properties import check_concept_properties
from fhirstore.validation.issue_list import IssueList, RelativeIssue, single_error, single_warning
from fhirstore.validation.narrative import narrative_errors
from fhirstore.validation.text import describe
from fhirstore.validation.value_checks import (
    Check,
    CompiledInvariant,
    PythonInvariant,
    StructureScope,
    invariant_check,
)

CHECKED_ELSEWHERE = frozenset({"ele-1", "ext-1", "ref-1", "dom-6"})
NOT_APPLICABLE = frozenset({"cid-0"})
"""cid-0 is about an element that ChargeItemDefinition does not have."""
CORRECTED = {
    "md-1": "max.empty() or max = '*' or (max.convertsToInteger() and max.toInteger() > 0)",
    "per-1": "start.hasValue().not() or end.hasValue().not() or (start <= end) = true",
    "mdd-1": "whenHandedOver.empty() or whenPrepared.empty() or (whenHandedOver >= whenPrepared) = true",
}
"""Expressions that differ from those of R4. md-1 is empty in R4 if max is no number, as if there were no max. Two times
of different precision that cannot be compared ("2023-06-21" and "2023-06-21T06:20:00Z") violate per-1 and mdd-1, as
they do for the reference validator."""
CORRECTED_OF_TYPE = {
    "Task": {"inv-1": "lastModified.exists().not() or authoredOn.exists().not() or (lastModified >= authoredOn) = true"}
}
"""The same for keys that several types use."""
OF_CONTAINED = frozenset({"dom-2", "dom-4", "dom-5"})
"""Invariants that a resource without contained resources cannot violate."""


def make_invariants(core: Definitions, node: Node) -> Check | None:
    """The check of an object of a type or backbone that is otherwise valid. None if R4 states no invariant for it."""
    in_python = tuple(dict.fromkeys(_IN_PYTHON[i.key] for i in node.invariants if i.key in _IN_PYTHON))
    in_python += _BEYOND_INVARIANTS.get(node.path, ())
    compiled = tuple(_compile(core, node, i) for i in node.invariants if _is_compiled(i))
    if not compiled and not in_python:
        return None
    return invariant_check(compiled, in_python, node.kind == "resource")


def _is_compiled(invariant: Invariant) -> bool:
    return invariant.key not in CHECKED_ELSEWHERE | NOT_APPLICABLE and invariant.key not in _IN_PYTHON


def expression_of(invariant: Invariant, path: str = "") -> str:
    """The expression that is evaluated. path: the type or backbone that states the invariant."""
    corrected = CORRECTED_OF_TYPE.get(path, {}).get(invariant.key) or CORRECTED.get(invariant.key)
    return corrected or invariant.expression


def _compile(core: Definitions, node: Node, invariant: Invariant) -> CompiledInvariant:
    predicate = compile_native_predicate(core, parse(expression_of(invariant, node.path)), node.path)
    key, human, expression = invariant.key, invariant.human, invariant.expression
    text = Message(
        "{key}: {description} ({expression}) [constraint {key} of {path}]",
        key=key,
        description=human,
        expression=expression,
        path=node.path,
    )
    report_violation = single_error if invariant.severity == "error" else single_warning

    def report(value: Any, env: Environment) -> IssueList | None:
        try:
            violated = is_violated(predicate, value, env)
        except (ValueError, TypeError) as e:
            reason = Message("the invariant could not be evaluated: {reason}; {text}", reason=e, text=text)
            return single_warning("not-supported", reason, rule=key)
        return report_violation("invariant", text, rule=key) if violated else None

    return CompiledInvariant(key, predicate, "contained" if key in OF_CONTAINED else None, report)


# --- in Python ----------------------------------------------------------------------------------------


def _unreferenced(resource: dict[str, Any], scope: StructureScope) -> Iterator[RelativeIssue]:
    """dom-3: https://hl7.org/fhir/R4/references.html#contained. Contained resources that only refer to each other are
    unreferenced too."""
    contained = resource.get("contained")
    if not contained or resource is not scope.resource:
        return
    links = [frozenset(_links(one)) for one in contained]
    referenced = _reached(resource, contained, links)
    for index, one in enumerate(contained):
        if index not in referenced:
            in_circle = any(f"#{one.get('id')}" in many for i, many in enumerate(links) if i not in referenced)
            reason = (
                Message("only contained resources refer to it, in a circle")
                if in_circle
                else Message("nothing refers to it")
            )
            text = Message(
                "dom-3: {reason}; the containing resource must refer to a contained resource as "
                "{detail}, or the contained resource to the containing one as '#' [constraint dom-3 "
                "of DomainResource]",
                reason=reason,
                detail=describe("#" + str(one.get("id"))),
            )
            yield RelativeIssue("invariant", text, f".contained[{index}]", "dom-3")


def _reached(resource: dict[str, Any], contained: list[Any], links: list[frozenset[str]]) -> set[int]:
    """The indexes of the contained resources that the resource refers to, and of those that these refer to."""
    by_link: dict[str, list[int]] = {}
    for index, one in enumerate(contained):
        by_link.setdefault(f"#{one.get('id')}", []).append(index)
    outside = set(_links({key: value for key, value in resource.items() if key != "contained"}))
    waiting = [i for i, one in enumerate(contained) if f"#{one.get('id')}" in outside or "#" in links[i]]
    found = set(waiting)
    while waiting:
        for link in links[waiting.pop()]:
            more = [i for i in by_link.get(link, ()) if i not in found]
            found.update(more)
            waiting += more
    return found


def _links(value: Any) -> Iterator[str]:
    """All strings in a JSON value that start with "#": references and canonicals of contained resources."""
    if type(value) is str:
        if value.startswith("#"):
            yield value
    elif type(value) is dict:
        for item in value.values():
            yield from _links(item)
    elif type(value) is list:
        for item in value:
            yield from _links(item)


def _narrative(value: dict[str, Any], scope: StructureScope) -> Iterator[RelativeIssue]:
    """txt-1 and txt-2: https://hl7.org/fhir/R4/narrative.html"""
    div = value.get("div")
    if type(div) is str:
        yield from (RelativeIssue("invariant", text, ".div", rule) for rule, text in narrative_errors(div))


def _in_python(
    needs: str, violations: Callable[[dict[str, Any], StructureScope], Iterator[RelativeIssue]]
) -> PythonInvariant:
    def check(value: Any, scope: StructureScope) -> IssueList | None:
        errors = list(violations(value, scope))
        return IssueList(errors) if errors else None

    return PythonInvariant(needs, check)


_OF_NARRATIVE = _in_python("div", _narrative)
_IN_PYTHON: dict[str, PythonInvariant] = {
    "bdl-7": PythonInvariant("entry", lambda bundle, _: check_entries(bundle)),
    "dom-3": _in_python("contained", _unreferenced),
    "txt-1": _OF_NARRATIVE,
    "txt-2": _OF_NARRATIVE,
}
_BEYOND_INVARIANTS: dict[str, tuple[PythonInvariant, ...]] = {
    "CodeSystem": (PythonInvariant("content", lambda code_system, _: check_concept_properties(code_system)),),
}
"""Rules that R4 states in its text only."""
