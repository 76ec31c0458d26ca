"""The syntax tree of FHIRPath: http://hl7.org/fhirpath/N1/#grammar."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Expression:
    """A node of the tree. text: its source."""

    text: str


@dataclass(frozen=True, slots=True)
class Member(Expression):
    """`target.name`. Without a target: an element of the context, or the type name at the start of a path."""

    target: Expression | None
    name: str


@dataclass(frozen=True, slots=True)
class FunctionCall(Expression):
    """`target.name(arguments)`. Without a target, the function applies to the context."""

    target: Expression | None
    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Indexer(Expression):
    """`target[index]`"""

    target: Expression
    index: Expression


@dataclass(frozen=True, slots=True)
class TypeExpression(Expression):
    """`target is type` and `target as type`, and the functions is(), as() and ofType() (operator "as").

    type: without its namespace (FHIR.Patient, System.String)."""

    target: Expression
    operator: str
    type: str


@dataclass(frozen=True, slots=True)
class OperatorExpression(Expression):
    """`left operator right`. The polarity of a term (`-1`) has no left operand."""

    operator: str
    left: Expression | None
    right: Expression


@dataclass(frozen=True, slots=True)
class Literal(Expression):
    """A string, a boolean or a number."""

    value: str | bool | int | Decimal


@dataclass(frozen=True, slots=True)
class TemporalLiteral(Expression):
    """`@2024-01-31`. value: as FHIR writes it. type: date | dateTime | time."""

    value: str
    type: str


@dataclass(frozen=True, slots=True)
class QuantityLiteral(Expression):
    """`4 'mg'` and `1 year`. unit: a UCUM code, or a calendar unit in the singular."""

    value: int | Decimal
    unit: str


@dataclass(frozen=True, slots=True)
class EmptyLiteral(Expression):
    """`{}`"""


@dataclass(frozen=True, slots=True)
class Variable(Expression):
    """`%name`, `$this`, `$index` and `$total`. name: with its % or $."""

    name: str


def descend(expression: Any) -> Iterator[Expression]:
    """An expression and all expressions in it."""
    if isinstance(expression, tuple):
        for item in expression:
            yield from descend(item)
    elif isinstance(expression, Expression):
        yield expression
        for field in dataclasses.fields(expression):
            yield from descend(getattr(expression, field.name))


def mentions(expression: Expression, variable: str) -> bool:
    """Whether a variable ("$index") occurs in an expression."""
    return any(isinstance(e, Variable) and e.name == variable for e in descend(expression))
