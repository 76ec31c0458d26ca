"""Parses a query string: https://hl7.org/fhir/R4/search.html.

Unknown parameters are refused under `Prefer: handling=strict`, and ignored with a warning otherwise. A known parameter
with an invalid value or modifier is always refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from zoneinfo import ZoneInfo

from fhirstore.capability.registry import Registry, SearchParam
from fhirstore.errors import FhirError, Issue, error
from fhirstore.model.conditions import MATCH_ALL, MATCH_NONE, And, Condition, Not, Present
from fhirstore.model.messages import Message, text_of
from fhirstore.model.queries import Query
from fhirstore.search import numbers, values
from fhirstore.search.index import KINDS
from fhirstore.search.results import RESULT_PARAMETERS, ResultParameters
from fhirstore.search.syntax import SearchContext, UnknownParameter, invalid, too_costly
from fhirstore.search.values import Filter, ReadValues
from fhirstore.settings import Settings

MAX_LINKS = 500
"""The maximum number of joins of a search. Only untyped chains over references to any type come near."""
MAX_DEPTH = 10
"""The maximum number of steps of a chain."""

_GENERAL = ("_format", "_pretty")


def parse(
    registry: Registry,
    type: str,
    params: Sequence[tuple[str, str]],
    settings: Settings,
    *,
    strict: bool,
    raw: str | None = None,
    secret: bytes,
) -> Query:
    """The search of decoded (name, value) pairs on a served type. strict: refuse unknown parameters.
    raw: the query string as received, None for a form. secret: the key of page tokens.

    Query.used has the parameters that took effect, with `_page`, `_format` and `_pretty`.
    Raises FhirError: 400 for invalid parameters, 422 beyond a limit."""
    _check_size(params, settings)
    context = _context(settings)
    results = ResultParameters(registry, type, settings)
    found: dict[str, list[Condition]] = {}
    used: list[tuple[str, str]] = []
    ignored: list[Issue] = []
    links = 0
    for name, value in params:
        try:
            if not value.strip():
                raise UnknownParameter(Message("the search parameter {name} has no value", name=name))
            if name.partition(":")[0] in RESULT_PARAMETERS:
                results.parse(name, value)
            elif name not in _GENERAL:
                filter = compile_filter(registry, type, name)
                links += filter.links
                if links > MAX_LINKS:
                    raise _too_many_links(name)
                found.setdefault(name, []).append(filter.condition(context, value))
            used.append((name, value))
        except UnknownParameter as e:
            if strict:
                raise _unsupported(name, e) from None
            reason = Message("{reason}; it was ignored.", reason=e)
            ignored.append(Issue("warning", "not-supported", reason, (f"http.{name}",)))
    return results.query(_all_of(registry, type, found), params, used, ignored, raw, secret)


def criteria(registry: Registry, type: str, params: Sequence[tuple[str, str]], settings: Settings) -> Condition:
    """The condition of a conditional interaction (https://hl7.org/fhir/R4/http.html#cond-update).

    All parameters must be known, at least one must be a criterion, and result parameters are not allowed. Raises
    FhirError 400 or 422."""
    _check_size(params, settings)
    context = _context(settings)
    found: dict[str, list[Condition]] = {}
    links = 0
    for name, value in params:
        if name in _GENERAL:
            continue
        try:
            filter = compile_filter(registry, type, name)
            links += filter.links
            if links > MAX_LINKS:
                raise _too_many_links(name)
            found.setdefault(name, []).append(filter.condition(context, value))
        except UnknownParameter as e:
            raise _unsupported(name, e) from None
    if not found:
        raise error(
            400,
            "required",
            Message("The criteria for {type} need at least one search parameter with a value.", type=type),
        )
    return _all_of(registry, type, found)


def _context(settings: Settings) -> SearchContext:
    base = settings.base_url.rstrip("/") if settings.base_url else None
    zone = ZoneInfo(settings.timezone)
    return SearchContext(zone, base, settings.max_url_values, settings.max_value_chars, settings.max_scanned_values)


def _check_size(params: Sequence[tuple[str, str]], settings: Settings) -> None:
    """Raises FhirError 422 for more values than the settings allow, those of unknown parameters included."""
    count = sum(value.count(",") for _, value in params) + len(params)
    if count > settings.max_search_values:
        raise error(
            422,
            "too-costly",
            Message(
                "The search has {count} values; at most {limit} are allowed (setting max_search_values).",
                count=count,
                limit=settings.max_search_values,
            ),
        )


def _all_of(registry: Registry, type: str, found: Mapping[str, Sequence[Condition]]) -> Condition:
    """The condition of all criteria. found: by name."""
    params = registry.indexed_types.get(type, {})
    parts: list[Condition] = []
    for name, conditions in found.items():
        repeated = len(conditions) > 1 and name in params and params[name].single
        parts += values.merge_dates(conditions) if repeated else conditions
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _unsupported(name: str, reason: UnknownParameter) -> FhirError:
    return error(400, "not-supported", Message("{reason}.", reason=reason), f"http.{name}")


def _too_many_links(name: str) -> FhirError:
    reason = Message("follows more than {max_links} references; name their types (:Type)", max_links=MAX_LINKS)
    return too_costly(name, reason)


# --- names of criteria --------------------------------------------------------------------------------

_READERS: Mapping[str, Callable[[Registry, str, SearchParam, str], ReadValues]] = {
    "token": values.read_tokens,
    "string": values.read_strings,
    "uri": values.read_uris,
    "number": numbers.read_numbers,
    "quantity": numbers.read_quantities,
    "date": values.read_dates,
    "reference": values.read_references,
}
_MODIFIERS: Mapping[str, tuple[str, ...]] = {
    "token": ("not",),
    "string": ("exact", "contains"),
    "uri": ("above", "below"),
    "reference": ("identifier",),
}


class _BrokenChain(UnknownParameter):
    """The first step of a chain is known, but no other step."""


@lru_cache(maxsize=4096)
def compile_filter(registry: Registry, type: str, name: str) -> Filter:
    """The criteria of a name, such as `schedule.actor:Practitioner.identifier`, on resources of a type.

    Raises UnknownParameter for a parameter that is not declared for the type, FhirError for any other fault."""
    if name.count(".") + name.count("_has:") > MAX_DEPTH:
        raise too_costly(name, Message("has more than {max_depth} steps", max_depth=MAX_DEPTH))
    compiler = _Compiler(registry, name)
    try:
        read = compiler.compile(type, name, chained=False)
    except (ValueError, _BrokenChain) as e:
        raise invalid(name, e) from None
    except UnknownParameter as e:
        params = registry.indexed_types.get(type, {}).values()
        own = sorted(p.code for p in params if p.declared and p.type in KINDS)
        supported = ", ".join(("_has", "_id", "_lastUpdated", *own))
        raise UnknownParameter(Message("{reason}; supported: {supported}", reason=e, supported=supported)) from None
    return Filter(name, read, compiler.links, compiler.scans)


class _Compiler:
    """Compiles one name. links: the number of joins so far. scans: see `Filter`."""

    def __init__(self, registry: Registry, name: str):
        self._registry, self._name = registry, name
        self._indexed = registry.indexed_types
        self.links = 0
        self.scans = False

    def compile(self, type: str, name: str, chained: bool) -> ReadValues:
        if name.startswith("_has:"):
            return self._reverse_chain(type, name)
        step, dot, rest = name.partition(".")
        code, colon, modifier = step.partition(":")
        if colon and not modifier:
            raise ValueError(Message("a modifier must follow the colon"))
        if dot:
            return self._chain(self._indexed_param(type, code), modifier, rest)
        if modifier == "missing":
            return self._missing(type, code, chained)
        if code in ("_id", "_lastUpdated"):
            self._refuse_modifier(modifier, ())
            return values.read_ids if code == "_id" else values.read_last_updated
        param = self._param(type, code, chained)
        if param.type != "reference" or modifier not in self._targets(param):
            self._refuse_modifier(modifier, self._modifiers(type, param))
        self.scans |= modifier in ("contains", "above")
        return _READERS[param.type](self._registry, type, param, modifier)

    def _modifiers(self, type: str, param: SearchParam) -> Sequence[str]:
        if param.type == "reference" and not values.has_identifiers(self._registry.catalog.core, type, param):
            return ()
        return _MODIFIERS.get(param.type, ())

    def _missing(self, type: str, code: str, chained: bool) -> ReadValues:
        if code in ("_id", "_lastUpdated"):
            return values.read_missing(MATCH_NONE, MATCH_ALL)
        present = Present(self._param(type, code, chained).code)
        return values.read_missing(Not(present), present)

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
        return param.targets or self._registry.catalog.core.resource_types

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

    def _chain(self, param: SearchParam, modifier: str, rest: str) -> ReadValues:
        targets = self._chain_targets(param, modifier)
        self._count_link()
        found: list[tuple[str, ReadValues]] = []
        problems: list[str] = []
        for target in (modifier,) if modifier else sorted(targets):
            if target not in self._indexed:
                continue
            try:
                found.append((target, self.compile(target, rest, chained=True)))
                self._count_link()
            except UnknownParameter as e:
                problems.append(text_of(e))
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
        return values.read_chain(param.code, found)

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

    def _reverse_chain(self, type: str, name: str) -> ReadValues:
        parts = name.split(":", 3)
        if len(parts) < 4 or not all(parts):
            raise ValueError(Message("use _has:Type:reference-parameter:parameter=value"))
        _, source, code, rest = parts
        try:
            param = self._indexed_param(source, code)
            criterion = self.compile(source, rest, chained=True)
        except UnknownParameter as e:
            raise _BrokenChain(text_of(e)) from None
        if param.type != "reference" or type not in self._targets(param):
            raise _BrokenChain(
                Message("{code} of {source} does not refer to {type}", code=code, source=source, type=type)
            )
        self._count_link()
        return values.read_reverse_chain(source, code, criterion)

    def _count_link(self) -> None:
        self.links += 1
        if self.links > MAX_LINKS:
            raise _too_many_links(self._name)
