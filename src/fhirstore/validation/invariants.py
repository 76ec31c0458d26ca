"""https://hl7.org/fhir/R4/elementdefinition.html#ElementDefinition.constraint: the invariants that a profile adds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fhirstore.errors import StartupError
from fhirstore.validation.findings import Findings, refuse, warn
from fhirstore.validation.scope import Rule, Scope
from fhirstore.validation.truth import compile_native
from fhirstore.validation.values import Env, Incomparable, Unsupported

if TYPE_CHECKING:
    from fhirstore.validation.profiles import ProfileRepository

Truth = Callable[[Any, Scope], bool]

_EVERYWHERE = frozenset({"ele-1", "ext-1"})
_MATCHES = re.compile(r"(?:\$this\.)?(?:(\w+)\.)?matches\(\s*'((?:[^'\\]|\\.)*)'\s*\)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}


def invariant_rules(structures: ProfileRepository, definition: Mapping[str, Any], path: str, where: str) -> list[Rule]:
    """The rules of ElementDefinition.constraint, but those that R4 itself states for the type `path`.

    Raises StartupError, which names the key, for an expression that cannot be read."""
    node = structures.core.node(path)
    known = {i.key for i in node.invariants} if node else set()
    rules: list[Rule] = []
    for constraint in definition.get("constraint", ()):
        key, expression = constraint.get("key", ""), constraint.get("expression")
        source = constraint.get("source", "")
        if not expression or key in known or key in _EVERYWHERE or structures.is_core(source):
            continue
        label = f"{definition['id']} in {where}"
        try:
            truth = _native(expression) or _evaluated(structures, expression, path)
        except Exception as e:  # the parser raises plain Exception
            raise StartupError(f"{where}: {definition['id']}: constraint {key}: {expression!r}: {e}") from e
        text = f"{key}: {constraint.get('human', '')} ({expression}) [constraint {key} of {label}]"
        rules.append(_rule(truth, key, text, is_error=constraint.get("severity") != "warning"))
    return rules


def _rule(truth: Truth, key: str, text: str, *, is_error: bool) -> Rule:
    def check(value: Any, scope: Scope) -> Findings | None:
        try:
            if truth(value, scope):
                return None
        except Exception as e:  # an expression that wants one value and is given two, and whatever the library raises
            return warn("not-supported", f"the invariant could not be evaluated: {e}; {text}", rule=key)
        return refuse("invariant", text, rule=key) if is_error else warn("invariant", text, rule=key)

    return check


def _native(expression: str) -> Truth | None:
    """`name.matches('…')`, the usual rule for identifiers, without an interpreter."""
    match = _MATCHES.fullmatch(expression.strip())
    if match is None:
        return None
    name, literal = match.groups()
    find = re.compile(re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), literal)).search

    def truth(value: Any, scope: Scope) -> bool:
        text = value.get(name) if name and type(value) is dict else value
        if type(text) is list:
            if len(text) > 1:
                raise ValueError("matches() wants one string")
            text = text[0] if text else None
        return type(text) is str and find(text) is not None

    return truth


def _evaluated(structures: ProfileRepository, expression: str, path: str) -> Truth:
    try:
        native = compile_native(structures.core, expression, path)
    except Unsupported:
        return _interpreted(structures, expression, path)

    def truth(value: Any, scope: Scope) -> bool:
        try:
            return native(value, Env(value, scope.resource, scope.root, lambda text: scope.resolve(text)[1])) is True
        except Incomparable:
            return True

    return truth


def _interpreted(structures: ProfileRepository, expression: str, path: str) -> Truth:
    # imported here: it loads a grammar that most profiles do not need
    from fhirstore.validation.evaluate import compile_truth

    return compile_truth(structures, expression, path)
