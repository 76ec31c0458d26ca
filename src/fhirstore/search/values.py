"""The values of search parameters, as conditions. https://hl7.org/fhir/R4/search.html#ptypes.

`Filter` turns the text after the = of a criterion into a condition. `parse` makes the filters, and `index` makes the
entries that conditions compare. Numbers and quantities have a module of their own (`numbers`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Literal, NamedTuple

from fhirstore.capability.registry import Registry, SearchParam
from fhirstore.definitions.core import Definitions
from fhirstore.fhirpath.search_expressions import compile_search_expression
from fhirstore.formats.text import fold
from fhirstore.model.conditions import (
    And,
    Chain,
    Condition,
    Date,
    Ids,
    LastUpdated,
    Not,
    Or,
    Present,
    Reference,
    ReverseChain,
    String,
    Token,
    Uri,
)
from fhirstore.model.messages import Message
from fhirstore.search.implied import implied_codings
from fhirstore.search.syntax import PREFIXES, SearchContext, UnknownParameter, beyond_limits, invalid, split, unescape

IDENTIFIER = ":identifier"
"""The identifiers of a reference parameter are indexed as a token parameter of their own, <code>:identifier."""

_NONE: frozenset[tuple[str, str]] = frozenset()
_MAX_CACHED_VALUES = 50
_URI_MODIFIERS: Mapping[str, Literal["exact", "below", "above"]] = {"": "exact", "below": "below", "above": "above"}
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_LOCAL = re.compile(r"([A-Z][A-Za-z]*)/([A-Za-z0-9\-.]{1,64})")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")
_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+\- ]\d\d:\d\d)?)?)?)?", re.ASCII
)
_EPOCH = date(1970, 1, 1).toordinal()
_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_DAY = 86_400 * _SECOND
_MICROSECOND = timedelta(microseconds=1)
_SHAPES = Message("YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss[.fff] with Z or an offset such as +01:00")

ReadValues = Callable[[SearchContext, Sequence[str]], Condition]
"""(context, values of a parameter) -> condition. Raises ValueError, which says how a value would be right."""


class Filter(NamedTuple):
    """The criteria of one name on resources of one type. links: the number of joins in their conditions. scans: each
    value is compared with all entries of its parameter."""

    name: str
    read: ReadValues
    links: int
    scans: bool

    def condition(self, context: SearchContext, text: str) -> Condition:
        """The condition of name=text. Raises UnknownParameter if text has no value, FhirError for any other fault."""
        parts = split(text, ",") if "\\" in text else text.split(",")
        values = [*filter(None, map(str.strip, parts))]
        if not values:
            raise UnknownParameter(Message("the search parameter {name} has no value", name=self.name))
        if self.scans:
            context.scanned += len(values)
        is_long = len(text) > context.max_chars and max(map(len, values)) > context.max_chars
        if is_long or len(values) > context.max_values or context.scanned > context.max_scanned:
            raise beyond_limits(context, self.name, values)
        try:
            return self.read(context, values)
        except ValueError as e:
            raise invalid(self.name, e) from None


def any_of(found: Sequence[Condition]) -> Condition:
    return found[0] if len(found) == 1 else Or(tuple(found))


# --- parameters of every type, modifiers, chains ------------------------------------------------------


def read_ids(context: SearchContext, values: Sequence[str]) -> Condition:
    """`_id`"""
    return Ids(tuple(map(unescape, values)))


def read_last_updated(context: SearchContext, values: Sequence[str]) -> Condition:
    """`_lastUpdated`, an instant that every resource has."""
    return any_of([_updated(_points("", *_date(value, context.zone))) for value in values])


def _updated(bounds: Condition) -> Condition:
    if isinstance(bounds, Or):
        return Or(tuple(_updated(part) for part in bounds.parts))
    assert isinstance(bounds, Date)
    return LastUpdated(bounds.low_ge, bounds.low_lt)


def read_missing(missing: Condition, present: Condition) -> ReadValues:
    """`:missing`: https://hl7.org/fhir/R4/search.html#modifiers."""

    def read(context: SearchContext, values: Sequence[str]) -> Condition:
        if values not in (["true"], ["false"]):
            raise ValueError(Message(":missing takes true or false"))
        return missing if values == ["true"] else present

    return read


