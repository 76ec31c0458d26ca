"""Parses a query string: https://hl7.org/fhir/R4/search.html.

Unknown parameters are refused under `Prefer: handling=strict`, and ignored with a warning otherwise. A known parameter
with an invalid value or modifier is always refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from fhirstore.capability.registry import Registry
from fhirstore.errors import Issue, error
from fhirstore.model.conditions import And, Condition, Sort
from fhirstore.model.messages import Message
from fhirstore.model.queries import Include, Query
from fhirstore.search.date import merge
from fhirstore.search.filters import Filters, UnknownParameter
from fhirstore.search.includes import read_include
from fhirstore.search.index import KINDS
from fhirstore.search.paging import PAGE, read_token
from fhirstore.search.sort import read_sort
from fhirstore.search.syntax import SearchContext
from fhirstore.settings import Settings

_GENERAL = ("_format", "_pretty")
_TOTALS = ("none", "estimate", "accurate")
_SUMMARIES = ("true", "text", "data", "count", "false")
_INCLUDES = ("_include", "_revinclude")
_NAMES = frozenset(("_sort", "_count", "_total", "_summary", "_elements", *_INCLUDES))
_COUNT = re.compile(r"\d{1,18}", re.ASCII)


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
    criteria = Criteria(registry, type, settings)
    results = ResultParameters(registry, type, settings)
    used: list[tuple[str, str]] = []
    ignored: list[Issue] = []
    page: str | None = None
    for name, value in params:
        try:
            if not value.strip():
                raise UnknownParameter(Message("the search parameter {name} has no value", name=name))
            if name == PAGE:
                page = value
            elif name not in _GENERAL and not results.parse(name, value):
                criteria.add(name, value)
            used.append((name, value))
        except UnknownParameter as e:
            if strict:
                raise error(400, "not-supported", Message("{reason}.", reason=e), f"http.{name}") from None
            ignored.append(
                Issue("warning", "not-supported", Message("{reason}; it was ignored.", reason=e), (f"http.{name}",))
            )
    after, total_hint = (None, None) if page is None else read_token(secret, type, used, page)
    return Query(
        type=type,
        where=criteria.where(),
        params=tuple(params),
        used=tuple(used),
        raw=raw,
        sort=results.sort,
        count=results.count,
        after=after,
        total_hint=total_hint,
        includes=tuple(dict.fromkeys(results.includes)),
        total=results.total,
        summary=results.summary,
        elements=results.elements,
        ignored=tuple(ignored),
    )


def criteria(registry: Registry, type: str, params: Sequence[tuple[str, str]], settings: Settings) -> Condition:
    """The condition of a conditional interaction (https://hl7.org/fhir/R4/http.html#cond-update).

    All parameters must be known, at least one must be a criterion, and result parameters are not allowed. Raises
    FhirError 400 or 422."""
    read = Criteria(registry, type, settings)
    for name, value in params:
        if name not in _GENERAL:
            try:
                read.add(name, value)
            except UnknownParameter as e:
                raise error(400, "not-supported", Message("{reason}.", reason=e), f"http.{name}") from None
    if not read:
        raise error(
            400,
            "required",
            Message("The criteria for {type} need at least one search parameter with a value.", type=type),
        )
    return read.where()


class Criteria:
    """The criteria of one search on one type."""

    def __init__(self, registry: Registry, type: str, settings: Settings):
        base = settings.base_url.rstrip("/") if settings.base_url else None
        self._type, self._params = type, registry.indexed_types.get(type, {})
        self._filters = Filters(SearchContext(registry, ZoneInfo(settings.timezone), base, settings.max_url_values))
        self._found: dict[str, list[Condition]] = {}

    def add(self, name: str, text: str) -> None:
        """Adds name=text. Raises FhirError, and UnknownParameter, which includes parameters without a value."""
        try:
            condition = self._filters.read(self._type, name, text)
        except UnknownParameter as e:
            raise UnknownParameter(
                Message("{reason}; supported: {supported}", reason=e, supported=", ".join(self._supported()))
            ) from None
        if condition is None:
            raise UnknownParameter(Message("the search parameter {name} has no value", name=name))
        self._found.setdefault(name, []).append(condition)

    def __len__(self) -> int:
        return len(self._found)

    def where(self) -> Condition:
        """The condition of all criteria."""
        parts: list[Condition] = []
        for name, found in self._found.items():
            param = self._params.get(name)
            parts += merge(found) if param is not None and param.single else found
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _supported(self) -> list[str]:
        own = sorted(p.code for p in self._params.values() if p.declared and p.type in KINDS)
        return ["_has", "_id", "_lastUpdated", *own]


class ResultParameters:
    """Parses the result parameters of one search; the attributes are those of `Query`.

    https://hl7.org/fhir/R4/search.html#return"""

    def __init__(self, registry: Registry, type: str, settings: Settings):
        self._registry, self._type, self._max_count = registry, type, settings.max_count
        self._seen: dict[str, str] = {}
        self.sort: tuple[Sort, ...] = ()
        self.count: int = min(settings.default_count, settings.max_count)
        self.total: str | None = None
        self.summary: str | None = None
        self.elements: tuple[str, ...] = ()
        self.includes: list[Include] = []

    def parse(self, name: str, text: str) -> bool:
        """Parses name=text. Returns whether it is a result parameter.

        Raises FhirError 400 for an invalid value, UnknownParameter for an include or sort key that is not supported."""
        kind, colon, _ = name.partition(":")
        if kind not in _NAMES:
            return False
        try:
            if kind in _INCLUDES:
                self.includes.append(read_include(self._registry, self._type, name, text.strip()))
            elif colon:
                raise ValueError(Message("it has no modifiers"))
            elif self._seen.setdefault(name, text) != text:
                raise ValueError(Message("it is repeated with different values"))
            else:
                self._read(name, text.strip())
        except ValueError as e:
            raise error(
                400,
                "value",
                Message("The search parameter {name} is invalid: {reason}.", name=name, reason=e),
                f"http.{name}",
            ) from None
        return True

    def _read(self, name: str, text: str) -> None:
        if name == "_sort":
            self.sort = read_sort(self._registry.types[self._type], text)
        elif name == "_count":
            if not _COUNT.fullmatch(text):
                raise ValueError(Message("{text} is not a number of entries. Use 0 or more", text=repr(text[:40])))
            if int(text) == 0:
                self.summary = "count"
            self.count = min(int(text), self._max_count)
        elif name == "_total":
            self.total = _one_of(text, _TOTALS)
        elif name == "_summary":
            requested = _one_of(text, _SUMMARIES)
            self.summary = self.summary or requested  # _count=0 means "count"
        else:
            self.elements = tuple(dict.fromkeys(part for item in text.split(",") if (part := item.strip())))


def _one_of(text: str, known: Sequence[str]) -> str:
    if text not in known:
        raise ValueError(Message("{text} is not one of {known}", text=repr(text[:40]), known=", ".join(known)))
    return text
