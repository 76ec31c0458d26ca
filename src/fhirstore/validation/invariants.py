"""https://hl7.org/fhir/R4/elementdefinition.html#ElementDefinition.constraint: the invariants that a profile adds.

`fhirpath.predicates.is_violated` decides about empty results.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirstore.errors import StartupError
from fhirstore.fhirpath.evaluation import Environment, Predicate
from fhirstore.fhirpath.predicates import compile_predicate, is_violated
from fhirstore.model.messages import Message
from fhirstore.validation.issue_list import IssueList, ProfileRule, single_error, single_warning
from fhirstore.validation.repository import ProfileRepository, ProfileServices
from fhirstore.validation.rules import Rule, ValidationScope

_CHECKED_ELSEWHERE = frozenset({"ele-1", "ext-1", "txt-1", "txt-2"})
"""Invariants of R4 on every element and on narratives, which packages repeat. The structure of a resource is validated
against them."""


def invariant_rules(repository: ProfileRepository, definition: Mapping[str, Any], path: str, where: str) -> list[Rule]:
    """The rules of ElementDefinition.constraint, except those that R4 states for the type `path`.

    Raises StartupError, which names the key, for an expression that cannot be compiled."""
    node = repository.core.node(path)
    known = {i.key for i in node.invariants} if node else set()
    rules: list[Rule] = []
    for constraint in definition.get("constraint", ()):
        key, expression = constraint.get("key", ""), constraint.get("expression")
        source = constraint.get("source", "")
        if not expression or key in known or key in _CHECKED_ELSEWHERE or repository.is_core(source):
            continue
        try:
            predicate = compile_predicate(repository.core, expression, path)
        except Exception as e:  # the parser of fhirpathpy raises plain Exception
            raise StartupError(f"{where}: {definition['id']}: constraint {key}: {expression!r}: {e}") from e
        text = Message(
            "{key}: {description} ({expression})",
            key=key,
            description=constraint.get("human", ""),
            expression=expression,
        )
        source = ProfileRule(Message("constraint {key}", key=key), definition["id"], where)
        rules.append(_rule(repository, predicate, key, text, source, constraint.get("severity")))
    return rules


def _rule(
    repository: ProfileRepository, predicate: Predicate, key: str, text: str, source: ProfileRule, severity: str | None
) -> Rule:
    report = single_warning if severity == "warning" else single_error

    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        env = Environment(value, scope.resource, scope.root, ProfileServices(repository, scope))
        try:
            if predicate(value, env) is True or not is_violated(predicate, value, env):
                return None
        except Exception as e:  # what FHIRPath calls an error, and any exception of fhirpathpy
            reason = Message("the invariant could not be evaluated: {reason}; {text}", reason=e, text=text)
            return single_warning("not-supported", reason, rule=key, source=source)
        return report("invariant", text, rule=key, source=source)

    return check