def read_chain(code: str, targets: Sequence[tuple[str, ReadValues]]) -> ReadValues:
    """A reference parameter and, by type of its targets, the next step: https://hl7.org/fhir/R4/search.html#chaining."""

    def read(context: SearchContext, values: Sequence[str]) -> Condition:
        return any_of([Chain(code, type, next_step(context, values)) for type, next_step in targets])

    return read


def read_reverse_chain(source: str, code: str, criterion: ReadValues) -> ReadValues:
    """`_has`: https://hl7.org/fhir/R4/search.html#has."""
    return lambda context, values: ReverseChain(source, code, criterion(context, values))


# --- tokens: https://hl7.org/fhir/R4/search.html#token ------------------------------------------------


def read_tokens(registry: Registry, type: str, param: SearchParam, modifier: str) -> ReadValues:
    """`code`, `system|code`, `|code` (no system), `system|` (any code); `:not`."""
    core, code, expression = registry.catalog.core, param.code, param.expression

    def read(context: SearchContext, values: Sequence[str]) -> Condition:
        implied = _NONE
        if any("|" in value for value in values):
            implied = implied_codings(core, type, expression)
        # Lists of identifiers recur in searches for another time. The limits bound the memory that they take.
        parse = _cached_tokens if len(values) <= _MAX_CACHED_VALUES else _tokens
        found = parse(code, tuple(values), implied)
        return Not(found) if modifier else found

    return read


def _tokens(code: str, values: tuple[str, ...], implied: frozenset[tuple[str, str]]) -> Condition:
    return any_of([_token(code, value, implied) for value in values])


_cached_tokens = lru_cache(maxsize=256)(_tokens)


def _token(code: str, text: str, implied: frozenset[tuple[str, str]]) -> Condition:
    parts = text.split("|") if "\\" not in text else split(text, "|")
    if len(parts) == 1:
        return Token(code, None, unescape(text))
    if len(parts) > 2:
        raise ValueError(
            Message("{text} has more than one |. Use code, system|code, |code or system|", text=repr(text))
        )
    system, value = parts if "\\" not in text else map(unescape, parts)
    if not system:
        if not value:
            raise ValueError(Message("a | alone has no meaning. Use code, system|code, |code or system|"))
        return Token(code, "", value)
    if not value:
        return Present(code) if any(system == s for s, _ in implied) else Token(code, system, None)
    return Token(code, "" if implied and (system, value) in implied else system, value)


# --- strings and URIs: https://hl7.org/fhir/R4/search.html#string -------------------------------------


def read_strings(registry: Registry, type: str, param: SearchParam, modifier: str) -> ReadValues:
    """Texts that start with the value, whatever the case and accents; `:contains` anywhere; `:exact` as it stands."""
    return lambda context, values: any_of([_string(param.code, modifier, unescape(value)) for value in values])


def _string(code: str, modifier: str, value: str) -> Condition:
    if modifier == "exact":
        # An entry equal to the value starts with it once both are folded: that part has an index.
        return And((String(code, "prefix", fold(value)), String(code, "exact", value)))
    folded = fold(value)
    if not folded:
        raise ValueError(
            Message("{value} has nothing to search for. Use at least one letter, digit or sign", value=repr(value))
        )
    return String(code, "contains" if modifier == "contains" else "prefix", folded)


def read_uris(registry: Registry, type: str, param: SearchParam, modifier: str) -> ReadValues:
    """The same uri; `:below` those that begin with it, `:above` those that it begins with."""
    how = _URI_MODIFIERS[modifier]
    return lambda context, values: any_of([Uri(param.code, unescape(value), how) for value in values])


# --- references: https://hl7.org/fhir/R4/search.html#reference ----------------------------------------


