"""http://hl7.org/fhirpath/N1/: expressions compiled to closures, for all of FHIRPath that `coverage` lists.

An expression is compiled for the type or backbone on which it is evaluated. The structure tables give the type of each
step, so a choice (`value[x]`) and a type test cost one look-up by key.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.fhirpath import ast, evaluation, functions, operators, type_steps
from fhirstore.fhirpath.evaluation import EMPTY, UCUM, Evaluate, Predicate, QuantityValue, Unsupported
from fhirstore.fhirpath.operators import CALENDAR_UNITS

Types = frozenset[str]

VARIABLES = {"%ucum": UCUM, "%sct": "http://snomed.info/sct", "%loinc": "http://loinc.org"}
"""Variables with a fixed value: https://hl7.org/fhir/R4/fhirpath.html#variables."""
_PREFIXES = {
    "%vs-": "http://hl7.org/fhir/ValueSet/",
    "%ext-": "http://hl7.org/fhir/StructureDefinition/",
}
TYPE_FUNCTIONS = frozenset({"as", "is", "ofType"})
_TEMPORAL = frozenset({"date", "dateTime", "instant", "time"})
_NUMERIC = frozenset({"integer", "decimal", "positiveInt", "unsignedInt"})
_UNKNOWN: Types = frozenset()
_BOOLEAN: Types = frozenset({"boolean"})
_ROUNDS = 4
"""How often the types of repeat() are followed before they count as unknown."""


@dataclass(frozen=True, slots=True)
class CompiledExpression:
    """evaluate: the closure. types: the types and backbone paths that its values can have; empty if unknown.
    siblings: if the values are primitives, the objects with their id and extensions; None if the compiler does not
    track them."""

    evaluate: Evaluate
    types: Types = _UNKNOWN
    siblings: Evaluate | None = None


def compile_expression(
    core: Definitions, expression: ast.Expression, path: str, this: str | None = None
) -> CompiledExpression:
    """path: the type or backbone of `%context`. this: that of `$this`, None if it is the same. Raises Unsupported."""
    return _Compiler(core, path).compile(expression, frozenset({this or path}))


def compile_native_predicate(core: Definitions, expression: ast.Expression, path: str) -> Predicate:
    """(value, environment) -> true, false, None if the result is empty. Raises Unsupported.

    The predicate raises ValueError for what FHIRPath calls an error."""
    return evaluation.predicate(compile_expression(core, expression, path).evaluate)


