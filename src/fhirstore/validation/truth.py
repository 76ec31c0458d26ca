"""https://hl7.org/fhirpath/N1/: invariants as plain functions, for all that the invariants of R4 say.

An expression is compiled for the type or backbone that it is evaluated on, so that a choice (`value[x]`) and a type
test cost a look-up by key. What is not covered raises Unsupported, and the library fhirpathpy does it (`evaluate`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.fhirpath.parse import Call, Expression, Index, Literal, Name, Operation, TypeTest, Variable, parse
from fhirstore.validation import functions
from fhirstore.validation.operators import OPERATORS, union
from fhirstore.validation.values import Env, Run, Unsupported, Values, boolean

Truth = Callable[[Any, Env], bool | None]


@dataclass(frozen=True, slots=True)
class Made:
    """An expression compiled. types: paths of types and backbones that its values may have; empty = not known."""

    run: Run
    types: frozenset[str] = frozenset()


def compile_native(core: Definitions, expression: str, path: str) -> Truth:
    """(value, environment) -> true, false, None = empty. path: of the type or backbone of the value.

    The function raises ValueError for what FHIRPath calls an error, `values.Incomparable` where two values have no
    order. Raises Unsupported for what is not covered, ValueError for what is no FHIRPath."""
    made = _Compiler(core, path).make(parse(expression), frozenset({path}))
    run = made.run
    return lambda value, env: boolean(run(value, env))


class _Compiler:
    def __init__(self, core: Definitions, path: str):
        self._core, self._path = core, path

    def make(self, e: Expression, at: frozenset[str]) -> Made:
        """at: the types of `$this`."""
        match e:
            case Literal(value=value):
                return _literal(value)
            case Variable(name=name):
                return self._variable(name, at)
            case Name(target=None, name=name) if name[:1].isupper() and self._core.node(name) is not None:
                return Made(_this, at)
            case Name(target=target, name=name):
                return self._step(self._target(target, at), name)
            case Index(target=target, index=Literal(value=int() as number)):
                made = self.make(target, at)
                return Made(functions.nth(made.run, number), made.types)
            case TypeTest(target=target, operator=operator, type=type_name):
                return self._typed(target, operator, type_name, at)
            case Operation(operator=operator, left=Expression() as left, right=right):
                return self._operation(operator, self.make(left, at), self.make(right, at))
            case Call(target=target, name=name, arguments=arguments):
                return self._call(target, name, arguments, at)
        raise Unsupported(e.text)

    def _target(self, target: Expression | None, at: frozenset[str]) -> Made:
        return Made(_this, at) if target is None else self.make(target, at)

    def _variable(self, name: str, at: frozenset[str]) -> Made:
        resource = frozenset({self._path.partition(".")[0]})
        if name == "$this":
            return Made(_this, at)
        if name == "%context":
            return Made(lambda this, env: [env.context], frozenset({self._path}))
        if name == "%resource":
            return Made(lambda this, env: [env.resource], resource)
        if name == "%rootResource":
            return Made(lambda this, env: [env.root], frozenset({"DomainResource"}))
        if name == "%ucum":
            return _literal("http://unitsofmeasure.org")
        raise Unsupported(name)

    # --- paths

    def _step(self, made: Made, name: str) -> Made:
        keys, types = self._keys(made.types, name)
        if made.run is _this:
            return Made(functions.property_of_this(keys) if len(keys) == 1 else functions.choice_of_this(keys), types)
        return Made(functions.property_of(made.run, keys), types)

    def _keys(self, types: Iterable[str], name: str) -> tuple[tuple[str, ...], frozenset[str]]:
        """The JSON properties that an element may stand in, and the types of its values."""
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
        return (name,), frozenset()

    def _typed(self, target: Expression, operator: str, type_name: str, at: frozenset[str]) -> Made:
        wanted = next((n for n in (type_name, type_name[:1].lower() + type_name[1:]) if self._core.node(n)), None)
        if wanted is None:
            raise Unsupported(type_name)
        made = self.make(target, at)
        if self._core.is_a(wanted, "Resource"):
            core = self._core
            test = lambda v: type(v) is dict and core.is_a(str(v.get("resourceType")), wanted)  # noqa: E731
            run = functions.of_type(made.run, test) if operator == "as" else functions.is_type(made.run, test)
            return Made(run, frozenset({wanted}) if operator == "as" else frozenset({"boolean"}))
        if not isinstance(target, Name) or not made.types:
            raise Unsupported(f"{operator} {type_name}")
        return self._chosen(target, operator, wanted, at)

    def _chosen(self, target: Name, operator: str, wanted: str, at: frozenset[str]) -> Made:
        """A type test on a choice: the property tells the type."""
        holder = self._target(target.target, at)
        keys, _ = self._keys(holder.types, target.name)
        nodes = [n for t in holder.types if (n := self._core.node(t)) is not None]
        fitting = tuple(
            k for k in keys if any(k in n.keys and self._core.is_a(n.keys[k][1].code, wanted) for n in nodes)
        )
        values = functions.property_of(holder.run, fitting)
        if operator == "as":
            return Made(values, frozenset({wanted}))
        every = functions.property_of(holder.run, keys)

        def run(this: Any, env: Env) -> Values:
            return [bool(values(this, env))] if every(this, env) else []

        return Made(run, frozenset({"boolean"}))

    # --- operators and functions

    def _operation(self, operator: str, left: Made, right: Made) -> Made:
        if operator == "|":
            return Made(union(left.run, right.run), left.types | right.types)
        make = OPERATORS.get(operator)
        if make is None:
            raise Unsupported(operator)
        return Made(make(left.run, right.run), frozenset({"boolean"}))

    def _call(
        self, target: Expression | None, name: str, arguments: tuple[Expression, ...], at: frozenset[str]
    ) -> Made:
        if name in ("as", "is", "ofType"):  # without a target: of `$this`
            type_name = arguments[0].name if len(arguments) == 1 and isinstance(arguments[0], Name) else ""
            return self._typed(Variable("$this", "$this"), "is" if name == "is" else "as", type_name, at)
        made = self._target(target, at)
        if name == "trace":
            return made
        if name in functions.LAMBDAS and arguments:
            if len(arguments) != 1:
                raise Unsupported(name)
            inner = self.make(arguments[0], made.types)
            types = {"where": made.types, "select": inner.types}.get(name, frozenset({"boolean"}))
            return Made(functions.LAMBDAS[name](made.run, inner.run), types)
        if name == "iif":
            inside = [self.make(a, made.types) for a in arguments]
            return Made(functions.iif(made.run, [a.run for a in inside]), frozenset())
        if name == "extension" and len(arguments) == 1:
            return Made(functions.extension(made.run, self.make(arguments[0], at).run), frozenset({"Extension"}))
        if name in functions.SAME_TYPE:
            inside = [self.make(a, at) for a in arguments]
            run = functions.SAME_TYPE[name](made.run, *(a.run for a in inside))
            return Made(run, made.types.union(*(a.types for a in inside)))
        if name in functions.WALKS and not arguments:
            return Made(functions.WALKS[name](made.run))
        make = functions.FUNCTIONS.get(name)
        if make is None:
            raise Unsupported(f"{name}()")
        try:
            run = make(made.run, *(self.make(a, at).run for a in arguments))
        except TypeError as e:  # the wrong number of arguments
            raise Unsupported(f"{name}(): {e}") from None
        return Made(run, frozenset({"System"}))


def _this(this: Any, env: Env) -> Values:
    return [this] if this is not None else []


def _literal(value: Any) -> Made:
    if value is None:
        raise Unsupported("a literal that is no text, number or boolean")
    values = [value]
    return Made(lambda this, env: values, frozenset({"System"}))