def has_identifiers(core: Definitions, type: str, param: SearchParam) -> bool:
    """Whether values of a reference parameter can have an identifier: a canonical has none."""
    types = compile_search_expression(core, type, param.expression).types
    return "Reference" in types or not types  # empty: unknown


def read_references(registry: Registry, type: str, param: SearchParam, modifier: str) -> ReadValues:
    """`id` (of any allowed type), `Type/id`, a URL or canonical; `:Type` says the type of an `id`."""
    if modifier == IDENTIFIER[1:]:
        return lambda context, values: _tokens(param.code + IDENTIFIER, tuple(values), _NONE)
    types = (modifier,) if modifier else param.targets or tuple(sorted(registry.catalog.core.resource_types))

    def read(context: SearchContext, values: Sequence[str]) -> Condition:
        targets = [t for value in values for t in _targets(unescape(value), modifier, types, context.base)]
        return Reference(param.code, tuple(targets))

    return read


def _targets(value: str, modifier: str, types: tuple[str, ...], base: str | None) -> Sequence[str]:
    value = value.removeprefix(f"{base}/" if base else "").partition("/_history/")[0]
    if match := _LOCAL.fullmatch(value):
        if modifier and modifier != match[1]:
            raise ValueError(
                Message(
                    "{value} is not a {modifier}. Use the id alone, or {modifier}/id",
                    value=repr(value),
                    modifier=modifier,
                )
            )
        return [value]
    if _ID.fullmatch(value):
        return [f"{type}/{value}" for type in types]
    if _ABSOLUTE.fullmatch(value) and not modifier:
        return [value]
    raise ValueError(Message("{value} is not a reference. Use id, Type/id or an absolute URL", value=repr(value[:100])))


# --- dates: https://hl7.org/fhir/R4/search.html#date, prefixes: https://hl7.org/fhir/R4/search.html#prefix


def read_dates(registry: Registry, type: str, param: SearchParam, modifier: str) -> ReadValues:
    """The interval of the value compared, by prefix, with the intervals of the resource."""
    code, compare = param.code, _points if param.instant else _intervals
    return lambda context, values: any_of([compare(code, *_date(value, context.zone)) for value in values])


def merge_dates(conditions: Sequence[Condition]) -> list[Condition]:
    """The conditions of a repeated single-valued parameter with one `Date`: the only entry satisfies all bounds."""
    dates = [c for c in conditions if isinstance(c, Date)]
    if len(dates) < 2:
        return list(conditions)
    one = Date(
        dates[0].param,
        low_ge=max((d.low_ge for d in dates if d.low_ge is not None), default=None),
        low_lt=min((d.low_lt for d in dates if d.low_lt is not None), default=None),
        high_le=min((d.high_le for d in dates if d.high_le is not None), default=None),
        high_gt=max((d.high_gt for d in dates if d.high_gt is not None), default=None),
    )
    return [one, *(c for c in conditions if not isinstance(c, Date))]


def _date(value: str, zone: tzinfo) -> tuple[str, int, int]:
    prefix, text = (value[:2], value[2:].strip()) if value[:2] in PREFIXES else ("eq", value)
    low, high = date_interval(text, zone)
    return prefix, low, high


def _points(code: str, prefix: str, low: int, high: int) -> Condition:
    """For instants, whose entries are one microsecond long: bounds on their low end alone."""
    if prefix == "ge":
        return Date(code, low_ge=low)
    if prefix == "le":
        return Date(code, low_lt=high)
    if prefix in ("gt", "sa"):
        return Date(code, low_ge=high)
    if prefix in ("lt", "eb"):
        return Date(code, low_lt=low)
    if prefix == "ne":
        return Or((Date(code, low_lt=low), Date(code, low_ge=high)))
    if prefix == "ap":
        low, high = _widened(low, high)
    return Date(code, low_ge=low, low_lt=high)