class _Compiler:
    def __init__(self, core: Definitions, path: str):
        self._core, self._path = core, path

    def compile(self, e: ast.Expression, context: Types) -> CompiledExpression:
        """context: the types of `$this`."""
        match e:
            case ast.Member(target=None, name=name) if name[:1].isupper() and self._core.node(name) is not None:
                return CompiledExpression(evaluation.this, context)
            case ast.Member(target=target, name=name):
                return self._member(self._target(target, context), name)
            case ast.Variable(name=name):
                return self._variable(name, context)
            case ast.Indexer(target=target, index=index):
                return self._indexer(self.compile(target, context), index, context)
            case ast.TypeExpression(target=target, operator=operator, type=type_name):
                return self._type_expression(target, operator, type_name, context)
            case ast.OperatorExpression(operator=operator, left=None, right=right):
                operand = self.compile(right, context)
                return operand if operator == "+" else CompiledExpression(operators.negative(operand.evaluate))
            case ast.OperatorExpression(operator=operator, left=ast.Expression() as left, right=right):
                return _operator(operator, self.compile(left, context), self.compile(right, context))
            case ast.FunctionCall(target=target, name=name, arguments=arguments):
                return self._call(target, name, arguments, context)
        return _literal(e)

    def _target(self, target: ast.Expression | None, context: Types) -> CompiledExpression:
        return CompiledExpression(evaluation.this, context) if target is None else self.compile(target, context)

    def _variable(self, name: str, context: Types) -> CompiledExpression:
        if name == "$this":
            return CompiledExpression(evaluation.this, context)
        if name in evaluation.ENVIRONMENT_VARIABLES:
            types = {
                "$index": frozenset({"integer"}),
                "$total": _UNKNOWN,
                "%context": frozenset({self._path}),
                "%resource": frozenset({self._path.partition(".")[0]}),
                "%rootResource": frozenset({"DomainResource"}),
            }
            return CompiledExpression(evaluation.ENVIRONMENT_VARIABLES[name], types[name])
        if name in VARIABLES:
            return _constant(VARIABLES[name], "string")
        for prefix, url in _PREFIXES.items():
            if name.startswith(prefix):
                return _constant(url + name.removeprefix(prefix), "string")
        raise Unsupported(name)

    # --- paths

    def _member(self, target: CompiledExpression, name: str) -> CompiledExpression:
        if name in ("id", "extension") and target.types and all(map(self._is_primitive, target.types)):
            if target.siblings is None:
                raise Unsupported(f"the {name} of a primitive")
            return CompiledExpression(
                evaluation.step(target.siblings, evaluation.property_of_this(name)),
                frozenset({"Extension" if name == "extension" else "string"}),
            )
        keys, types = self._keys(target.types, name)
        if not types:
            of_this = type_steps.untyped_property_of_this(name, lambda word: self._core.node(word) is not None)
        else:
            of_this = evaluation.property_of_this(*keys) if len(keys) == 1 else evaluation.choice_of_this(keys)
        siblings = evaluation.step(target.evaluate, type_steps.siblings_of_this(keys))
        return CompiledExpression(evaluation.step(target.evaluate, of_this), types, siblings)

    def _is_primitive(self, type_name: str) -> bool:
        node = self._core.node(type_name)
        return node is not None and node.kind == "primitive-type"

    def _keys(self, types: Iterable[str], name: str) -> tuple[tuple[str, ...], Types]:
        """The JSON properties that can contain an element, and the types of its values."""
        keys: dict[str, None] = {}
        found: set[str] = set()
        for path in types:
            node = self._core.node(path)
            if node is None:
                continue
            for key, (element, type_ref) in node.keys.items():
                if element.name == name:
                    keys[key] = None
                    found.add(element.node or type_ref.code)
        if keys:
            return tuple(keys), frozenset(found)
        if any((node := self._core.node(t)) is not None and not node.abstract for t in types):
            raise Unsupported(f"{name} is no element of {', '.join(sorted(types))}")
        return (name,), _UNKNOWN

    def _indexer(self, target: CompiledExpression, index: ast.Expression, context: Types) -> CompiledExpression:
        if isinstance(index, ast.Literal) and type(index.value) is int:
            return CompiledExpression(evaluation.nth(target.evaluate, index.value), target.types)
        number = self.compile(index, context)
        return CompiledExpression(type_steps.at_index(target.evaluate, number.evaluate), target.types)

    # --- types

    def _type_expression(
        self, target: ast.Expression, operator: str, type_name: str, context: Types
    ) -> CompiledExpression:
        names = (type_name, type_name[:1].lower() + type_name[1:])
        target_type = next((name for name in names if self._core.node(name) is not None), None)
        if target_type is None:
            raise Unsupported(type_name)
        compiled = self.compile(target, context)
        result = frozenset({target_type}) if operator == "as" else _BOOLEAN
        make = type_steps.of_type if operator == "as" else type_steps.is_type
        if self._core.is_a(target_type, "Resource"):
            core = self._core

            def is_wanted(value: Any) -> bool:
                return type(value) is dict and core.is_a(str(value.get("resourceType")), target_type)

            return CompiledExpression(make(compiled.evaluate, is_wanted), result)
        verdicts = {self._core.is_a(t, target_type) for t in compiled.types}
        if len(verdicts) == 1:
            (verdict,) = verdicts
            return CompiledExpression(make(compiled.evaluate, lambda value: verdict), result)
        if not isinstance(target, ast.Member) or not compiled.types:
            raise Unsupported(f"{operator} {type_name}")
        return self._choice(target, operator, target_type, context)

    def _choice(self, target: ast.Member, operator: str, target_type: str, context: Types) -> CompiledExpression:
        """A type test of a choice: the name of the JSON property tells the type."""
        parent = self._target(target.target, context)
        keys, _ = self._keys(parent.types, target.name)
        nodes = [n for t in parent.types if (n := self._core.node(t)) is not None]
        fitting = tuple(
            k for k in keys if any(k in n.keys and self._core.is_a(n.keys[k][1].code, target_type) for n in nodes)
        )
        chosen = _choice_step(parent, fitting)
        if operator == "as":
            siblings = evaluation.step(parent.evaluate, type_steps.siblings_of_this(fitting))
            return CompiledExpression(chosen, frozenset({target_type}), siblings)
        return CompiledExpression(type_steps.is_choice(chosen, _choice_step(parent, keys)), _BOOLEAN)

    # --- functions

    def _call(
        self, target: ast.Expression | None, name: str, arguments: tuple[ast.Expression, ...], context: Types
    ) -> CompiledExpression:
        if name in TYPE_FUNCTIONS:  # a type function without a target applies to $this
            type_name = arguments[0].name if len(arguments) == 1 and isinstance(arguments[0], ast.Member) else ""
            operator = "is" if name == "is" else "as"
            return self._type_expression(ast.Variable("$this", "$this"), operator, type_name, context)
        compiled = self._target(target, context)
        if name in functions.LAMBDAS and len(arguments) == 1:
            return self._lambda(compiled, name, arguments[0])
        if name == "aggregate" and len(arguments) in (1, 2):
            return self._aggregate(compiled, arguments, context)
        if name == "iif" and len(arguments) in (2, 3):
            criterion, true, *false = [self.compile(a, compiled.types) for a in arguments]
            otherwise = false[0].evaluate if false else None
            types = _common(true, *false)
            return CompiledExpression(
                functions.iif(compiled.evaluate, criterion.evaluate, true.evaluate, otherwise), types
            )
        if name == "extension" and len(arguments) == 1:
            return self._extension(compiled, self.compile(arguments[0], context))
        if name == "matches" and len(arguments) == 1 and isinstance(arguments[0], ast.Literal):
            pattern = arguments[0].value
            if type(pattern) is str:
                return CompiledExpression(functions.matches_literal(compiled.evaluate, pattern), _BOOLEAN)
        return self._function(compiled, name, [self.compile(a, context) for a in arguments])

    def _lambda(self, target: CompiledExpression, name: str, argument: ast.Expression) -> CompiledExpression:
        make = functions.LAMBDAS[name]
        if ast.mentions(argument, "$index"):
            make = functions.indexed(make)
        inner = self.compile(argument, target.types)
        if name == "repeat":
            return self._repeat(make, target, argument, inner)
        types = {"where": target.types, "select": inner.types}.get(name, _BOOLEAN)
        return CompiledExpression(make(target.evaluate, inner.evaluate), types)

    def _repeat(
        self,
        make: operators.MakeOperator,
        target: CompiledExpression,
        argument: ast.Expression,
        inner: CompiledExpression,
    ) -> CompiledExpression:
        """The argument also sees its own results, so it is compiled again until no further type appears."""
        seen = target.types
        for _ in range(_ROUNDS):
            if not inner.types or inner.types <= seen:
                return CompiledExpression(make(target.evaluate, inner.evaluate), inner.types)
            seen = seen | inner.types
            inner = self.compile(argument, seen)
        raise Unsupported("repeat() of many types")

    def _aggregate(
        self, target: CompiledExpression, arguments: tuple[ast.Expression, ...], context: Types
    ) -> CompiledExpression:
        aggregator = self.compile(arguments[0], target.types).evaluate
        start = self.compile(arguments[1], context).evaluate if len(arguments) == 2 else None
        return CompiledExpression(functions.aggregate(target.evaluate, aggregator, start))

    def _extension(self, target: CompiledExpression, url: CompiledExpression) -> CompiledExpression:
        parent = target.evaluate
        if target.types and all(map(self._is_primitive, target.types)):
            if target.siblings is None:
                raise Unsupported("the extensions of a primitive")
            parent = target.siblings
        return CompiledExpression(type_steps.extension(parent, url.evaluate), frozenset({"Extension"}))

    def _function(
        self, target: CompiledExpression, name: str, arguments: list[CompiledExpression]
    ) -> CompiledExpression:
        function = functions.FUNCTIONS.get(name)
        if function is None:
            raise Unsupported(f"{name}()")
        if not function.least <= len(arguments) <= function.most:
            raise Unsupported(f"{name}() with {len(arguments)} arguments")
        evaluate = function.make(target.evaluate, *(a.evaluate for a in arguments))
        if function.result == functions.SAME:
            typed = [target, *arguments] if name in ("combine", "union") else [target]
            return CompiledExpression(evaluate, _common(*typed))
        return CompiledExpression(
            evaluate, _UNKNOWN if function.result == functions.ANY else frozenset({function.result})
        )


