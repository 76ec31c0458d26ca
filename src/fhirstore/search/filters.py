"""The condition of one criterion (name=value) of a search, with chains and reverse chains.

https://hl7.org/fhir/R4/search.html#modifiers · https://hl7.org/fhir/R4/search.html#chaining ·
https://hl7.org/fhir/R4/search.html#has
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fhirstore.capability.registry import SearchParam
from fhirstore.errors import FhirError, error
from fhirstore.model.conditions import (
    MATCH_ALL,
    MATCH_NONE,
    Chain,
    Condition,
    Ids,
    Not,
    Or,
    Present,
    ReverseChain,
)
from fhirstore.model.messages import Message, text_of
from fhirstore.search import date, number, quantity, reference, string, token, uri
from fhirstore.search.index import KINDS
from fhirstore.search.syntax import SearchContext, split, unescape

MAX_LINKS = 500
"""The maximum number of joins of a search. Only untyped chains over references to any type come near."""
MAX_DEPTH = 10
"""The maximum number of steps of a chain."""

Alternatives = Callable[[SearchContext, str, SearchParam, str | None, Sequence[str]], Sequence[Condition]]

_KINDS: Mapping[str, Alternatives] = {
    "token": token.alternatives,
    "string": string.alternatives,
    "uri": uri.alternatives,
    "number": number.alternatives,
    "quantity": quantity.alternatives,
    "date": date.alternatives,
    "reference": reference.alternatives,
}
_MODIFIERS: Mapping[str, tuple[str, ...]] = {
    "token": ("not",),
    "string": ("exact", "contains"),
    "uri": ("above", "below"),
    "reference": ("identifier",),
}


class UnknownParameter(Exception):
    """The server does not support the search parameter; the text says why."""


class _BrokenChain(UnknownParameter):
    """The first step of a chain is known, but no other step."""


class Filters:
    """Parses the criteria of one search."""

    def __init__(self, context: SearchContext):
        self._context = context
        self._indexed = context.registry.indexed_types
        self._links = 0

    def read(self, type: str, name: str, text: str) -> Condition | None:
        """The condition of name=text on resources of the type, None if text is empty.

        Raises UnknownParameter for a parameter that is not declared for the type, FhirError for any other fault."""
        values = self._values(name, text)
        if not values:
            return None
        if name.count(".") + name.count("_has:") > MAX_DEPTH:
            raise _too_costly(name, Message("has more than {max_depth} steps", max_depth=MAX_DEPTH))
        try:
            return self._condition(type, name, values, chained=False)
        except (ValueError, _BrokenChain) as e:
            raise error(
                400,
                "value",
                Message("The search parameter {name} is invalid: {reason}.", name=name, reason=e),
                f"http.{name}",
            ) from None

    def _values(self, name: str, text: str) -> list[str]:
        parts = split(text, ",") if "\\" in text else text.split(",")
        values = [value for part in parts if (value := part.strip())]
        if len(values) > self._context.limit:
            limit = Message("at most {limit} are allowed (setting max_url_values)", limit=self._context.limit)
            raise _too_costly(name, Message("has {count} values; {limit}", count=len(values), limit=limit))
        return values

    def _condition(self, type: str, name: str, values: list[str], chained: bool) -> Condition:
        if name.startswith("_has:"):
            return self._reverse(type, name, values)
        step, dot, rest = name.partition(".")
        code, colon, modifier = step.partition(":")
        if colon and not modifier:
            raise ValueError(Message("a modifier must follow the colon"))
        if dot:
            return self._chain(type, name, self._indexed_param(type, code), modifier, rest, values)
        if modifier == "missing":
            return self._missing(type, code, values, chained)
        if code == "_id":
            self._refuse_modifier(modifier, ())
            return Ids(tuple(unescape(value) for value in values))
        if code == "_lastUpdated":
            self._refuse_modifier(modifier, ())
            found = date.last_updated(values, self._context.zone)
            return found[0] if len(found) == 1 else Or(tuple(found))
        param = self._param(type, code, chained)
        if param.type != "reference" or modifier not in self._targets(param):
            self._refuse_modifier(modifier, _MODIFIERS.get(param.type, ()))
        found = _KINDS[param.type](self._context, type, param, modifier or None, values)
        condition = found[0] if len(found) == 1 else Or(tuple(found))
        return Not(condition) if modifier == "not" else condition

    def _param(self, type: str, code: str, chained: bool) -> SearchParam:
        param = self._indexed_param(type, code)
        if not chained and not param.declared:
            raise UnknownParameter(
                Message("{type} has no search parameter {code} of its own on this server", type=type, code=repr(code))
            )
        return param

    def _indexed_param(self, type: str, code: str) -> SearchParam:
        param = self._indexed.get(type, {}).get(code)
        if param is None:
            raise UnknownParameter(
                Message("{type} has no search parameter {code} on this server", type=type, code=repr(code))
            )
        if param.type not in KINDS:
            raise UnknownParameter(
                Message(
                    "{code} is a {type} parameter, which this server does not support", code=repr(code), type=param.type
                )
            )
        return param

    def _targets(self, param: SearchParam) -> Sequence[str] | frozenset[str]:
        """The types that a reference parameter may refer to."""
        return param.targets or self._context.registry.catalog.core.resource_types

    @staticmethod
    def _refuse_modifier(modifier: str, supported: Sequence[str]) -> None:
        if modifier and modifier not in supported:
            known = ", ".join(f":{m}" for m in (*supported, "missing"))
            raise ValueError(
                Message(
                    "the modifier :{modifier} is not supported; supported modifiers: {known}",
                    modifier=modifier,
                    known=known,
                )
            )

    def _missing(self, type: str, code: str, values: list[str], chained: bool) -> Condition:
        if values not in (["true"], ["false"]):
            raise ValueError(Message(":missing takes true or false"))
        if code in ("_id", "_lastUpdated"):
            return MATCH_NONE if values == ["true"] else MATCH_ALL
        present = Present(self._param(type, code, chained).code)
        return Not(present) if values == ["true"] else present

    def _chain(
        self, type: str, name: str, param: SearchParam, modifier: str, rest: str, values: list[str]
    ) -> Condition:
        targets = self._chain_targets(param, modifier)
        self._count_link(name)
        found: list[Condition] = []
        problems: list[str] = []
        for target in (modifier,) if modifier else sorted(targets):
            if target not in self._indexed:
                continue
            try:
                where = self._condition(target, rest, values, chained=True)
            except UnknownParameter as e:
                problems.append(text_of(e))
                continue
            self._count_link(name)
            found.append(Chain(param.code, target, where))
        if not found and len(problems) == 1:
            raise _BrokenChain(problems[0])
        if not found:
            raise _BrokenChain(
                Message(
                    "no type that {code} refers to has a search parameter {rest} on this server",
                    code=param.code,
                    rest=repr(rest),
                )
            )
        return found[0] if len(found) == 1 else Or(tuple(found))

    def _chain_targets(self, param: SearchParam, modifier: str) -> Sequence[str] | frozenset[str]:
        """The types that a chained parameter can refer to. Raises _BrokenChain."""
        if param.type != "reference":
            raise _BrokenChain(
                Message(
                    "{code} is a {type} parameter; only references can be chained", code=param.code, type=param.type
                )
            )
        targets = self._targets(param)
        if modifier and modifier not in targets:
            raise _BrokenChain(
                Message(
                    "{code} does not refer to {modifier}; it refers to {targets}",
                    code=param.code,
                    modifier=modifier,
                    targets=", ".join(sorted(targets)),
                )
            )
        return targets

    def _reverse(self, type: str, name: str, values: list[str]) -> Condition:
        parts = name.split(":", 3)
        if len(parts) < 4 or not all(parts):
            raise ValueError("use _has:Type:reference-parameter:parameter=value")
        _, source, code, rest = parts
        try:
            param = self._indexed_param(source, code)
            where = self._condition(source, rest, values, chained=True)
        except UnknownParameter as e:
            raise _BrokenChain(text_of(e)) from None
        if param.type != "reference" or type not in self._targets(param):
            raise _BrokenChain(
                Message("{code} of {source} does not refer to {type}", code=code, source=source, type=type)
            )
        self._count_link(name)
        return ReverseChain(source, code, where)

    def _count_link(self, name: str) -> None:
        self._links += 1
        if self._links > MAX_LINKS:
            raise _too_costly(
                name, Message("follows more than {max_links} references; name their types (:Type)", max_links=MAX_LINKS)
            )


def _too_costly(name: str, why: str) -> FhirError:
    return error(
        422,
        "too-costly",
        Message("The search parameter {name} {reason}.", name=name[:200], reason=why),
        f"http.{name[:200]}",
    )
