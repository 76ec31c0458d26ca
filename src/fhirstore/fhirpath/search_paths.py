"""Fast closures (`search_steps`) for the shapes of search expressions: paths, `as`, `where`, indexes and unions.

`build` compiles a syntax tree from its end to its start: each step is made for the static type of its values and
already knows the step that follows. A path therefore fans out over the types of a choice, and `as` drops the others.
Criteria of other shapes are compiled by `compiler`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.fhirpath import search_steps as steps
from fhirstore.fhirpath.ast import (
    Expression,
    FunctionCall,
    Indexer,
    Literal,
    Member,
    OperatorExpression,
    TypeExpression,
    Variable,
)
from fhirstore.fhirpath.compiler import compile_expression
from fhirstore.fhirpath.evaluation import Unsupported
from fhirstore.fhirpath.search_steps import Step, Test, TypedValue

# The FHIR types whose values may equal a literal, by the literal's Python type.
COMPARABLE: dict[type, frozenset[str]] = {
    str: steps.TEXTS,
    bool: frozenset({"boolean"}),
    int: steps.NUMBERS,
    Decimal: steps.NUMBERS,
}
FEW_KEYS = 3  # for up to three types of a choice, looking up each key is faster than iterating over the value
ABSTRACT_RESOURCES = frozenset({"Resource", "DomainResource"})


@dataclass(frozen=True, slots=True)
class StaticType:
    """The static type of a value. many: one resource can give several values. trail: the elements of its path."""

    type: str
    many: bool = False
    trail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchPath:
    """See `search_expressions.SearchExpression`."""

    extract: steps.Extract
    types: frozenset[str]
    single: bool


Next = Callable[[StaticType], Step | None]  # None: nothing can come of a value of this type


def build(core: Definitions, base_type: str, branches: list[Expression]) -> SearchPath:
    """The closure for a union of `branches` on values of `base_type`.

    Raises Unsupported, and ValueError for a branch that can never yield anything."""
    builder = _Builder(core, base_type)
    found: list[StaticType] = []
    made = [builder.branch(b, found) for b in branches]
    # All values come from one element that does not repeat; only one key of a choice can be present.
    single = not any(s.many for s in found) and len({s.trail for s in found}) == 1
    extract = steps.extraction(steps.sequence(made), single and len(found) > 1, builder.can_fail, builder.uses_root)
    return SearchPath(extract, frozenset(s.type for s in found), single)


class _Builder:
    def __init__(self, core: Definitions, base_type: str):
        self.core = core
        self.base = StaticType(base_type)
        self.known: set[str] = set()
        self.missing: dict[str, str] = {}
        self.can_fail = False
        self.uses_root = False

    def branch(self, expression: Expression, found: list[StaticType]) -> Step:
        self.known, self.missing = set(), {}
        made = self.step(expression, self.base, self.collector(found))
        # Some types of a choice may lack an element, but not all of them.
        unknown = [reason for name, reason in self.missing.items() if name not in self.known]
        if made is None or unknown:
            reason = "; ".join(unknown) or "it can never yield a value"
            raise ValueError(f"{expression.text!r} on {self.base.type}: {reason}")
        return made

    def collector(self, found: list[StaticType]) -> Next:
        """The end of a path. It adds the static types of its values to `found`."""

        def end(at: StaticType) -> Step:
            found.append(at)
            return steps.resource_leaf() if at.type in ABSTRACT_RESOURCES else steps.leaf(at.type)

        return end

    # --- steps

    def step(self, e: Expression, at: StaticType, then: Next) -> Step | None:
        match e:
            case Member(target=None, name=name) if name[:1].isupper() and self.core.node(name):
                return then(at) if self.core.is_a(at.type, name) else None
            case Member(target=None, name=name):
                return self.element(at, name, then)
            case Member(target=Expression() as target, name=name):
                return self.step(target, at, lambda s: self.element(s, name, then))
            case Variable(name="$this"):
                return then(at)
            case Variable(name="%resource" | "%context") if self.base.type in self.core.resource_types:
                made = then(self.base)
                self.uses_root = True
                return made and steps.at_root(made)
            case TypeExpression(target=target, operator="as", type=type_name):
                return self.step(target, at, self.narrowed(self.type_name(type_name), then))
            case FunctionCall(target=target, name="where", arguments=(criteria,)):
                return self.from_target(target, at, lambda s: self.filtered(s, criteria, then))
            case FunctionCall(target=target, name="extension", arguments=(Literal(value=str() as url),)):
                return self.from_target(target, at, lambda s: self.extension(s, url, then))
            case FunctionCall(target=target, name="first", arguments=()):
                return self.nth(target, 0, at, then)
            case Indexer(target=target, index=Literal(value=int() as index)):
                return self.nth(target, index, at, then)
            case OperatorExpression(operator="|", left=Expression() as left, right=right):
                made_of = [s for s in (self.step(left, at, then), self.step(right, at, then)) if s is not None]
                return steps.sequence(made_of) if made_of else None
            case OperatorExpression() | FunctionCall() | TypeExpression(operator="is"):
                test = self.test(e, at)
                following = then(replace(at, type="boolean", trail=(*at.trail, e.text)))
                return following and steps.answer(test, following)
        raise Unsupported(e.text)

    def from_target(self, target: Expression | None, at: StaticType, then: Next) -> Step | None:
        return then(at) if target is None else self.step(target, at, then)

    def element(self, at: StaticType, name: str, then: Next) -> Step | None:
        node = self.core.node(at.type)
        element = node.elements.get(name) if node and node.kind != "primitive-type" else None
        if node is None or element is None:
            # JSON has ids and extensions of primitives beside them ("_birthDate"). A resource can be of any type.
            if at.type in ABSTRACT_RESOURCES or name in ("id", "extension"):
                raise Unsupported(f"{at.type}.{name}")
            self.missing.setdefault(name, f"{at.type} has no element {name!r}")
            return None
        self.known.add(name)
        repeats = element.max is None or element.max > 1
        made: dict[str, Step] = {}
        for key, (owner, type_ref) in node.keys.items():
            if owner is element:
                child = StaticType(element.node or type_ref.code, at.many or repeats, (*at.trail, element.path))
                following = then(child)
                if following is not None:
                    made[key] = following
        if len(made) > FEW_KEYS:
            return steps.choice(made)
        return steps.sequence([steps.key(k, repeats, s) for k, s in made.items()]) if made else None

    def narrowed(self, type_name: str, then: Next) -> Next:
        def narrow(at: StaticType) -> Step | None:
            if self.core.is_a(at.type, type_name):
                return then(at)
            if at.type in ABSTRACT_RESOURCES and self.core.is_a(type_name, at.type):
                following = then(replace(at, type=type_name))
                return following and steps.when(steps.equals_key("resourceType", type_name), following)
            return None

        return narrow

    def filtered(self, at: StaticType, criteria: Expression, then: Next) -> Step | None:
        following = then(at)
        if following is None:
            return None
        try:
            test = self.test(criteria, at)
        except Unsupported:
            test = self.general_test(criteria, at)
        return steps.when(test, following)

    def general_test(self, criteria: Expression, at: StaticType) -> Test:
        """A criterion of any other shape. The test raises ValueError if its evaluation fails."""
        self.can_fail = self.uses_root = True
        evaluate = compile_expression(self.core, criteria, self.base.type, at.type).evaluate
        return steps.general(evaluate, self.core.resource_types)

    def extension(self, at: StaticType, url: str, then: Next) -> Step | None:
        def of_url(s: StaticType) -> Step | None:
            following = then(s)
            return following and steps.when(steps.equals_key("url", url), following)

        return self.element(at, "extension", of_url)

    def nth(self, target: Expression | None, index: int, at: StaticType, then: Next) -> Step | None:
        if target is None:
            raise Unsupported("an index without a path")
        found, collect = self.collect(target, at)
        if not found:
            return None
        following: dict[str, Step] = {}
        for s in found:
            made = then(StaticType(s.type, at.many, (*s.trail, f"[{index}]")))
            if made is not None:
                following["" if s.type in ABSTRACT_RESOURCES else s.type] = made
        return steps.nth(collect, index, following) if following else None

    def collect(self, e: Expression, at: StaticType) -> tuple[list[StaticType], steps.Run]:
        """The static types of what an expression yields, and a closure that collects it."""
        found: list[StaticType] = []
        made = self.step(e, at, self.collector(found))
        return found, made.run if made else _nothing

    def type_name(self, name: str) -> str:
        """A type as the tables spell it. One expression of the specification says DateTime."""
        for spelling in (name, name[:1].lower() + name[1:]):
            if self.core.node(spelling) is not None:
                return spelling
        raise ValueError(f"{name!r} is not a FHIR type")

    # --- tests

    def test(self, e: Expression, at: StaticType) -> Test:
        match e:
            case OperatorExpression(operator="and", left=Expression() as left, right=right):
                return steps.both(self.test(left, at), self.test(right, at))
            case OperatorExpression(operator="or", left=Expression() as left, right=right):
                return steps.either(self.test(left, at), self.test(right, at))
            case OperatorExpression(operator="=", left=Expression() as left, right=Literal(value=value)):
                return self.equals(left, value, at)
            case OperatorExpression(operator="!=", left=Expression() as left, right=Literal(value=value)):
                return steps.negated(self.equals(left, value, at))
            case FunctionCall(target=Expression() as target, name="not", arguments=()):
                return steps.negated(self.test(target, at))
            case FunctionCall(target=Expression() as target, name="exists", arguments=()):
                return steps.exists(self.collect(target, at)[1])
            case FunctionCall(target=Expression() as target, name="empty", arguments=()):
                return steps.negated(steps.exists(self.collect(target, at)[1]))
            case FunctionCall(target=target, name="hasExtension", arguments=(Literal(value=str() as url),)):
                return self.has_extension(target, url, at)
            case TypeExpression(
                target=FunctionCall(target=target, name="resolve", arguments=()), operator="is", type=type_name
            ):
                return self.resolves_to(target, self.type_name(type_name), at)
            case Member() | Literal(value=bool()):
                return self.truth(e, at)
        raise Unsupported(e.text)

    def equals(self, left: Expression, value: Any, at: StaticType) -> Test:
        found, collect = self.collect(left, at)
        comparable = COMPARABLE[type(value)]
        types = {s.type for s in found}
        if isinstance(value, str) and not types.isdisjoint(steps.STRINGS - steps.TEXTS):
            raise Unsupported(f"a string compared with {', '.join(sorted(types))}")
        match left, found:
            case Member(target=None, name=name), [StaticType(many=False)] if types <= comparable - steps.NUMBERS:
                return steps.equals_key(name, value)
        return steps.equals(collect, comparable, value)

    def has_extension(self, target: Expression | None, url: str, at: StaticType) -> Test:
        found: list[StaticType] = []
        end = self.collector(found)
        made = self.from_target(target, at, lambda s: self.extension(s, url, end))
        return steps.exists(made.run if made else _nothing)

    def resolves_to(self, target: Expression | None, type_name: str, at: StaticType) -> Test:
        types = self.core.resource_types
        matching = frozenset(t for t in types if self.core.is_a(t, type_name))
        self.uses_root = True
        if target is None:
            return steps.resolves_to(matching, types)
        return steps.all_resolve_to(self.collect(target, at)[1], matching, types)

    def truth(self, e: Expression, at: StaticType) -> Test:
        if isinstance(e, Literal):
            return lambda value, root: e.value is True
        return steps.truth(self.collect(e, at)[1])


def _nothing(value: Any, root: Any, out: list[TypedValue]) -> None:
    """Collects nothing: the path does not exist on this type."""
