"""https://hl7.org/fhir/R4/validation.html#invariants: the invariants that R4 itself states for its types.

All of them are compiled by `truth`. Written here by hand are those that need more than FHIRPath, or that tell their
place better so: duplicates of fullUrl, contained resources that nothing refers to, narratives. ele-1, ext-1 (`nodes`)
and ref-1 (`references`) are checked with the structure; dom-6 is advice (`structure.advise`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.definitions.model import Invariant, Node
from fhirstore.validation.findings import Check, Container, Findings, Problem, describe
from fhirstore.validation.narrative import narrative_faults
from fhirstore.validation.truth import Truth, compile_native
from fhirstore.validation.values import Env, Incomparable

CHECKED_ELSEWHERE = frozenset({"ele-1", "ext-1", "ref-1", "dom-6"})
WITHOUT_MEANING = frozenset({"cid-0"})
"""cid-0 is about an element that ChargeItemDefinition does not have."""
OF_CONTAINED = frozenset({"dom-2", "dom-4", "dom-5"})
"""Trivially true where nothing is contained."""


@dataclass(frozen=True, slots=True)
class _Rule:
    key: str
    truth: Truth
    text: str
    is_error: bool
    needs: str | None


def make_invariants(core: Definitions, node: Node) -> Check | None:
    """The check of a sound object of the type or backbone; None where R4 states nothing about it."""
    by_hand = [_BY_HAND[i.key] for i in node.invariants if i.key in _BY_HAND]
    natives = tuple(dict.fromkeys(by_hand))
    rules = tuple(_rule(core, node, i) for i in node.invariants if _is_compiled(i))
    if not rules and not natives:
        return None
    is_resource = node.kind == "resource"

    def check(value: Any, container: Container) -> Findings | None:
        problems: list[Problem] = []
        warnings: list[Problem] = []
        env = Env(value, value if is_resource else container.current, container.resource, container.find)
        for rule in rules:
            if rule.needs is not None and rule.needs not in value:
                continue
            try:
                verdict = rule.truth(value, env)
            except Incomparable:
                continue
            except (ValueError, TypeError) as e:
                text = f"the invariant could not be evaluated: {e}; {rule.text}"
                warnings.append(Problem("not-supported", text, rule=rule.key))
                continue
            if verdict is not True:
                (problems if rule.is_error else warnings).append(Problem("invariant", rule.text, rule=rule.key))
        for native in natives:
            problems += native(value, container)
        return Findings(problems, warnings) if problems or warnings else None

    return check


def _is_compiled(invariant: Invariant) -> bool:
    return invariant.key not in CHECKED_ELSEWHERE | WITHOUT_MEANING and invariant.key not in _BY_HAND


def _rule(core: Definitions, node: Node, invariant: Invariant) -> _Rule:
    truth = compile_native(core, invariant.expression, node.path)
    key, human, expression = invariant.key, invariant.human, invariant.expression
    text = f"{key}: {human} ({expression}) [constraint {key} of {node.path}]"
    return _Rule(invariant.key, truth, text, invariant.severity == "error", _needed(invariant))


def _needed(invariant: Invariant) -> str | None:
    """The element without which an invariant says nothing: what is recommended about a name does not demand one."""
    if invariant.key in OF_CONTAINED:
        return "contained"
    return "name" if invariant.expression.startswith("name.matches(") else None


# --- by hand ------------------------------------------------------------------------------------------


def _duplicate_entries(bundle: dict[str, Any], container: Container) -> Iterator[Problem]:
    """bdl-7: https://hl7.org/fhir/R4/bundle.html#bundle-unique"""
    if bundle.get("type") == "history":
        return
    first: dict[tuple[str, Any], int] = {}
    for index, entry in enumerate(bundle.get("entry", ())):
        url = entry.get("fullUrl")
        if url is None:
            continue
        meta = entry.get("resource", {}).get("meta", {})
        other = first.setdefault((url, meta.get("versionId")), index)
        if other != index:
            text = (
                f"bdl-7: {describe(url)} is the fullUrl of entry[{other}] too; it must be unique in a Bundle, "
                "or the resources have different meta.versionId [constraint bdl-7 of Bundle]"
            )
            yield Problem("invariant", text, f".entry[{index}].fullUrl", "bdl-7")


def _unreferenced(resource: dict[str, Any], container: Container) -> Iterator[Problem]:
    """dom-3: https://hl7.org/fhir/R4/references.html#contained. Contained resources that refer to each other in a
    circle, to which nothing else refers, are no part of the resource either."""
    contained = resource.get("contained")
    if not contained or resource is not container.resource:
        return
    links = [frozenset(_links(one)) for one in contained]
    outside = {key: value for key, value in resource.items() if key != "contained"}
    reached = set(_links(outside))
    waiting = [i for i, one in enumerate(contained) if f"#{one.get('id')}" in reached or "#" in links[i]]
    found = set(waiting)
    while waiting:
        for link in links[waiting.pop()]:
            more = [i for i, one in enumerate(contained) if i not in found and f"#{one.get('id')}" == link]
            found.update(more)
            waiting += more
    for index, one in enumerate(contained):
        if index not in found:
            in_circle = any(f"#{one.get('id')}" in many for i, many in enumerate(links) if i not in found)
            why = "only contained resources refer to it, in a circle" if in_circle else "nothing refers to it"
            text = (
                f"dom-3: {why}; a contained resource is referred to as {describe('#' + str(one.get('id')))} from the "
                "resource around it, or refers to that as '#' [constraint dom-3 of DomainResource]"
            )
            yield Problem("invariant", text, f".contained[{index}]", "dom-3")


def _links(value: Any) -> Iterator[str]:
    """All texts that begin with "#" in a JSON value: references and canonicals to what is contained."""
    if type(value) is str:
        if value.startswith("#"):
            yield value
    elif type(value) is dict:
        for item in value.values():
            yield from _links(item)
    elif type(value) is list:
        for item in value:
            yield from _links(item)


def _narrative(value: dict[str, Any], container: Container) -> Iterator[Problem]:
    """txt-1 and txt-2: https://hl7.org/fhir/R4/narrative.html"""
    div = value.get("div")
    if type(div) is str:
        yield from (Problem("invariant", text, ".div", text.partition(":")[0]) for text in narrative_faults(div))


_BY_HAND: dict[str, Callable[[dict[str, Any], Container], Iterator[Problem]]] = {
    "bdl-7": _duplicate_entries,
    "dom-3": _unreferenced,
    "txt-1": _narrative,
    "txt-2": _narrative,
}