def _intervals(code: str, prefix: str, low: int, high: int) -> Condition:
    if prefix == "ge":
        return Or((Date(code, low_ge=low), Date(code, high_gt=high)))
    if prefix == "le":
        return Or((Date(code, low_lt=low), Date(code, high_le=high)))
    if prefix == "gt":
        return Date(code, high_gt=high)
    if prefix == "lt":
        return Date(code, low_lt=low)
    if prefix == "sa":
        return Date(code, low_ge=high)
    if prefix == "eb":
        return Date(code, high_le=low)
    if prefix == "ne":
        return Or((Date(code, low_lt=low), Date(code, high_gt=high)))
    if prefix == "ap":
        low, high = _widened(low, high)
        return Date(code, low_lt=high, high_gt=low)
    return Date(code, low_ge=low, high_le=high)


def _widened(low: int, high: int) -> tuple[int, int]:
    """By a tenth of the distance between the interval and now."""
    now = time.time_ns() // 1000
    gap = max(low - now, now - high, 0) // 10
    return low - gap, high + gap


def date_interval(text: str, zone: tzinfo) -> tuple[int, int]:
    """The interval [low, high), in microseconds since 1970 UTC, that a date, dateTime or instant names.

    Precision is that of the text; digits below the microsecond are dropped. Days, months and years are those of
    UTC; `zone` completes a time without offset. A blank in the place of the offset's sign is a "+" that was not
    percent-encoded. Second 60 is the next minute's first. Raises ValueError with what would be right.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(Message("{text} is not a date: give {shapes}", text=repr(text[:60]), shapes=_SHAPES))
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    try:
        if hour is None:
            return _days(int(year), month, day)
        at = datetime(int(year), int(month), int(day), int(hour), int(minute), tzinfo=UTC)
    except ValueError as e:
        raise ValueError(
            Message(
                "{text} is not a date: {reason}", text=repr(text), reason=_calendar_fault(e, month, day, hour, minute)
            )
        ) from None
    low = (at.toordinal() - _EPOCH) * _DAY + (at.hour * 60 + at.minute) * _MINUTE
    width = _MINUTE
    if second is not None:
        if int(second) > 60:
            raise ValueError(Message("{text} is not a date: second must be in 0..60", text=repr(text)))
        low += int(second) * _SECOND
        width = _SECOND
        if fraction is not None:
            low += int(fraction[:6].ljust(6, "0"))
            width = 10 ** max(0, 6 - len(fraction))
    low -= _local_offset(at, zone) if offset is None else _offset(offset, text)
    return low, low + width


def _calendar_fault(
    problem: ValueError, month: str | None, day: str | None, hour: str | None, minute: str | None
) -> Message | ValueError:
    """Why the parts of a date are no date. Python's own text is not used, because it is not translated."""
    if month is not None and not 1 <= int(month) <= 12:
        return Message("month must be in 1..12")
    if hour is not None and int(hour) > 23:
        return Message("hour must be in 0..23")
    if minute is not None and int(minute) > 59:
        return Message("minute must be in 0..59")
    return problem if day is None else Message("day is out of range for month")


def _days(year: int, month: str | None, day: str | None) -> tuple[int, int]:
    """The interval of a year, month or day."""
    first = date(year, int(month or 1), int(day or 1)).toordinal()
    if day is not None:
        after = first + 1
    elif month is not None and int(month) < 12:
        after = date(year, int(month) + 1, 1).toordinal()
    else:
        after = date(year, 12, 31).toordinal() + 1
    return (first - _EPOCH) * _DAY, (after - _EPOCH) * _DAY


def _local_offset(at: datetime, zone: tzinfo) -> int:
    """Microseconds east of UTC at a wall time of the zone; of a time that occurs twice, the first."""
    shift = at.replace(tzinfo=zone).utcoffset()
    return shift // _MICROSECOND if shift else 0


def _offset(offset: str, text: str) -> int:
    """Microseconds east of UTC."""
    if offset == "Z":
        return 0
    hours, minutes = int(offset[1:3]), int(offset[4:])
    if minutes > 59 or hours * 60 + minutes > 14 * 60:
        raise ValueError(Message("{text} is not a date: offsets go from -14:00 to +14:00", text=repr(text)))
    return (hours * 60 + minutes) * (-_MINUTE if offset[0] == "-" else _MINUTE)
