"""Refuses searches by parameters that are not indexed for all resources, because they would miss some."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

from fhirstore.errors import error
from fhirstore.model.conditions import (
    And,
    Chain,
    Condition,
    Date,
    Not,
    Number,
    Or,
    Present,
    Reference,
    ReverseChain,
    String,
    Token,
    Uri,
)
from fhirstore.model.messages import Message
from fhirstore.model.queries import Include, Query


def refuse_pending(
    pending: Set[tuple[str, str]], query: Query, include_steps: Iterable[tuple[Include, str, str]]
) -> None:
    """Raises FhirError 422 if the query needs a pending parameter. pending: (type, code) pairs. include_steps: the
    source types and reference parameters of its includes."""
    needed = {(query.type, sort.param) for sort in query.sort} | set(_params(query.type, query.where))
    for include, source, code in include_steps:
        needed.add((source, code))
        if include.where:
            needed.update(_params(include.source, include.where))
    if missing := sorted(needed & pending):
        names = ", ".join(f"{type}.{code}" for type, code in missing)
        raise error(
            422,
            "incomplete",
            Message(
                "Not all resources are indexed yet for {names}: the search would miss some. "
                "`fhirstore reindex` completes the index; try again when it is done.",
                names=names,
            ),
            *(f"http.{code}" for _, code in missing),
        )


def _params(type: str, where: Condition) -> Iterator[tuple[str, str]]:
    """The (type, parameter) pairs of a condition."""
    match where:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _params(type, part)
        case Not(part):
            yield from _params(type, part)
        case Chain(param, target, inner):
            yield type, param
            yield from _params(target, inner)
        case ReverseChain(source, param, inner):
            yield source, param
            yield from _params(source, inner)
        case Present() | Token() | String() | Date() | Number() | Reference() | Uri():
            yield type, where.param