def _choice_step(parent: CompiledExpression, keys: tuple[str, ...]) -> Evaluate:
    return evaluation.step(
        parent.evaluate, evaluation.property_of_this(*keys) if len(keys) == 1 else evaluation.choice_of_this(keys)
    )


def _operator(operator: str, left: CompiledExpression, right: CompiledExpression) -> CompiledExpression:
    if operator == "|":
        return CompiledExpression(evaluation.union(left.evaluate, right.evaluate), _common(left, right))
    make = operators.LOGICAL.get(operator)
    if make is None:
        make = operators.ARITHMETIC[operator]
        return CompiledExpression(make(left.evaluate, right.evaluate), _arithmetic_types(operator, left, right))
    if operator in ("=", "!=") and _is_temporal(left) and _is_temporal(right):
        make = operators.equals_temporal(operator == "=")
    return CompiledExpression(make(left.evaluate, right.evaluate), _BOOLEAN)


def _is_temporal(compiled: CompiledExpression) -> bool:
    return bool(compiled.types) and compiled.types <= _TEMPORAL


def _arithmetic_types(operator: str, left: CompiledExpression, right: CompiledExpression) -> Types:
    if operator == "&":
        return frozenset({"string"})
    if _is_temporal(left) or (left.types == right.types and operator != "/"):
        return left.types
    return frozenset({"decimal"}) if left.types | right.types <= _NUMERIC and left.types and right.types else _UNKNOWN


def _common(*compiled: CompiledExpression) -> Types:
    """The types of all of them; unknown if those of one are."""
    return frozenset().union(*(c.types for c in compiled)) if all(c.types for c in compiled) else _UNKNOWN


def _literal(e: ast.Expression) -> CompiledExpression:
    match e:
        case ast.EmptyLiteral():
            return CompiledExpression(lambda this, env: EMPTY)
        case ast.TemporalLiteral(value=text, type=type_name):
            return _constant(text, type_name)
        case ast.QuantityLiteral(value=number, unit=unit):
            return _constant(QuantityValue(number, CALENDAR_UNITS.get(unit, unit)), "Quantity")
        case ast.Literal(value=value):
            name = {str: "string", bool: "boolean", int: "integer"}.get(type(value), "decimal")
            return _constant(value, name)
    raise Unsupported(e.text)


def _constant(value: Any, type_name: str) -> CompiledExpression:
    return CompiledExpression(evaluation.constant(value), frozenset({type_name}))
