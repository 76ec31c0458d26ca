"""A query string, read: https://hl7.org/fhir/R4/search.html.

Unknown parameters are refused under `Prefer: handling=strict`, else left out with a warning; a known parameter with a
value or modifier that has no meaning is always refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from fhirstore.capability.registry import Registry
from fhirstore.errors import Issue, error
from fhirstore.model.conditions import And, Condition
from fhirstore.model.queries import Query
from fhirstore.search.date import merge
from fhirstore.search.filters import Filters, UnknownParameter
from fhirstore.search.index import KINDS
from fhirstore.search.paging import PAGE, read_token
from fhirstore.search.results import Results
from fhirstore.search.terms import Scope
from fhirstore.settings import Settings

_SILENT = ("_format", "_pretty")


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
    """The search that decoded (name, value) pairs ask for on a served type. strict: refuse what is unknown.
    raw: the query string as received, None for a form. secret: the key of page tokens.

    Query.used holds what took effect, `_page`, `_format` and `_pretty` included.
    Raises FhirError: 400 for what has no meaning, 422 beyond a limit."""
    criteria = Criteria(registry, type, settings)
    results = Results(registry, type, settings)
    used: list[tuple[str, str]] = []
    ignored: list[Issue] = []
    page: str | None = None
    for name, value in params:
        try:
            if not value.strip():
                raise UnknownParameter(f"the search parameter {name} has no value")
            if name == PAGE:
                page = value
            elif name not in _SILENT and not results.take(name, value):
                criteria.take(name, value)
            used.append((name, value))
        except UnknownParameter as e:
            if strict:
                raise error(400, "not-supported", f"{e}.", f"http.{name}") from None
            ignored.append(Issue("warning", "not-supported", f"{e}; it was left out.", (f"http.{name}",)))
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
    """The condition of a conditional interaction (https://hl7.org/fhir/R4/http.html#cond-update): everything must be
    known and there must be at least one criterion; result parameters have no place here. Raises FhirError 400, 422."""
    read = Criteria(registry, type, settings)
    for name, value in params:
        if name not in _SILENT:
            try:
                read.take(name, value)
            except UnknownParameter as e:
                raise error(400, "not-supported", f"{e}.", f"http.{name}") from None
    if not read:
        raise error(
            400, "required", f"Say which {type} is meant: at least one search parameter with a value is needed."
        )
    return read.where()


class Criteria:
    """Collects the criteria of one search on one type."""

    def __init__(self, registry: Registry, type: str, settings: Settings):
        base = settings.base_url.rstrip("/") if settings.base_url else None
        self._type, self._params = type, registry.indexed_types.get(type, {})
        self._filters = Filters(Scope(registry, ZoneInfo(settings.timezone), base, settings.max_url_values))
        self._found: dict[str, list[Condition]] = {}

    def take(self, name: str, text: str) -> None:
        """Adds name=text. Raises UnknownParameter, also for a parameter without a value, and FhirError."""
        try:
            condition = self._filters.read(self._type, name, text)
        except UnknownParameter as e:
            raise UnknownParameter(f"{e}; supported: {', '.join(self._supported())}") from None
        if condition is None:
            raise UnknownParameter(f"the search parameter {name} has no value")
        self._found.setdefault(name, []).append(condition)

    def __len__(self) -> int:
        return len(self._found)

    def where(self) -> Condition:
        """All criteria together."""
        parts: list[Condition] = []
        for name, found in self._found.items():
            param = self._params.get(name)
            parts += merge(found) if param is not None and param.single else found
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _supported(self) -> list[str]:
        own = sorted(p.code for p in self._params.values() if p.declared and p.type in KINDS)
        return ["_has", "_id", "_lastUpdated", *own]
